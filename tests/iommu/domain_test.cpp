#include "iommu/domain.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "iommu/unit.hpp"
#include "support/failing_new.hpp"

namespace pinfold::iommu {
namespace {

constexpr std::uint64_t kPage = 0x1000;
constexpr std::uint64_t k2MBytes = 0x200000;
constexpr std::uint64_t kGiB = 1 << 30;

TEST(Domain, what_is_mapped_is_found_and_gone_after_unmap)
{
    for (auto const& options : each_model()) {
        Unit unit{options};
        ASSERT_TRUE(unit.map(0x10000, 0x7000000, 3 * kPage));
        EXPECT_EQ(unit.domain->iova_to_phys(Iova{0x12345}), Paddr{0x7002345});
        EXPECT_EQ(unit.domain->iova_to_phys(Iova{0x13000}), std::nullopt);
        EXPECT_EQ(unit.unmap(0x10000, 3 * kPage), 3 * kPage);
        EXPECT_EQ(unit.domain->iova_to_phys(Iova{0x10000}), std::nullopt);
    }
}

TEST(Domain, what_is_misaligned_empty_or_without_rights_is_EINVAL)
{
    for (auto const& options : each_model()) {
        Unit unit{options};
        EXPECT_EQ(unit.map(0x10001, 0x1000, kPage), fail(Errno::inval));
        EXPECT_EQ(unit.map(0x10000, 0x1800, kPage), fail(Errno::inval));
        EXPECT_EQ(unit.map(0x10000, 0x1000, kPage + 1), fail(Errno::inval));
        EXPECT_EQ(unit.map(0x10000, 0x1000, 0), fail(Errno::inval));
        EXPECT_EQ(unit.map(0x10000, 0x1000, kPage, Prot::none), fail(Errno::inval));
    }
}

TEST(Domain, outside_the_aperture_is_ERANGE_and_a_wrap_EOVERFLOW)
{
    for (auto options : each_model()) {
        options.address_width = 39;
        Unit unit{options};
        EXPECT_EQ(unit.map(0x80'0000'0000, 0, kPage), fail(Errno::range));
        EXPECT_EQ(unit.map(0x7f'ffff'f000, 0, 2 * kPage), fail(Errno::range));
        EXPECT_EQ(unit.map(~0xfffULL, 0, 2 * kPage), fail(Errno::overflow));
        EXPECT_EQ(unit.map(0, ~0xfffULL, 2 * kPage), fail(Errno::overflow));
        EXPECT_TRUE(unit.map(0x7f'ffff'f000, 0, kPage));
        EXPECT_EQ(unit.unmap(0x7f'ffff'f000, 2 * kPage), 0);
        EXPECT_EQ(unit.unmap(0x7f'ffff'f000, kPage), kPage);
    }
    Unit vtd;
    EXPECT_EQ(vtd.map(0, 1ULL << 52, kPage), fail(Errno::range));
    EXPECT_TRUE(vtd.map(0, (1ULL << 52) - kPage, kPage));
}

TEST(Domain, what_is_mapped_already_is_the_drivers_errno_and_stays)
{
    for (auto const& options : each_model()) {
        Unit unit{options};
        auto const occupied = options.model == Model::smmuv3   ? Errno::exist
                              : options.model == Model::virtio ? Errno::inval
                                                               : Errno::addrinuse;
        ASSERT_TRUE(unit.map(0x12000, 0xa000, kPage));
        EXPECT_EQ(unit.map(0x10000, 0xb000, 4 * kPage), fail(occupied));
        EXPECT_EQ(unit.domain->iova_to_phys(Iova{0x10000}), std::nullopt);
        EXPECT_EQ(unit.domain->iova_to_phys(Iova{0x12000}), Paddr{0xa000});
        EXPECT_EQ(unit.domain->leaves()[12], 1);
    }
}

TEST(Domain, the_gather_names_the_hull_of_what_went)
{
    Unit unit;
    ASSERT_TRUE(unit.map(0x200000, 0x400000, k2MBytes));
    ASSERT_TRUE(unit.map(0x600000, 0, kPage));
    Gather gather;
    EXPECT_EQ(unit.domain->unmap(Iova{0x200000}, kPage, gather), k2MBytes);
    EXPECT_EQ(gather.range, (IovaRange{Iova{0x200000}, Iova{0x3fffff}}));
    EXPECT_FALSE(gather.tables);
    EXPECT_EQ(unit.domain->unmap(Iova{0x600000}, kPage, gather), kPage);
    EXPECT_EQ(unit.domain->unmap(Iova{0x900000}, kPage, gather), 0);
    EXPECT_EQ(gather.range, (IovaRange{Iova{0x200000}, Iova{0x600fff}}));
    unit.domain->sync(gather);
    EXPECT_FALSE(gather.range);
}

TEST(Domain, table_pages_go_at_sync_and_no_sooner)
{
    Unit unit;
    ASSERT_TRUE(unit.map(0, 0x1000, k2MBytes));  // unaligned to each other: 512 small leaves
    std::uint64_t const full = unit.domain->table_bytes();
    EXPECT_EQ(full, 3 * kPage);
    Gather gather;
    EXPECT_EQ(unit.domain->unmap(Iova{0}, k2MBytes, gather), k2MBytes);
    EXPECT_TRUE(gather.tables);
    EXPECT_EQ(unit.domain->table_bytes(), full);
    unit.domain->sync(gather);
    EXPECT_EQ(unit.domain->table_bytes(), 2 * kPage);
}

// Two mappings side by side whose memory is consecutive, one whose memory is elsewhere, a hole.
TEST(Domain, an_unmap_hands_over_what_went_in_the_longest_runs)
{
    for (auto const& options : each_model()) {
        Unit unit{options};
        ASSERT_TRUE(unit.map(0x10000, 0x7000000, 3 * kPage));
        ASSERT_TRUE(unit.map(0x13000, 0x7003000, kPage));
        ASSERT_TRUE(unit.map(0x14000, 0x5000, 2 * kPage));
        ASSERT_TRUE(unit.map(0x18000, 0x9000, kPage));
        std::vector<iommu::Run> runs;
        Gather gather;
        EXPECT_EQ(unit.domain->unmap(Iova{0x10000}, 6 * kPage, gather,
                                     [&](iommu::Run const& run) { runs.push_back(run); }),
                  6 * kPage);
        unit.domain->sync(gather);
        EXPECT_EQ(runs, (std::vector<iommu::Run>{{Iova{0x10000}, Paddr{0x7000000}, 4 * kPage},
                                                 {Iova{0x14000}, Paddr{0x5000}, 2 * kPage}}));
        EXPECT_EQ(unit.domain->iova_to_phys(Iova{0x18000}), Paddr{0x9000});
    }
}

TEST(Domain, a_segment_is_as_long_as_both_sides_are_consecutive_and_permit_it)
{
    for (auto options : each_model()) {
        options.address_width = 48;
        Unit unit{options};
        auto const segments = [&](std::uint64_t start, std::uint64_t last, std::size_t room,
                                  Access access = Access::read) {
            std::vector<iommu::Segment> found(room);
            auto const walked = unit.domain->segments({Iova{start}, Iova{last}}, access, found);
            found.resize(walked.count());
            std::uint64_t bytes = 0;
            for (auto const& segment : found) bytes += segment.size;
            EXPECT_EQ(walked.bytes(), bytes);
            return found;
        };
        using Found = std::vector<iommu::Segment>;
        ASSERT_TRUE(unit.map(0x10000, 0x7000000, 3 * kPage));
        ASSERT_TRUE(unit.map(0x13000, 0x7003000, kPage, Prot::read));
        ASSERT_TRUE(unit.map(0x14000, 0x5000, 2 * kPage));
        ASSERT_TRUE(unit.map(0xffff'ffff'f000, 0xb000, kPage));
        EXPECT_EQ(segments(0x11800, ~0ULL, 9),
                  (Found{{Paddr{0x7001800}, 3 * kPage - 0x800}, {Paddr{0x5000}, 2 * kPage}}));
        EXPECT_EQ(segments(0x11000, ~0ULL, 1), (Found{{Paddr{0x7001000}, 3 * kPage}}));
        EXPECT_EQ(segments(0x11000, 0x127ff, 9), (Found{{Paddr{0x7001000}, 2 * kPage - 0x800}}));
        EXPECT_EQ(segments(0x11000, ~0ULL, 9, Access::write),
                  (Found{{Paddr{0x7001000}, 2 * kPage}}));
        EXPECT_EQ(segments(0x14000, ~0ULL, 9), (Found{{Paddr{0x5000}, 2 * kPage}}));
        EXPECT_EQ(segments(0x14000, ~0ULL, 0), Found{});
        EXPECT_EQ(segments(0x16000, ~0ULL, 9), Found{});
        EXPECT_EQ(segments(0xffff'ffff'f000, ~0ULL, 9), (Found{{Paddr{0xb000}, kPage}}));
    }
}

TEST(Domain, a_misaligned_unmap_takes_nothing)
{
    Unit unit;
    ASSERT_TRUE(unit.map(0x10000, 0x1000, kPage));
    EXPECT_EQ(unit.unmap(0x10001, kPage), 0);
    EXPECT_EQ(unit.unmap(0x10000, kPage - 1), 0);
    EXPECT_EQ(unit.unmap(0x10000, 0), 0);
    EXPECT_EQ(unit.unmap(0x10000, kPage), kPage);
}

TEST(Domain, what_is_mapped_twice_stays_or_goes_as_it_did_in_drivers_before_7_3)
{
    for (auto const kernel : {Kernel::v6_1, Kernel::v6_12, Kernel::v7_3}) {
        bool const old = kernel != Kernel::v7_3;
        Unit vtd{{.reserved = {}, .kernel = kernel}};
        ASSERT_TRUE(vtd.map(0x10000, 0x5000, kPage));
        EXPECT_EQ(vtd.map(0x10000, 0x9000, kPage).has_value(), old);
        EXPECT_EQ(vtd.domain->iova_to_phys(Iova{0x10000}), Paddr{0x5000});
        Unit amdvi{amdvi_options(kernel)};
        ASSERT_TRUE(amdvi.map(0x10000, 0x5000, kPage));
        EXPECT_EQ(amdvi.map(0x10000, 0x9000, kPage).has_value(), old);
        EXPECT_EQ(amdvi.domain->iova_to_phys(Iova{0x10000}), Paddr{old ? 0x9000U : 0x5000U});
        EXPECT_EQ(amdvi.unmap(0x10000, kPage), kPage);
    }
}

TEST(Domain, what_can_be_mapped_for_write_alone_depends_on_the_kernel)
{
    for (auto const kernel : {Kernel::v6_1, Kernel::v6_12, Kernel::v7_3}) {
        Unit vtd{{.reserved = {}, .kernel = kernel}};
        ASSERT_TRUE(vtd.map(0, 0x5000, kPage, Prot::write));
        EXPECT_EQ(vtd.word(0), kernel == Kernel::v7_3 ? 0x5002 : 0x5003);
        Unit amdvi{amdvi_options(kernel)};
        ASSERT_TRUE(amdvi.map(0, 0x5000, kPage, Prot::write));
        EXPECT_EQ(amdvi.word<test::AmdReader>(0), 0x5000'0000'0000'5001);
    }
}

// What the probe for large pages that cannot be cut (rule X-14) looks for.
TEST(Domain, two_pages_mapped_at_once_go_at_once_where_they_are_one_leaf)
{
    for (auto const& [options, gone] :
         {std::pair{Iommu::Options{}, kPage}, std::pair{amdvi_options(), 2 * kPage},
          std::pair{native_options(), 2 * kPage}}) {
        Unit unit{options};
        ASSERT_TRUE(unit.map(0x10000, 0x40000, 2 * kPage));
        EXPECT_EQ(unit.unmap(0x10000, kPage), gone);
        EXPECT_EQ(unit.unmap(0x11000, kPage), 2 * kPage - gone);
    }
}

TEST(Domain, an_amdvi_promises_coherency_always)
{
    auto options = amdvi_options();
    options.enforces_coherency = false;
    Unit unit{options};
    EXPECT_TRUE(unit.domain->enforce_coherency());
    ASSERT_TRUE(unit.map(0, 0x5000, kPage));
    EXPECT_EQ(unit.word<test::AmdReader>(0), 0x7000'0000'0000'5001);
}

using ArmReader = test::ArmReader<12>;

TEST(Domain, an_smmuv3_maps_cached_memory_and_promises_no_coherency)
{
    Unit unit{smmuv3_options()};
    EXPECT_FALSE(unit.domain->enforce_coherency());
    ASSERT_TRUE(unit.map(0, 0x5000, kPage, Prot::write));  // read and write
    EXPECT_EQ(unit.word<ArmReader>(0), 0x5f47);
    ASSERT_TRUE(unit.map(k2MBytes, 2 * k2MBytes, k2MBytes, Prot::read));
    EXPECT_EQ(unit.word<ArmReader>(k2MBytes), 0x400fc5);
}

TEST(Domain, a_page_of_a_64K_host_is_sixteen_leaves_of_4K)
{
    Unit unit{smmuv3_options()};
    ASSERT_TRUE(unit.map(0x30000, 0x70000, 0x10000));
    EXPECT_EQ(unit.domain->leaves()[12], 16);
    EXPECT_EQ(unit.unmap(0x30000, 0x10000), 0x10000);
    EXPECT_EQ(unit.domain->leaves()[12], 0);
}

TEST(Domain, part_of_a_block_goes_alone_until_6_12_and_not_at_all_since)
{
    for (auto const kernel : {Kernel::v6_1, Kernel::v6_12, Kernel::v7_3}) {
        Unit unit{smmuv3_options(kernel)};
        ASSERT_TRUE(unit.endpoint->attach(*unit.domain));
        ASSERT_TRUE(unit.map(0, 2 * k2MBytes, 2 * k2MBytes));
        EXPECT_EQ(unit.read(0x3000), 2 * k2MBytes + 0x3000);
        EXPECT_EQ(unit.read(0x5000), 2 * k2MBytes + 0x5000);
        bool const splits = kernel != Kernel::v7_3;
        EXPECT_EQ(unit.unmap(0x4000, 2 * kPage), splits ? 2 * kPage : 0);
        EXPECT_EQ(unit.read(0x3000), 2 * k2MBytes + 0x3000);
        EXPECT_EQ(unit.read(0x5000), splits ? 0 : 2 * k2MBytes + 0x5000);
        EXPECT_EQ(unit.read(0x6000), 2 * k2MBytes + 0x6000);
        EXPECT_EQ(unit.domain->leaves()[12], splits ? 510 : 0);
        EXPECT_EQ(unit.unmap(k2MBytes, k2MBytes), k2MBytes);
    }
}

TEST(Domain, tables_of_64K_lead_to_52_bits_if_the_unit_does)
{
    auto options = smmuv3_options();
    options.page_sizes = PageSizes{0x400'2001'0000};
    std::uint64_t const high = 0xd'0000'abcd'0000;
    Unit narrow{options};
    EXPECT_EQ(narrow.map(0, high, 0x10000), fail(Errno::range));
    EXPECT_EQ(narrow.domain->page_sizes(), PageSizes{0x2001'0000});

    options.paddr_width = 52;
    Unit wide{options};
    EXPECT_EQ(wide.domain->page_sizes(), options.page_sizes);
    ASSERT_TRUE(wide.map(0, high, 0x10000));
    EXPECT_EQ(wide.word<test::ArmReader<16>>(0), 0xabcddf47);
    EXPECT_EQ(wide.domain->iova_to_phys(Iova{0x1234}), Paddr{high + 0x1234});
}

TEST(Domain, coherency_is_a_bit_in_every_leaf_mapped_afterwards)
{
    Unit unit;
    ASSERT_TRUE(unit.map(0, 0x5000, kPage));
    EXPECT_TRUE(unit.domain->enforce_coherency());
    ASSERT_TRUE(unit.map(k2MBytes, 2 * k2MBytes, k2MBytes));
    EXPECT_EQ(unit.word(0), 0x5003);
    EXPECT_EQ(unit.word(k2MBytes), 0x400883);

    Unit without{{.reserved = {}, .enforces_coherency = false}};
    EXPECT_FALSE(without.domain->enforce_coherency());
}

// From a domain with no page to spare up to one that has enough.
TEST(Domain, a_failed_map_leaves_nothing_behind)
{
    std::uint64_t const edge = 1ULL << 39;
    for (std::uint64_t budget = 0; budget <= 7; ++budget) {
        auto iommu = Iommu::create({.address_width = 48, .reserved = {}, .table_budget = budget});
        if (budget == 0) {
            EXPECT_EQ((*iommu)->create_domain(), fail(Errno::nomem));
            continue;
        }
        Unit unit{{.address_width = 48, .reserved = {}, .table_budget = budget}};
        ASSERT_TRUE(unit.endpoint->attach(*unit.domain));
        auto const done = unit.map(edge - kPage, 0x1000, 2 * kPage);
        EXPECT_EQ(done.has_value(), budget == 7);
        EXPECT_EQ(unit.raw().leaves.size(), budget == 7 ? 2 : 0);
        EXPECT_EQ(unit.domain->leaves()[12], budget == 7 ? 2 : 0);
        EXPECT_EQ(unit.read(edge - kPage), budget == 7 ? 0x1000 : 0);
        EXPECT_TRUE(done || done.error() == Errno::nomem);
    }
}

// Ranges that take several rounds of the driver, and more records than a node of a list holds.
TEST(Domain, a_map_survives_the_failure_of_each_allocation)
{
    for (auto const& options : each_model()) {
        Unit unit{options};
        ASSERT_TRUE(unit.endpoint->attach(*unit.domain));
        std::uint64_t const page = unit.domain->page_sizes().smallest().bytes();
        std::uint64_t failures = 0;
        for (std::uint64_t i = 0; i < 40; ++i) {
            std::uint64_t const iova = i * 64 * page + page;
            auto const before = unit.domain->leaves();
            auto const map_with = [&](std::uint64_t allocations) {
                test::FailingNew const failing{allocations};
                return unit.map(iova, iova + kGiB, 31 * page);
            };
            for (std::uint64_t n = 0;; ++n, ++failures) {
                auto const mapped = map_with(n);
                if (mapped) break;
                ASSERT_EQ(mapped, fail(Errno::nomem));
                EXPECT_EQ(unit.domain->leaves(), before);
                for (std::uint64_t at = 0; at < 31; ++at) ASSERT_EQ(unit.read(iova + at * page), 0);
            }
            EXPECT_EQ(unit.read(iova + 30 * page), iova + 30 * page + kGiB);
        }
        EXPECT_TRUE(failures > 5 || options.model != Model::virtio) << failures;
        test::FailingNew const failing{0};
        EXPECT_EQ(unit.unmap(page, 31 * page), 31 * page);
    }
}

TEST(Domain, a_domain_that_goes_gives_its_table_pages_back)
{
    Unit unit{{.reserved = {}, .table_budget = 4}};
    for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(unit.map(0, 0x1000, k2MBytes));
        unit.domain.reset();
        unit.domain = unit.iommu->create_domain().value();
    }
}

TEST(Domain, a_roll_back_reaches_what_a_device_has_cached_meanwhile)
{
    Unit unit;
    ASSERT_TRUE(unit.endpoint->attach(*unit.domain));
    ASSERT_TRUE(unit.map(2 * kPage, 0xa000, kPage));
    std::uint64_t const generation = unit.endpoint->iotlb().generation();
    EXPECT_EQ(unit.map(0, 0xb000, 3 * kPage), fail(Errno::addrinuse));
    EXPECT_NE(unit.endpoint->iotlb().generation(), generation);
    EXPECT_EQ(unit.read(0), 0);
    EXPECT_EQ(unit.read(2 * kPage), 0xa000);
}

}  // namespace
}  // namespace pinfold::iommu
