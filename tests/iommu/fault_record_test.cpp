#include "iommu/fault_record.hpp"

#include <gtest/gtest.h>

#include "iommu/unit.hpp"

namespace pinfold::iommu {
namespace {

constexpr std::uint16_t kRequester = 0x0020;  // 00:04.0
constexpr DomainTag kDomain = 5;

std::optional<FaultRecord> record(Model model, Access access, FaultReason reason)
{
    return fault_record(model, kRequester, kDomain, {Iova{0x12345678}, access, reason});
}

TEST(FaultRecord, of_vtd_says_which_right_is_missing_and_names_the_page)
{
    auto const words = [](Access access, FaultReason reason) {
        auto const made = record(Model::vtd, access, reason);
        EXPECT_EQ(made->bytes, 16);
        EXPECT_EQ(made->words[0], 0x12345000);
        return made->words[1];
    };
    EXPECT_EQ(words(Access::read, FaultReason::not_mapped), 0xc000'0006'0000'0020);
    EXPECT_EQ(words(Access::write, FaultReason::not_mapped), 0x8000'0005'0000'0020);
    EXPECT_EQ(words(Access::write, FaultReason::no_permission), 0x8000'0005'0000'0020);
    EXPECT_EQ(words(Access::read, FaultReason::address_width), 0xc000'0004'0000'0020);
    EXPECT_EQ(words(Access::write, FaultReason::blocked), 0x8000'0002'0000'0020);
}

TEST(FaultRecord, of_amd_is_a_page_fault_with_its_flags)
{
    auto const words = [](Access access, FaultReason reason) {
        auto const made = record(Model::amdvi, access, reason);
        EXPECT_EQ(made->words[1], 0x12345678);
        return made->words[0];
    };
    EXPECT_EQ(words(Access::read, FaultReason::not_mapped), 0x2000'0005'0000'0020);
    EXPECT_EQ(words(Access::write, FaultReason::not_mapped), 0x2020'0005'0000'0020);
    EXPECT_EQ(words(Access::write, FaultReason::no_permission), 0x2070'0005'0000'0020);
}

TEST(FaultRecord, of_an_smmu_is_a_translation_or_a_permission_event)
{
    auto const words = [](Access access, FaultReason reason) {
        auto const made = record(Model::smmuv3, access, reason);
        EXPECT_EQ(made->bytes, 32);
        EXPECT_EQ(made->words[2], 0x12345678);
        return std::pair{made->words[0], made->words[1]};
    };
    EXPECT_EQ(words(Access::read, FaultReason::not_mapped),
              (std::pair{0x20'0000'0010UL, 0x208'0000'0000UL}));
    EXPECT_EQ(words(Access::write, FaultReason::no_permission),
              (std::pair{0x20'0000'0013UL, 0x200'0000'0000UL}));
    EXPECT_EQ(record(Model::smmuv3, Access::read, FaultReason::blocked), std::nullopt);
}

TEST(FaultRecord, of_virtio_names_the_endpoint_and_the_address)
{
    EXPECT_EQ(record(Model::virtio, Access::write, FaultReason::not_mapped),
              (FaultRecord{{0x102'0000'0002, kRequester, 0x12345678}, 24}));
    EXPECT_EQ(record(Model::virtio, Access::read, FaultReason::blocked),
              (FaultRecord{{0x101'0000'0001, kRequester, 0x12345678}, 24}));
}

TEST(FaultRecord, is_not_made_of_what_the_unit_does_not_see)
{
    for (auto const model : {Model::vtd, Model::amdvi, Model::smmuv3, Model::virtio, Model::native})
        for (auto const reason :
             {FaultReason::bus_master, FaultReason::no_memory, FaultReason::interrupt_window})
            EXPECT_EQ(record(model, Access::read, reason), std::nullopt);
    EXPECT_EQ(record(Model::native, Access::read, FaultReason::not_mapped), std::nullopt);
}

// ------------------------------------------------------------------------------ interrupt window

constexpr IovaRange kWindow{Iova{0xfee0'0000}, Iova{0xfeef'ffff}};

TEST(InterruptWindow, is_never_memory_whatever_is_mapped_there)
{
    for (auto options : each_model()) {
        options.reserved = {{kWindow, ReservedType::msi}};
        Unit unit{options};
        ASSERT_TRUE(unit.endpoint->attach(*unit.domain));
        // One leaf, where there are such, around the window.
        ASSERT_TRUE(unit.map(0xc000'0000, 0x1'0000'0000, 0x4000'0000));
        for (int again = 0; again < 2; ++again) {
            auto const below = unit.access(0xfedf'f000, Access::write);
            ASSERT_TRUE(below);
            EXPECT_EQ(below->paddr, Paddr{0x1'3edf'f000});
            EXPECT_EQ(below->size, 0x1000);
            auto const above = unit.access(0xfef0'0010, Access::write);
            ASSERT_TRUE(above);
            EXPECT_EQ(above->paddr, Paddr{0x1'3ef0'0010});
            EXPECT_FALSE(unit.access(0xfee0'0000, Access::read));
            EXPECT_FALSE(unit.access(0xfeef'ffff, Access::write));
        }
        EXPECT_EQ(unit.endpoint->faults().records()[0].reason, FaultReason::interrupt_window);
        EXPECT_EQ(unit.endpoint->faults().count(), 4);
    }
}

TEST(InterruptWindow, takes_four_bytes_that_are_aligned_for_an_interrupt)
{
    Unit unit{{.reserved = {{kWindow, ReservedType::msi}}}};
    EXPECT_TRUE(unit.endpoint->interrupts(Iova{0xfee0'0000}, 4));
    EXPECT_TRUE(unit.endpoint->interrupts(Iova{0xfeef'fffc}, 4));
    EXPECT_FALSE(unit.endpoint->interrupts(Iova{0xfee0'0000}, 8));
    EXPECT_FALSE(unit.endpoint->interrupts(Iova{0xfee0'0002}, 4));
    EXPECT_FALSE(unit.endpoint->interrupts(Iova{0xfedf'fffc}, 4));
    Unit arm{smmuv3_options()};
    EXPECT_FALSE(arm.endpoint->interrupts(Iova{0xfee0'0000}, 4));
}

TEST(FaultLog, says_that_it_had_no_room_until_it_is_cleared)
{
    FaultLog log;
    for (std::size_t i = 0; i < FaultLog::kCapacity; ++i)
        log.record({Iova{i}, Access::read, FaultReason::not_mapped});
    EXPECT_FALSE(log.overflowed());
    log.record({Iova{0}, Access::read, FaultReason::not_mapped});
    EXPECT_TRUE(log.overflowed());
    log.clear();
    EXPECT_FALSE(log.overflowed());
}

}  // namespace
}  // namespace pinfold::iommu
