#include "iommu/domain.hpp"

#include <gtest/gtest.h>

#include "base/read_section.hpp"
#include "iommu/iommu.hpp"
#include "support/raw_walk.hpp"

namespace pinfold::iommu {
namespace {

constexpr std::uint64_t kPage = 0x1000;
constexpr std::uint64_t k2MBytes = 0x200000;

struct Unit {
    explicit Unit(Iommu::Options options = {})
        : iommu{Iommu::create(std::move(options)).value()}, domain{iommu->create_domain().value()}
    {
    }

    Result<> map(std::uint64_t iova, std::uint64_t paddr, std::uint64_t size,
                 Prot prot = Prot::read_write)
    {
        return domain->map(Iova{iova}, Paddr{paddr}, size, prot);
    }
    std::uint64_t unmap(std::uint64_t iova, std::uint64_t size)
    {
        Gather gather;
        std::uint64_t const bytes = domain->unmap(Iova{iova}, size, gather);
        domain->sync(gather);
        return bytes;
    }
    test::RawTree raw() const
    {
        auto const table = domain->raw_table().value();
        return test::raw_walk(table.root.raw(), table.levels);
    }

    std::unique_ptr<Iommu> iommu;
    std::unique_ptr<Domain> domain;
};

Iommu::Options native(unsigned width = 64)
{
    return {.model = Model::native,
            .page_sizes = PageSizes{~0xfffULL},
            .address_width = width,
            .reserved = {}};
}

TEST(Domain, what_is_mapped_is_found_and_gone_after_unmap)
{
    for (auto const& options : {Iommu::Options{}, native(39)}) {
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
    for (auto const& options : {Iommu::Options{}, native(39)}) {
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
    for (auto const& options : {Iommu::Options{}, native(39)}) {
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

TEST(Domain, what_is_mapped_already_is_EADDRINUSE_and_stays)
{
    for (auto const& options : {Iommu::Options{}, native(39)}) {
        Unit unit{options};
        ASSERT_TRUE(unit.map(0x12000, 0xa000, kPage));
        EXPECT_EQ(unit.map(0x10000, 0xb000, 4 * kPage), fail(Errno::addrinuse));
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

TEST(Domain, a_misaligned_unmap_takes_nothing)
{
    Unit unit;
    ASSERT_TRUE(unit.map(0x10000, 0x1000, kPage));
    EXPECT_EQ(unit.unmap(0x10001, kPage), 0);
    EXPECT_EQ(unit.unmap(0x10000, kPage - 1), 0);
    EXPECT_EQ(unit.unmap(0x10000, 0), 0);
    EXPECT_EQ(unit.unmap(0x10000, kPage), kPage);
}

TEST(Domain, coherency_is_a_bit_in_every_leaf_mapped_afterwards)
{
    Unit unit;
    ASSERT_TRUE(unit.map(0, 0x5000, kPage));
    EXPECT_TRUE(unit.domain->enforce_coherency());
    ASSERT_TRUE(unit.map(k2MBytes, 2 * k2MBytes, k2MBytes));
    auto const table = unit.domain->raw_table().value();
    EXPECT_EQ(test::raw_word(table.root.raw(), table.levels, 0), 0x5003);
    EXPECT_EQ(test::raw_word(table.root.raw(), table.levels, k2MBytes), 0x400883);

    Unit without{{.reserved = {}, .enforces_coherency = false}};
    EXPECT_FALSE(without.domain->enforce_coherency());
}

}  // namespace
}  // namespace pinfold::iommu
