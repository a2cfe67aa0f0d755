#include "iommu/iommu.hpp"

#include <gtest/gtest.h>

#include "iommu/unit.hpp"

namespace pinfold::iommu {
namespace {

constexpr std::uint64_t kSizes = 0x40201000;

bool vtd_is_possible(unsigned width, std::uint64_t sizes)
{
    auto const iommu =
        Iommu::create({.page_sizes = PageSizes{sizes}, .address_width = width, .reserved = {}});
    EXPECT_TRUE(iommu || iommu.error() == Errno::inval);
    return iommu.has_value();
}

bool native_is_possible(unsigned width, std::uint64_t sizes)
{
    return Iommu::create({.model = Model::native,
                          .page_sizes = PageSizes{sizes},
                          .address_width = width,
                          .reserved = {}})
        .has_value();
}

TEST(Iommu, vtd_has_three_widths)
{
    for (unsigned width = 0; width <= 80; ++width)
        EXPECT_EQ(vtd_is_possible(width, kSizes), width == 39 || width == 48 || width == 57);
}

TEST(Iommu, vtd_has_4K_and_perhaps_2M_and_1G)
{
    for (std::uint64_t const sizes : {0x1000ULL, 0x201000ULL, 0x40001000ULL, 0x40201000ULL})
        EXPECT_TRUE(vtd_is_possible(39, sizes));
    for (std::uint64_t const sizes :
         {0x0ULL, 0x200000ULL, 0x40200000ULL, 0x11000ULL, 0x40201800ULL, ~0xfffULL})
        EXPECT_FALSE(vtd_is_possible(39, sizes));
}

bool amdvi_is_possible(unsigned width, std::uint64_t sizes)
{
    return Iommu::create({.model = Model::amdvi,
                          .page_sizes = PageSizes{sizes},
                          .address_width = width,
                          .reserved = {}})
        .has_value();
}

TEST(Iommu, amdvi_has_4K_and_any_larger_sizes_but_512G)
{
    EXPECT_TRUE(amdvi_is_possible(64, 0xffff'ff7f'ffff'f000));
    EXPECT_TRUE(amdvi_is_possible(48, 0x1000));
    EXPECT_TRUE(amdvi_is_possible(32, 0x11000));
    EXPECT_FALSE(amdvi_is_possible(64, ~0xfffULL));
    EXPECT_FALSE(amdvi_is_possible(64, 0x2000));
    EXPECT_FALSE(amdvi_is_possible(64, 0x1800));
    EXPECT_FALSE(amdvi_is_possible(64, 0));
    EXPECT_FALSE(amdvi_is_possible(65, 0x1000));
    EXPECT_FALSE(amdvi_is_possible(31, 0x1000));
}

TEST(Iommu, amdvi_reports_the_sizes_that_its_kernel_reports)
{
    for (auto const& [kernel, sizes] : {std::pair{Kernel::v6_1, 0xffff'ff7f'ffff'f000ULL},
                                        std::pair{Kernel::v6_12, 0xffff'ff7f'ffff'f000ULL},
                                        std::pair{Kernel::v7_3, 0x000f'ff7f'ffff'f000ULL}}) {
        Unit unit{amdvi_options(kernel)};
        EXPECT_EQ(unit.domain->page_sizes(), PageSizes{sizes});
        EXPECT_EQ(unit.domain->aperture().last, Iova{~0ULL});
        EXPECT_EQ(unit.domain->format(), "AMD host page table");
        EXPECT_EQ(unit.domain->raw_table()->levels, 3);
        EXPECT_EQ(unit.iommu->paddr_bits(), 52);
    }
}

TEST(Iommu, native_has_any_sizes_from_4K_up)
{
    EXPECT_TRUE(native_is_possible(64, ~0xfffULL));
    EXPECT_TRUE(native_is_possible(48, 0x10000));
    EXPECT_FALSE(native_is_possible(48, 0x1800));
    EXPECT_FALSE(native_is_possible(48, 0));
    EXPECT_FALSE(native_is_possible(65, ~0xfffULL));
    EXPECT_FALSE(native_is_possible(15, ~0xfffULL));
    EXPECT_FALSE(native_is_possible(39, 1ULL << 39));
}

TEST(Iommu, a_reserved_region_that_ends_before_it_starts_is_EINVAL)
{
    ReservedRegion const msi{{Iova{0xfee00000}, Iova{0xfeefffff}}, ReservedType::msi};
    ReservedRegion const wrong{{Iova{2}, Iova{1}}, ReservedType::reserved};
    auto const iommu = Iommu::create({.reserved = {msi}});
    ASSERT_TRUE(iommu);
    EXPECT_EQ((*iommu)->reserved_regions().at(0).range, msi.range);
    EXPECT_EQ(Iommu::create({.reserved = {msi, wrong}}), fail(Errno::inval));
}

TEST(Iommu, domains_say_what_they_are)
{
    for (auto const& [width, name] : {std::pair{39U, "VT-d second stage, 3 levels"},
                                      std::pair{48U, "VT-d second stage, 4 levels"},
                                      std::pair{57U, "VT-d second stage, 5 levels"}}) {
        auto const iommu = Iommu::create({.address_width = width, .reserved = {}}).value();
        auto const domain = iommu->create_domain().value();
        EXPECT_EQ(domain->format(), name);
        EXPECT_EQ(iommu->paddr_bits(), 52);
        EXPECT_EQ(domain->aperture(), (IovaRange{Iova{0}, Iova{(1ULL << width) - 1}}));
        EXPECT_EQ(domain->page_sizes(), iommu->page_sizes());
        EXPECT_EQ(domain->iommu(), iommu.get());
        EXPECT_EQ(domain->table_bytes(), 0x1000);
    }
    auto const iommu = Iommu::create({.model = Model::native,
                                      .page_sizes = PageSizes{~0xfffULL},
                                      .address_width = 64,
                                      .reserved = {}})
                           .value();
    auto const domain = iommu->create_domain().value();
    EXPECT_EQ(domain->format(), "native index");
    EXPECT_EQ(iommu->paddr_bits(), 64);
    EXPECT_EQ(domain->aperture().last, Iova{~0ULL});
    EXPECT_FALSE(domain->raw_table());
}

TEST(Iommu, the_table_budget_is_one_for_all_domains)
{
    auto const iommu = Iommu::create({.reserved = {}, .table_budget = 4}).value();
    auto one = iommu->create_domain().value();
    auto const other = iommu->create_domain().value();
    EXPECT_TRUE(one->map(Iova{0}, Paddr{0}, 0x1000, Prot::read));
    EXPECT_EQ(other->map(Iova{0}, Paddr{0}, 0x1000, Prot::read), fail(Errno::nomem));
    one.reset();
    EXPECT_TRUE(other->map(Iova{0}, Paddr{0}, 0x1000, Prot::read));
}

}  // namespace
}  // namespace pinfold::iommu
