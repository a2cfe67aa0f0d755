#include "iommu/invalidation.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <random>
#include <vector>

#include "iommu/model_tlb.hpp"
#include "iommu/unit.hpp"
#include "support/seed.hpp"

namespace pinfold::iommu {
namespace {

constexpr std::uint64_t kPage = 0x1000;
constexpr std::uint64_t k2MBytes = 0x200000;
constexpr PageSizes kPages{k4K.bytes()};

constexpr IovaRange range(std::uint64_t start, std::uint64_t size)
{
    return {Iova{start}, Iova{start + (size - 1)}};
}

template <class Encode>
std::vector<Command> commands(Encode encode)
{
    std::vector<Command> issued;
    encode([&](Command const& command) { issued.push_back(command); });
    return issued;
}

// ------------------------------------------------------------------------------------- encoders

TEST(VtdInvalidation, names_a_block_of_pages_by_its_lg2)
{
    auto const one = [](Invalidation const& what, vtd::Abilities abilities = {}) {
        return commands([&](Issue issue) { vtd::invalidate(5, what, abilities, issue); });
    };
    using List = std::vector<Command>;
    EXPECT_EQ(one({range(0x12345000, kPage), kPages, false}), (List{{{0x500f2, 0x12345040}}}));
    EXPECT_EQ(one({range(0x12345000, kPage), kPages, true}), (List{{{0x500f2, 0x12345000}}}));
    EXPECT_EQ(one({range(0x10000, 4 * kPage), kPages, false}), (List{{{0x500f2, 0x10042}}}));
    // Two pages across a boundary of four, and of 2^18 and more: a block of eight, the domain.
    EXPECT_EQ(one({range(0x3000, 2 * kPage), kPages, false}), (List{{{0x500f2, 0x43}}}));
    EXPECT_EQ(one({range(0x3fff'f000, 2 * kPage), kPages, false}), (List{{{0x500e2, 0}}}));
    EXPECT_EQ(one({range(0x5000, kPage), PageSizes{k4K.bytes() | k2M.bytes()}, false}),
              (List{{{0x500f2, 0x49}}}));
    EXPECT_EQ(one({range(0x5000, kPage), {}, false}), (List{{{0x500e2, 0}}}));
    EXPECT_EQ(one({range(0x5000, kPage), kPages, false}, {.page_selective = false}),
              (List{{{0x500e2, 0}}}));
    EXPECT_EQ(commands([](Issue issue) { vtd::wait(issue); }), (List{{{0x45, 0}}}));
}

TEST(AmdInvalidation, codes_the_size_in_the_address)
{
    auto const one = [](Invalidation const& what) {
        return commands([&](Issue issue) { amd::invalidate(5, what, issue); });
    };
    using List = std::vector<Command>;
    std::uint64_t const low = 0x3000'0005'0000'0000;
    EXPECT_EQ(one({range(0x12345000, kPage), kPages, false}), (List{{{low, 0x12345000}}}));
    EXPECT_EQ(one({range(0x12345000, kPage), kPages, true}), (List{{{low, 0x12345002}}}));
    EXPECT_EQ(one({range(0x12344000, 2 * kPage), kPages, false}), (List{{{low, 0x12344001}}}));
    EXPECT_EQ(one({range(0x2000, 4 * kPage), kPages, false}), (List{{{low, 0x3001}}}));
    EXPECT_EQ(one({range(0, std::uint64_t{1} << 60), kPages, true}),
              (List{{{low, 0x7fff'ffff'ffff'f003}}}));
    EXPECT_EQ(commands([](Issue issue) { amd::wait(issue); }), (List{{{1ULL << 60, 0}}}));
}

TEST(SmmuInvalidation, names_ranges_or_single_pages)
{
    auto const all = [](Invalidation const& what, smmu::Abilities abilities = {}) {
        return commands([&](Issue issue) { smmu::invalidate(5, what, abilities, issue); });
    };
    using List = std::vector<Command>;
    std::uint64_t const low = 0x0005'0000'0000'0012;
    // Leaves of one level: TTL 3.
    EXPECT_EQ(all({range(0x7000, kPage), kPages, false}), (List{{{low, 0x7701}}}));
    // 0x21 pages: one, and 32 as 1 * 2^5.
    EXPECT_EQ(all({range(0x40000, 0x21 * kPage), kPages, false}),
              (List{{{low, 0x40701}}, {{low | 5 << 20, 0x41701}}}));
    // Tables too: no level, no leaf; one page alone would be reserved.
    EXPECT_EQ(all({range(0x7000, kPage), kPages, true}), (List{{{low | 1 << 20, 0x7400}}}));
    // Leaves of two levels: no level.
    EXPECT_EQ(all({range(0, k2MBytes), PageSizes{k4K.bytes() | k2M.bytes()}, false}),
              (List{{{low | 9 << 20, 0x401}}}));
    EXPECT_EQ(all({range(0, k2MBytes), PageSizes{k2M.bytes()}, false}),
              (List{{{low | 9 << 20, 0x601}}}));
    EXPECT_EQ(all({range(0x7000, 2 * kPage), kPages, false}, {.by_range = false}),
              (List{{{low, 0x7001}}, {{low, 0x8001}}}));
    EXPECT_EQ(all({range(0, 512 * kPage), kPages, false}, {.by_range = false}),
              (List{{{0x0005'0000'0000'0011, 0}}}));
    // The hint of a granule is TG, bits 11:10; the stride of single pages is the granule.
    EXPECT_EQ(all({range(0x1'c000, 0x4000), PageSizes{k16K.bytes()}, false}, {.granule = k16K}),
              (List{{{low, 0x1'cb01}}}));
    EXPECT_EQ(all({range(0x7'0000, 0x2'0000), PageSizes{k64K.bytes()}, false}, {.granule = k64K}),
              (List{{{low | 1 << 20, 0x7'0f01}}}));
    EXPECT_EQ(all({range(0x7'0000, 0x2'0000), PageSizes{k64K.bytes()}, false},
                  {.granule = k64K, .by_range = false}),
              (List{{{low, 0x7'0001}}, {{low, 0x8'0001}}}));
    EXPECT_EQ(commands([](Issue issue) { smmu::wait(issue); }), (List{{{0x46, 0}}}));
}

TEST(VirtioRequests, say_what_the_driver_asks)
{
    using List = std::vector<Command>;
    EXPECT_EQ(commands([](Issue issue) {
                  virtio::map(5, range(0x7000, kPage), Paddr{0x9000}, Prot::read_write, issue);
              }),
              (List{{{0x5'0000'0003, 0x7000, 0x7fff, 0x9000, 3}, 40}}));
    EXPECT_EQ(commands([](Issue issue) { virtio::unmap(5, range(0x7000, kPage), issue); }),
              (List{{{0x5'0000'0004, 0x7000, 0x7fff}, 28}}));
}

// All ranges of up to 40 pages in the first 80, with leaves of each size: what is decoded covers
// what was to be covered.
template <class Commands, class Encode>
void expect_covered(Encode encode)
{
    for (std::uint64_t const leaf : {std::uint64_t{1}, std::uint64_t{8}})
        for (std::uint64_t first = 0; first < 40; ++first)
            for (std::uint64_t pages = 1; pages <= 40; ++pages)
                for (bool const tables : {false, true}) {
                    Invalidation const what{range(first * kPage, pages * kPage),
                                            PageSizes{leaf * kPage}, tables};
                    std::vector<bool> gone(200, false);
                    for (auto const& command :
                         commands([&](Issue issue) { encode(what, issue); })) {
                        auto const told = Commands::read(command.words[0], command.words[1]);
                        ASSERT_EQ(told.kind, test::Told::Kind::pages);
                        ASSERT_TRUE(told.tables || !tables);
                        for (std::uint64_t page = 0; page < gone.size(); ++page)
                            if (told.first <= page * kPage && page * kPage + kPage - 1 <= told.last)
                                gone[page] = true;
                    }
                    std::uint64_t const past = (first + pages + leaf - 1) / leaf * leaf;
                    for (std::uint64_t page = first / leaf * leaf; page < past; ++page)
                        ASSERT_TRUE(gone[page]) << first << " " << pages << " " << leaf;
                }
}

TEST(Invalidation, of_any_range_covers_it)
{
    expect_covered<test::VtdCommands>(
        [](Invalidation const& what, Issue issue) { vtd::invalidate(1, what, {}, issue); });
    expect_covered<test::AmdCommands>(
        [](Invalidation const& what, Issue issue) { amd::invalidate(1, what, issue); });
    expect_covered<test::SmmuCommands>(
        [](Invalidation const& what, Issue issue) { smmu::invalidate(1, what, {}, issue); });
}

// Whether a command reaches an entry of one granule: SMMUs drop what a range touches.
TEST(SmmuInvalidation, of_any_range_reaches_every_granule_of_it)
{
    for (PageSize const granule : {k4K, k16K, k64K})
        for (bool const by_range : {false, true})
            for (std::uint64_t first = 0; first < 8; ++first)
                for (std::uint64_t pages = 1; pages <= 70; ++pages) {
                    std::uint64_t const size = granule.bytes();
                    Invalidation const what{range(first * size, pages * size), PageSizes{size},
                                            false};
                    smmu::Abilities const abilities{.granule = granule, .by_range = by_range};
                    std::vector<bool> gone(first + pages, false);
                    for (auto const& command : commands(
                             [&](Issue issue) { smmu::invalidate(1, what, abilities, issue); })) {
                        auto const told =
                            test::SmmuCommands::read(command.words[0], command.words[1]);
                        ASSERT_EQ(told.kind, test::Told::Kind::pages);
                        for (std::uint64_t page = 0; page < gone.size(); ++page)
                            if (told.first < (page + 1) * size && page * size <= told.last)
                                gone[page] = true;
                    }
                    for (std::uint64_t page = first; page < first + pages; ++page)
                        ASSERT_TRUE(gone[page]) << size << " " << by_range << " " << page;
                }
}

// ---------------------------------------------------------------------------------- model cache

struct Sizes {
    std::uint64_t page;   // a leaf of the lower of two levels
    std::uint64_t block;  // and of the upper
};

// What is checked: a unit of ours, and how to read its tables and its commands.
struct Vtd {
    using Reader = test::VtdReader;
    using Commands = test::VtdCommands;
    static constexpr Sizes kSizes{kPage, k2MBytes};
    static Iommu::Options options() { return {}; }
};
struct Amd {
    using Reader = test::AmdReader;
    using Commands = test::AmdCommands;
    static constexpr Sizes kSizes{kPage, k2MBytes};
    static Iommu::Options options() { return amdvi_options(); }
};
template <unsigned kGranuleLg2>
struct Smmu {
    using Reader = test::ArmReader<kGranuleLg2>;
    using Commands = test::SmmuCommands;
    static constexpr Sizes kSizes{std::uint64_t{1} << kGranuleLg2,
                                  std::uint64_t{1} << (2 * kGranuleLg2 - 3)};
    static Iommu::Options options()
    {
        auto options = smmuv3_options(Kernel::v7_3);
        options.page_sizes = PageSizes{kSizes.page | kSizes.block};
        if (kGranuleLg2 == 12) options.page_sizes = options.page_sizes | PageSizes{k1G.bytes()};
        options.host_page = *PageSize::of(kSizes.page);
        return options;
    }
};
// Drivers that split blocks, keep what a map finds, or replace it.
template <class Machine>
struct Old : Machine {
    static Iommu::Options options()
    {
        auto options = Machine::options();
        options.kernel = Kernel::v6_1;
        return options;
    }
};
// Leaves of 2 MiB and 1 GiB.
template <class Machine>
struct Large : Machine {
    static constexpr Sizes kSizes{k2MBytes, std::uint64_t{1} << 30};
};

template <class Machine>
struct Checked {
    explicit Checked(Iommu::Options options = Machine::options())
        : unit{[&] {
              options.commands = &tlb;
              return options;
          }()}
    {
    }
    void access(std::uint64_t iova, bool fractured = false)
    {
        auto const table = unit.domain->raw_table().value();
        tlb.access(table.root.raw(), table.levels, iova, fractured);
    }
    unsigned stale() const
    {
        auto const table = unit.domain->raw_table().value();
        return tlb.stale(table.root.raw(), table.levels);
    }

    static constexpr Sizes kSizes = Machine::kSizes;
    test::ModelTlb<typename Machine::Reader, typename Machine::Commands> tlb;
    Unit unit;
};

template <class Machine>
class Invalidations : public testing::Test {};
using Machines =
    testing::Types<Vtd, Amd, Smmu<12>, Smmu<14>, Smmu<16>, Old<Vtd>, Old<Amd>, Old<Smmu<12>>,
                   Old<Smmu<16>>, Large<Vtd>, Large<Amd>, Large<Smmu<12>>>;
TYPED_TEST_SUITE(Invalidations, Machines);

// Maps, unmaps and accesses by a seed, and counts what is stale after each call.
template <class Machine>
unsigned run(Machine& machine, std::uint64_t seed, int steps)
{
    std::mt19937_64 random{seed};
    auto const pick = [&](std::uint64_t n) { return random() % n; };
    auto const [page, block] = Machine::kSizes;
    std::uint64_t const places = 3 * (block / page);  // pages: three tables
    unsigned stale = 0;
    for (int step = 0; step < steps; ++step) {
        std::uint64_t const unit = pick(3) == 0 ? block : page;
        std::uint64_t const iova = pick(places * page / unit) * unit;
        std::uint64_t const size = (1 + pick(unit == page ? 40 : 2)) * unit;
        if (pick(2) == 0) {
            (void)machine.unit.map(iova, pick(2) == 0 ? iova : pick(places) * page, size);
        } else {
            Gather gather;
            machine.unit.domain->unmap(Iova{iova}, size, gather);
            if (pick(2) == 0) machine.unit.domain->unmap(Iova{pick(places) * page}, size, gather);
            machine.unit.domain->sync(gather);
        }
        stale += machine.stale();
        for (int i = 0; i < 6; ++i) machine.access(pick(places) * page, pick(2) == 0);
    }
    return stale;
}

TYPED_TEST(Invalidations, that_are_issued_are_enough)
{
    std::uint64_t const seed = test::seed();
    std::printf("PINFOLD_SEED=%llu\n", static_cast<unsigned long long>(seed));
    Checked<TypeParam> machine;
    EXPECT_EQ(run(machine, seed, 400), 0);
    EXPECT_GT(machine.tlb.commands(), 0);
    EXPECT_EQ(machine.tlb.unknown(), 0);
}

// A script in which every command matters: of each two, the first names pages and the second
// completes it.
template <class Machine>
unsigned script(Machine& machine)
{
    auto const [page, block] = Machine::kSizes;
    EXPECT_TRUE(machine.unit.map(0, 8 * block, block));             // one leaf
    EXPECT_TRUE(machine.unit.map(block, 8 * block + page, block));  // a table of small
    auto const access = [&, page = page, block = block] {
        machine.access(5 * page);
        machine.access(block + 7 * page);
        machine.access(block + 8 * page, true);
    };
    unsigned stale = 0;
    access();
    EXPECT_EQ(machine.unit.unmap(block + 7 * page, page), page);
    stale += machine.stale();
    access();
    EXPECT_EQ(machine.unit.unmap(0, block), block);
    stale += machine.stale();
    access();
    EXPECT_TRUE(machine.unit.map(block + 7 * page, 0, page));
    EXPECT_EQ(machine.unit.unmap(block, block), block);  // the table too
    stale += machine.stale();
    return stale;
}

TYPED_TEST(Invalidations, of_which_one_is_lost_leave_something_stale)
{
    Checked<TypeParam> good;
    EXPECT_EQ(script(good), 0);
    unsigned const commands = good.tlb.commands();
    ASSERT_EQ(commands % 2, 0);
    ASSERT_GE(commands, 6);
    for (unsigned n = 1; n <= commands; ++n) {
        Checked<TypeParam> bad;
        bad.tlb.drop(n);
        EXPECT_GT(script(bad), 0) << "command " << n << " of " << commands;
    }
}

TYPED_TEST(Invalidations, that_are_about_leaves_only_leave_a_table_stale)
{
    Checked<TypeParam> bad;
    bad.tlb.keep_tables();
    EXPECT_GT(script(bad), 0);
}

// A large leaf in the place of a table that has become empty: no unmap tells of it.
TYPED_TEST(Invalidations, come_with_the_map_that_replaces_a_table)
{
    auto const [page, block] = TypeParam::kSizes;
    Checked<TypeParam> machine;
    ASSERT_TRUE(machine.unit.map(0, 8 * block + page, block));
    for (std::uint64_t iova = 0; iova < block;) {
        std::uint64_t const gone = machine.unit.unmap(iova, page);
        ASSERT_NE(gone, 0);
        iova += gone;
    }
    machine.access(0);  // a miss, but the way to it is cached
    EXPECT_GT(machine.tlb.entries(), 0);
    ASSERT_TRUE(machine.unit.map(0, 8 * block, block));
    EXPECT_EQ(machine.stale(), 0);
}

// Drivers whose maps take away what they find: a leaf with all of its pages, and a table whole.
TEST(OvermapInvalidations, come_with_the_map_that_replaces_leaves_and_tables)
{
    for (bool const fractured : {false, true}) {
        Checked<Old<Amd>> amd;
        ASSERT_TRUE(amd.unit.map(0, 16 * kPage, 16 * kPage));  // one leaf of 64 KiB
        amd.access(7 * kPage, fractured);
        ASSERT_TRUE(amd.unit.map(3 * kPage, kPage, kPage));
        EXPECT_EQ(amd.tlb.entries_at(7 * kPage), 0);
        EXPECT_EQ(amd.stale(), 0);
        amd.access(3 * kPage, fractured);
        ASSERT_TRUE(amd.unit.map(0, 8 * k2MBytes, k2MBytes));
        EXPECT_EQ(amd.tlb.entries_at(3 * kPage), 0);
        EXPECT_EQ(amd.stale(), 0);

        Checked<Old<Vtd>> vtd;
        ASSERT_TRUE(vtd.unit.map(5 * kPage, kPage, kPage));
        vtd.access(5 * kPage, fractured);
        ASSERT_TRUE(vtd.unit.map(0, 8 * k2MBytes, k2MBytes));
        EXPECT_EQ(vtd.tlb.entries_at(5 * kPage), 0);
        EXPECT_EQ(vtd.stale(), 0);
    }
}

// What a device writes through a clean leaf that it knows as dirty would not be noted.
TYPED_TEST(Invalidations, come_with_the_clearing_of_dirty_bits)
{
    auto const [page, block] = TypeParam::kSizes;
    for (bool const large : {false, true})
        for (bool const fractured : {false, true}) {
            auto options = TypeParam::options();
            options.tracks_dirty = true;
            Checked<TypeParam> machine{options};
            std::uint64_t const size = large ? block : page;
            std::uint64_t const iova = block + (large ? 0 : 5 * page);
            ASSERT_TRUE(machine.unit.map(iova, 8 * block, size));
            std::uint64_t const inside = iova + size - page;
            {
                ReadSection const section;
                ASSERT_TRUE(machine.unit.domain->access(Iova{inside}, Access::write));
            }
            machine.access(inside, fractured);
            ASSERT_EQ(machine.tlb.entries_at(inside), 1);
            ASSERT_EQ(
                machine.unit.domain->read_and_clear_dirty(range(inside, page), [](IovaRange) {}),
                1);
            EXPECT_EQ(machine.tlb.entries_at(inside), 0) << large << fractured;
            EXPECT_EQ(machine.tlb.unknown(), 0);
        }
}

}  // namespace
}  // namespace pinfold::iommu
