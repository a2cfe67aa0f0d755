// How groups come and go: which domain, which errno, which ranges and page sizes (rules A-1 to
// A-21, C-5 to C-13, I-4, I-5, G-15).
#include <gtest/gtest.h>

#include <new>

#include "bench.hpp"
#include "support/failing_new.hpp"

namespace pinfold::type1 {
namespace {

constexpr std::uint64_t kI = 0x10000000;

Bench::Options without_back_end() { return {.type = std::nullopt}; }

// A second unit in the container for as long as this lives.
class Joined {
public:
    Joined(Bench& bench, Unit& unit) : bench_{bench}, unit_{unit}
    {
        EXPECT_TRUE(bench.container.add(unit.group));
    }
    ~Joined() { bench_.container.remove(unit_.group); }

private:
    Bench& bench_;
    Unit& unit_;
};

std::vector<IovaRange> ranges(Bench& bench)
{
    auto const info = bench.container.info();
    return {info->iova_ranges.begin(), info->iova_ranges.end()};
}

TEST(Extensions, depend_on_the_back_end_only_where_the_rules_say_so)
{
    Bench bench{without_back_end()};
    auto const answers = [&] {
        std::string all;
        for (std::uint64_t extension = 0; extension <= 12; ++extension)
            all += bench.container.check_extension(extension) ? '1' : '0';
        return all;
    };
    EXPECT_EQ(answers(), "0101000001000");
    EXPECT_TRUE(bench.container.add(bench.unit.group));
    bench.in = true;
    EXPECT_EQ(answers(), "0101000001000");
    EXPECT_TRUE(bench.container.set_iommu(3));
    EXPECT_EQ(answers(), "0101100001100");
    EXPECT_FALSE(bench.container.check_extension((std::uint64_t{1} << 32) + 1));
}

TEST(Extensions, DMA_CC_needs_every_domain_to_enforce_coherency)
{
    Bench bench;
    EXPECT_TRUE(bench.container.check_extension(4));
    Unit weak{{.reserved = {}, .enforces_coherency = false}};
    {
        Joined const joined{bench, weak};
        EXPECT_FALSE(bench.container.check_extension(4));
    }
    EXPECT_TRUE(bench.container.check_extension(4));
}

TEST(SetIommu, needs_a_group_a_type_and_an_unset_container_in_this_order)
{
    Bench bench{without_back_end()};
    EXPECT_ERRNO(bench.container.set_iommu(3), inval);
    EXPECT_ERRNO(bench.container.set_iommu(99), inval);
    EXPECT_TRUE(bench.container.add(bench.unit.group));
    bench.in = true;
    for (std::uint64_t const type : {0U, 2U, 4U, 5U, 6U, 7U, 8U, 10U, 99U})
        EXPECT_ERRNO(bench.container.set_iommu(type), nodev) << type;
    EXPECT_ERRNO(bench.container.set_iommu((std::uint64_t{1} << 32) + 3), nodev);
    EXPECT_ERRNO(bench.container.set_iommu(9), inval);
    EXPECT_FALSE(bench.container.version());
    EXPECT_ERRNO(bench.container.info(), inval);
    EXPECT_TRUE(bench.container.set_iommu(1));
    EXPECT_EQ(bench.container.version(), Version::v1);
    EXPECT_ERRNO(bench.container.set_iommu(3), inval);
    EXPECT_ERRNO(bench.container.set_iommu(99), inval);
}

TEST(SetIommu, that_fails_leaves_the_container_unset_with_its_groups_blocked)
{
    Bench bench{without_back_end()};
    Unit bad{{.reserved = {}}, MsiIsolation::no};
    EXPECT_TRUE(bench.container.add(bad.group));
    EXPECT_TRUE(bench.container.add(bench.unit.group));
    bench.in = true;
    EXPECT_ERRNO(bench.container.set_iommu(3), perm);
    EXPECT_EQ(bench.unit.first.domain(), nullptr);
    EXPECT_EQ(bad.first.domain(), nullptr);
    EXPECT_FALSE(bench.container.version());

    bench.settings.allow_unsafe_interrupts = true;
    EXPECT_TRUE(bench.container.set_iommu(3));
    bench.container.remove(bad.group);
}

TEST(SetIommu, without_room_for_a_table_is_ENOMEM)
{
    Bench bench{{.iommu = {.reserved = {}, .table_budget = 0}, .type = std::nullopt}};
    EXPECT_TRUE(bench.container.add(bench.unit.group));
    bench.in = true;
    EXPECT_ERRNO(bench.container.set_iommu(3), nomem);
    EXPECT_FALSE(bench.container.version());
}

TEST(SetIommu, with_nothing_but_reserved_IOVAs_is_EINVAL)
{
    Bench bench{
        {.iommu = {.reserved = {{range_of(0, ~std::uint64_t{0}), iommu::ReservedType::direct}}},
         .type = std::nullopt}};
    EXPECT_TRUE(bench.container.add(bench.unit.group));
    bench.in = true;
    EXPECT_ERRNO(bench.container.set_iommu(3), inval);
}

TEST(Groups, a_group_of_the_same_IOMMU_joins_the_domain_that_is_there)
{
    Bench bench;
    Buffer const buffer{2, k4K};
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 0x2000));
    iommu::Endpoint endpoint{*bench.unit.iommu, "0000:00:05.0"};
    Group other{8, *bench.unit.iommu, {&endpoint}};
    EXPECT_TRUE(bench.container.add(other));
    EXPECT_EQ(endpoint.domain(), bench.unit.first.domain());
    bench.expect_state({{kI, 0x2000, buffer.vaddr()}}, {&endpoint});

    bench.container.remove(other);
    EXPECT_EQ(endpoint.domain(), nullptr);
    bench.expect_state({{kI, 0x2000, buffer.vaddr()}});
}

TEST(Groups, a_group_of_another_IOMMU_gets_a_domain_with_every_mapping_in_it)
{
    Bench bench{{.frames = host::FrameNumbering::scattered}};
    Buffer const buffer{8, k4K};
    std::vector<Expected> const mapped{{kI, 0x8000, buffer.vaddr()},
                                       {kI + 0x20000, 0x3000, buffer.vaddr(2), Prot::read}};
    for (Expected const& one : mapped)
        EXPECT_TRUE(bench.map(one.iova, one.vaddr, one.size, one.prot));

    Unit other{{.address_width = 48, .reserved = {}}};
    {
        Joined const joined{bench, other};
        EXPECT_NE(other.first.domain(), bench.unit.first.domain());
        bench.expect_state(mapped, {&other.first, &other.second});

        EXPECT_TRUE(bench.map(kI + 0x40000, buffer.vaddr(), 0x1000));
        auto more = mapped;
        more.push_back({kI + 0x40000, 0x1000, buffer.vaddr()});
        bench.expect_state(more, {&other.first});
        EXPECT_EQ(bench.unmap(kI + 0x40000, 0x1000), 0x1000U);
        bench.expect_state(mapped, {&other.first});
    }
    bench.expect_state(mapped);
}

TEST(Groups, the_domain_that_leaves_may_be_the_one_that_was_there_first)
{
    Bench bench;
    Buffer const buffer{4, k4K};
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 0x4000));
    Unit other{native(0x40201000)};
    EXPECT_TRUE(bench.container.add(other.group));
    bench.container.remove(bench.unit.group);
    bench.in = false;
    EXPECT_EQ(bench.unit.first.domain(), nullptr);
    ASSERT_NE(other.first.domain(), nullptr);
    bench.expect_maps(*other.first.domain(), {{kI, 0x4000, buffer.vaddr()}});
    EXPECT_EQ(bench.charged(), 4U);
    EXPECT_EQ(bench.unmap(kI, 0x4000), 0x4000U);
    bench.container.remove(other.group);
}

TEST(Groups, the_last_one_takes_every_mapping_and_the_back_end_along)
{
    Bench bench;
    Buffer const buffer{4, k4K};
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 0x4000));
    bench.container.remove(bench.unit.group);
    EXPECT_EQ(bench.charged(), 0U);
    EXPECT_EQ(bench.memory.pinned_pages(), 0U);
    EXPECT_FALSE(bench.container.version());
    EXPECT_ERRNO(bench.map(kI, buffer.vaddr(), 0x1000), inval);
    EXPECT_ERRNO(bench.container.set_iommu(3), inval);

    EXPECT_TRUE(bench.container.add(bench.unit.group));
    EXPECT_ERRNO(bench.map(kI, buffer.vaddr(), 0x1000), inval);
    EXPECT_TRUE(bench.container.set_iommu(1));
    bench.expect_state({});
}

TEST(Groups, one_whose_second_endpoint_is_refused_has_moved_none)
{
    Unit here, elsewhere;
    auto const domain = here.iommu->create_domain().value();
    Group group{9, *here.iommu, {&here.first, &elsewhere.first}};
    EXPECT_ERRNO(group.attach(*domain), inval);
    EXPECT_EQ(here.first.domain(), nullptr);
}

TEST(Groups, one_that_fails_half_way_is_back_in_the_domain_that_it_was_in)
{
    Unit unit;
    auto const from = unit.iommu->create_domain().value();
    auto const to = unit.iommu->create_domain().value();
    EXPECT_TRUE(unit.group.attach(*from));
    bool attached = false;
    std::uint64_t failures = 0;
    for (; !attached; ++failures) {
        ASSERT_LT(failures, 10U);
        test::FailingNew const failing{failures};
        try {
            attached = unit.group.attach(*to).has_value();
        } catch (std::bad_alloc const&) {
            EXPECT_EQ(unit.first.domain(), from.get());
            EXPECT_EQ(unit.second.domain(), from.get());
        }
    }
    EXPECT_GT(failures, 2U);
    EXPECT_EQ(unit.first.domain(), to.get());
    unit.group.block();
}

// Domains of the same driver are tried, and refuse what is behind another unit.
TEST(Groups, one_behind_another_unit_of_the_same_driver_is_refused_by_its_domain)
{
    Bench bench;
    Buffer const buffer{2, k4K};
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 0x2000));
    Unit other{{.reserved = {}}};
    Joined const joined{bench, other};
    EXPECT_NE(other.first.domain(), bench.unit.first.domain());
    EXPECT_EQ(other.first.domain(), other.second.domain());
    bench.expect_state({{kI, 0x2000, buffer.vaddr()}}, {&other.first, &other.second});
}

TEST(Groups, an_invalidated_vaddr_keeps_groups_out)
{
    Bench bench;
    Buffer const buffer{1, k4K};
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 0x1000));
    EXPECT_EQ(bench.invalidate_vaddr(kI, 0x1000), 0x1000U);
    Unit other;
    EXPECT_ERRNO(bench.container.add(other.group), busy);
    EXPECT_EQ(bench.unmap(kI, 0x1000), 0x1000U);
    Joined const joined{bench, other};
}

// Each attempt fails for its own reason, and the container stays as it was.
TEST(Groups, one_that_does_not_fit_what_is_mapped_stays_out)
{
    Bench bench;
    Buffer const buffer{1, k4K};
    std::uint64_t const high = (std::uint64_t{1} << 38) + kI;
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 0x1000));
    EXPECT_TRUE(bench.map(high, buffer.vaddr(), 0x1000));
    std::vector<Expected> const mapped{{kI, 0x1000, buffer.vaddr()},
                                       {high, 0x1000, buffer.vaddr()}};
    auto const before = ranges(bench);
    auto const refused = [&](iommu::Iommu::Options options, Errno why, MsiIsolation msi) {
        Unit other{std::move(options), msi};
        auto const added = bench.container.add(other.group);
        EXPECT_EQ(error_of(added), why);
        EXPECT_EQ(other.first.domain(), nullptr);
        EXPECT_EQ(ranges(bench), before);
        EXPECT_EQ(bench.container.info()->page_sizes.bitmap(), 0x40201000U);
        bench.expect_state(mapped);
    };
    auto const yes = MsiIsolation::yes;
    refused(native(0x1000, 38), Errno::inval, yes);  // its aperture cuts a mapping off
    refused({.reserved = {{range_of(kI + 0xfff, kI + 0xfff), iommu::ReservedType::direct}}},
            Errno::inval, yes);
    refused({.reserved = {}}, Errno::perm, MsiIsolation::no);
    refused(native(0x10000), Errno::inval, yes);  // its pages are too large for what is mapped
    refused({.reserved = {}, .table_budget = 2}, Errno::nomem, yes);
    // Of two reasons the earlier one wins.
    refused({.reserved = {{range_of(kI, kI), iommu::ReservedType::msi}}}, Errno::inval,
            MsiIsolation::no);
}

TEST(Groups, page_sizes_and_ranges_are_those_that_all_domains_share)
{
    Bench bench{
        {.iommu = {.reserved = {{range_of(0xfee00000, 0xfeefffff), iommu::ReservedType::msi}}}}};
    auto const alone = ranges(bench);
    std::uint64_t const top = (std::uint64_t{1} << 39) - 1;
    EXPECT_EQ(alone, (std::vector{range_of(0, 0xfedfffff), range_of(0xfef00000, top)}));
    auto options = native(0x211000, 32);
    options.reserved = {{range_of(0x8000000, 0x80fffff), iommu::ReservedType::sw_msi}};
    Unit other{options};
    {
        Joined const joined{bench, other};
        EXPECT_EQ(bench.container.info()->page_sizes.bitmap(), 0x201000U);
        EXPECT_EQ(ranges(bench),
                  (std::vector{range_of(0, 0x7ffffff), range_of(0x8100000, 0xfedfffff),
                               range_of(0xfef00000, 0xffffffff)}));
    }
    EXPECT_EQ(bench.container.info()->page_sizes.bitmap(), 0x40201000U);
    EXPECT_EQ(ranges(bench), alone);
}

TEST(Groups, a_coarser_domain_hides_finer_mappings_from_unmap_but_not_from_ALL)
{
    Bench bench{{.iommu = native(0x1000)}};
    Buffer const buffer{32, k64K};
    // Aligned to the coarse page, so that the replay works; the second one is half of one.
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 0x10000));
    Unit other{native(0x11000)};
    Joined const joined{bench, other};
    EXPECT_EQ(bench.container.info()->page_sizes.bitmap(), 0x1000U);
    Unit coarse{native(0x10000)};
    Joined const joined_too{bench, coarse};
    // 4K and 64K have nothing in common: R is empty, G is one byte, and pages stay whole.
    EXPECT_TRUE(bench.container.info()->page_sizes.empty());
    EXPECT_ERRNO(bench.map(kI + 0x10001, buffer.vaddr(1), 0x10000), inval);
    EXPECT_ERRNO(bench.map(kI + 0x11000, buffer.vaddr(1), 0x1000), inval);
    EXPECT_TRUE(bench.map(kI + 0x20000, buffer.vaddr(1), 0x10000));
    bench.expect_state({{kI, 0x10000, buffer.vaddr()}, {kI + 0x20000, 0x10000, buffer.vaddr(1)}},
                       {&other.first, &coarse.first});
    EXPECT_EQ(bench.unmap_all(), 0x20000U);
    bench.expect_state({}, {&other.first, &coarse.first});
}

// Rule T-3: pages of the IOMMU that are larger than the host's need memory that is contiguous and
// aligned, and then they work.
TEST(Groups, large_IOMMU_pages_take_aligned_contiguous_memory_only)
{
    Bench bench{{.iommu = native(0x10000)}};
    Buffer const buffer{2, k64K};
    EXPECT_EQ(bench.container.info()->granule, 0x10000U);
    EXPECT_ERRNO(bench.map(kI, buffer.vaddr(), 0x1000), inval);
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 0x20000));
    bench.expect_state({{kI, 0x20000, buffer.vaddr()}});
    EXPECT_TRUE(bench.unmap_all());

    bench.settings.disable_hugepages = true;
    EXPECT_ERRNO(bench.map(kI, buffer.vaddr(), 0x10000), inval);
    bench.expect_state({});
}

TEST(Groups, an_aperture_up_to_the_top_takes_mappings_that_end_there)
{
    Bench bench{{.iommu = native(0x1000, 64)}};
    Buffer const buffer{2, k4K};
    std::uint64_t const top = 0 - std::uint64_t{0x2000};
    EXPECT_TRUE(bench.map(top, buffer.vaddr(), 0x2000));
    EXPECT_ERRNO(bench.map(top + 0x1000, buffer.vaddr(), 0x1000), exist);
    EXPECT_ERRNO(bench.unmap(top + 0x1000, 0x1000), inval);
    EXPECT_EQ(bench.unmap(top - 0x1000, 0x3000), 0x2000U);
    EXPECT_TRUE(bench.map(top, buffer.vaddr(), 0x2000));
    bench.expect_state({{top, 0x2000, buffer.vaddr()}});
    EXPECT_EQ(bench.unmap_all(), 0x2000U);
    bench.expect_state({});
}

}  // namespace
}  // namespace pinfold::type1
