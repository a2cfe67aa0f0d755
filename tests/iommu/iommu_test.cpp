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

TEST(Iommu, vtd_has_30_to_57_bits_in_the_fewest_levels)
{
    for (unsigned width = 0; width <= 80; ++width)
        EXPECT_EQ(vtd_is_possible(width, kSizes), width >= 30 && width <= 57);
    for (auto const& [width, levels] : {std::pair{30U, 3U}, std::pair{39U, 3U}, std::pair{40U, 4U},
                                        std::pair{48U, 4U}, std::pair{49U, 5U}}) {
        Unit unit{{.address_width = width, .reserved = {}}};
        EXPECT_EQ(unit.domain->raw_table()->levels, levels);
        EXPECT_EQ(unit.domain->aperture().last, Iova{(1ULL << width) - 1});
        EXPECT_EQ(unit.map(1ULL << width, 0, 0x1000), fail(Errno::range));
        EXPECT_TRUE(unit.map((1ULL << width) - 0x1000, 0, 0x1000));
    }
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

// As QEMU's unit does, which tells 48 bits.
TEST(Iommu, amdvi_has_the_sizes_and_the_width_of_its_kernel)
{
    struct Row {
        Kernel kernel;
        unsigned told, width;
        std::uint64_t sizes;
    };
    for (Row const row : {Row{Kernel::v6_1, 48, 64, 0xffff'ff7f'ffff'f000},
                          Row{Kernel::v6_12, 48, 64, 0x000f'ff7f'ffff'f000},
                          Row{Kernel::v7_3, 48, 48, 0x7f7f'ffff'f000},
                          Row{Kernel::v7_3, 64, 64, 0x000f'ff7f'ffff'f000}}) {
        auto options = amdvi_options(row.kernel);
        options.address_width = row.told;
        Unit unit{options};
        EXPECT_EQ(unit.domain->page_sizes(), PageSizes{row.sizes});
        EXPECT_EQ(unit.domain->aperture().last, Iova{~0ULL >> (64 - row.width)});
        EXPECT_EQ(unit.domain->format(), "AMD host page table");
        EXPECT_EQ(unit.domain->raw_table()->levels, 3);
        EXPECT_EQ(unit.iommu->paddr_bits(), 52);
    }
}

Iommu::Options smmuv3(PageSize host_page, std::uint64_t sizes, unsigned width = 48)
{
    return {.model = Model::smmuv3,
            .page_sizes = PageSizes{sizes},
            .address_width = width,
            .reserved = {},
            .host_page = host_page};
}

constexpr std::uint64_t kOf4K = 0x40201000;
constexpr std::uint64_t kOf16K = 0x2004000;
constexpr std::uint64_t kOf64K = 0x20010000;

// The host's page size if the unit has it, else the largest below, else the smallest above.
TEST(Iommu, smmuv3_chooses_one_granule)
{
    struct Row {
        std::uint64_t offered;
        std::uint64_t on_4K, on_16K, on_64K;
    };
    for (Row const row :
         {Row{kOf4K, kOf4K, kOf4K, kOf4K}, Row{kOf4K | kOf16K | kOf64K, kOf4K, kOf16K, kOf64K},
          Row{kOf64K, kOf64K, kOf64K, kOf64K}, Row{kOf16K, kOf16K, kOf16K, kOf16K},
          Row{kOf4K | kOf16K, kOf4K, kOf16K, kOf16K}, Row{kOf4K | kOf64K, kOf4K, kOf4K, kOf64K},
          Row{kOf16K | kOf64K, kOf16K, kOf16K, kOf64K}, Row{0x1000, 0x1000, 0x1000, 0x1000}}) {
        for (auto const& [host_page, chosen] :
             {std::pair{k4K, row.on_4K}, std::pair{k16K, row.on_16K},
              std::pair{k64K, row.on_64K}}) {
            Unit unit{smmuv3(host_page, row.offered)};
            EXPECT_EQ(unit.domain->page_sizes(), PageSizes{chosen});
            std::uint64_t const page = chosen & -chosen;
            EXPECT_TRUE(unit.map(page, 2 * page, page));
            EXPECT_EQ(unit.domain->iova_to_phys(Iova{page + 1}), Paddr{2 * page + 1});
            EXPECT_EQ(unit.domain->table_bytes() % page, 0);
        }
    }
}

TEST(Iommu, smmuv3_refuses_what_gives_no_granule)
{
    for (std::uint64_t const sizes : {0x0ULL, 0x200000ULL, 0x8000ULL, 0x41201000ULL, ~0xfffULL})
        EXPECT_EQ(Iommu::create(smmuv3(k64K, sizes)), fail(Errno::inval));
    EXPECT_EQ(Iommu::create(smmuv3(k4K, 0x40200000)), fail(Errno::inval));
    EXPECT_EQ(Iommu::create(smmuv3(k4K, kOf4K, 53)), fail(Errno::inval));
    EXPECT_EQ(Iommu::create(smmuv3(k4K, kOf4K, 31)), fail(Errno::inval));
    auto options = smmuv3(k4K, kOf4K);
    options.paddr_width = 46;
    EXPECT_EQ(Iommu::create(options), fail(Errno::inval));
}

TEST(Iommu, smmuv3_has_the_width_and_the_levels_of_its_granule)
{
    struct Row {
        PageSize granule;
        unsigned asked, width, levels;
    };
    for (Row const row :
         {Row{k4K, 39, 39, 3}, Row{k4K, 42, 42, 4}, Row{k4K, 48, 48, 4}, Row{k4K, 52, 48, 4},
          Row{k16K, 42, 42, 3}, Row{k16K, 47, 47, 3}, Row{k16K, 48, 48, 4}, Row{k16K, 52, 48, 4},
          Row{k64K, 42, 42, 2}, Row{k64K, 48, 48, 3}, Row{k64K, 52, 52, 3}}) {
        Unit unit{smmuv3(row.granule, kOf4K | kOf16K | kOf64K, row.asked)};
        std::uint64_t const last = (1ULL << row.width) - 1;
        EXPECT_EQ(unit.domain->aperture(), (IovaRange{Iova{0}, Iova{last}}));
        EXPECT_EQ(unit.domain->raw_table()->levels, row.levels);
        std::uint64_t const page = row.granule.bytes();
        EXPECT_TRUE(unit.map(last - page + 1, 0, page));
        EXPECT_EQ(unit.domain->iova_to_phys(Iova{last}), Paddr{page - 1});
        EXPECT_EQ(unit.map(last + 1, 0, page), fail(Errno::range));
        EXPECT_EQ(unit.iommu->paddr_bits(), 48);
    }
    auto options = smmuv3(k64K, kOf4K | kOf64K, 52);
    options.paddr_width = 52;
    EXPECT_EQ(Iommu::create(options).value()->paddr_bits(), 52);
    options.host_page = k4K;
    EXPECT_EQ(Iommu::create(options).value()->paddr_bits(), 48);
    EXPECT_EQ(Unit{options}.domain->format(), "Arm LPAE stage 1, 4K granule, 4 levels");
}

TEST(Iommu, virtio_has_any_sizes_up_from_the_hosts_page)
{
    auto options = virtio_options();
    EXPECT_TRUE(Iommu::create(options));
    options.page_sizes = PageSizes{0x10000};
    EXPECT_EQ(Iommu::create(options), fail(Errno::inval));
    options.host_page = k64K;
    EXPECT_EQ(Iommu::create(options).value()->paddr_bits(), 64);
    for (std::uint64_t const sizes : {0x0ULL, 0x1800ULL, 0x20000ULL}) {
        options.page_sizes = PageSizes{sizes};
        EXPECT_EQ(Iommu::create(options), fail(Errno::inval));
    }
    options = virtio_options();
    options.address_width = 65;
    EXPECT_EQ(Iommu::create(options), fail(Errno::inval));
    options.address_width = 48;
    EXPECT_EQ(Unit{options}.domain->aperture().last, Iova{(1ULL << 48) - 1});
    EXPECT_EQ(Unit{options}.domain->format(), "virtio-iommu records");
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
