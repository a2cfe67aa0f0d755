#include "devices/null.hpp"

#include <gtest/gtest.h>

#include <memory>

#include "pci/function.hpp"
#include "pci/support.hpp"

namespace pinfold::devices {
namespace {

class NullTest : public testing::Test {
protected:
    std::unique_ptr<pci::Function> make(std::vector<pci::Setting> settings)
    {
        auto function = pci::Function::create(around_.endpoint(), around_.memory(), null_model(),
                                              {.model = "null", .settings = std::move(settings)})
                            .value();
        function->open();
        function->config_write(4, 2, 3);
        return function;
    }
    template <class T>
    static T config(pci::Function& function, std::size_t at)
    {
        T value{};
        function.config_read(at, std::as_writable_bytes(std::span{&value, 1}));
        return value;
    }
    static std::string refusal(std::vector<pci::Setting> settings)
    {
        auto const checked = null_model().check({.model = "null", .settings = std::move(settings)});
        return checked ? std::string{} : checked.error();
    }

    pci::Surroundings around_;
};

TEST_F(NullTest, without_settings_it_is_a_PCI_Express_function_with_INTA_and_no_BAR)
{
    auto const function = make({});
    EXPECT_EQ(config<std::uint32_t>(*function, 0), 0x10f01af4U);
    EXPECT_EQ(function->config_size(), 4096U);
    EXPECT_TRUE(function->resettable());
    for (unsigned i = 0; i < 6; ++i) EXPECT_EQ(function->region(i)->size, 0U);
    EXPECT_EQ(function->irq_count(pci::IrqIndex::intx), 1U);
    EXPECT_EQ(function->irq_count(pci::IrqIndex::msi), 0U);
    EXPECT_EQ(function->irq_count(pci::IrqIndex::msix), 0U);
}

TEST_F(NullTest, BARs_are_as_they_are_asked_for)
{
    auto const function = make({{"bar0", "16K:64:prefetch:readable"},
                                {"bar2", "32:io"},
                                {"bar3", "4096:nomap"},
                                {"bar4", "1M"}});
    EXPECT_EQ(function->region(0)->size, 0x4000U);
    EXPECT_TRUE(function->region(0)->mappable);
    EXPECT_TRUE(function->page_readable(0, 0x3000));
    EXPECT_EQ(config<std::uint32_t>(*function, 0x10) & 0xf, 0xcU);
    EXPECT_EQ(config<std::uint32_t>(*function, 0x18) & 3, 1U);
    EXPECT_EQ(function->region(2)->size, 32U);
    EXPECT_FALSE(function->region(3)->mappable);
    EXPECT_TRUE(function->region(4)->mappable);
    EXPECT_FALSE(function->page_readable(4, 0));
}

TEST_F(NullTest, what_is_written_is_read_and_lost_by_a_reset)
{
    auto const function = make({{"bar0", "4K"}, {"bar1", "4K:readable"}, {"bar2", "8:io"}});
    for (unsigned bar = 0; bar < 3; ++bar) {
        ASSERT_TRUE(function->bar_write(bar, 4, 4, 0x12345678));
        EXPECT_EQ(function->bar_read(bar, 4, 4).value(), 0x12345678U);
        EXPECT_EQ(function->bar_read(bar, 5, 1).value(), 0x56U);
        EXPECT_EQ(function->bar_read(bar, 0, 8).value(), 0x12345678ULL << 32);
    }
    ASSERT_TRUE(function->reset());
    for (unsigned bar = 0; bar < 3; ++bar) EXPECT_EQ(function->bar_read(bar, 4, 4).value(), 0U);
}

TEST_F(NullTest, interrupts_are_as_many_as_they_are_asked_for)
{
    auto const function = make({{"bar0", "4K:64"}, {"msi", "8"}, {"msix", "300"}, {"intx", "no"}});
    EXPECT_EQ(function->irq_count(pci::IrqIndex::intx), 0U);
    EXPECT_EQ(function->irq_count(pci::IrqIndex::msi), 8U);
    EXPECT_EQ(function->irq_count(pci::IrqIndex::msix), 300U);
    EXPECT_EQ(function->region(2)->size, 0x4000U) << "two of the 8K that 300 entries take";
    EXPECT_TRUE(function->region(2)->msix_table);
    ASSERT_TRUE(function->reset());
    EXPECT_EQ(function->mmio_read(2, 12, 4).value(), 1U) << "the table is masked, reset or not";
}

TEST_F(NullTest, a_conventional_function_and_capabilities_of_a_vendor)
{
    auto const function = make({{"express", "no"},
                                {"vendor", "0x8086"},
                                {"device", "1"},
                                {"class", "0x020000"},
                                {"revision", "7"},
                                {"cap", "0xc0:0102ff"},
                                {"cap", "0xb0:"}});
    EXPECT_EQ(function->config_size(), 256U);
    EXPECT_FALSE(function->resettable());
    EXPECT_EQ(config<std::uint32_t>(*function, 0), 0x00018086U);
    EXPECT_EQ(config<std::uint32_t>(*function, 8), 0x02000007U);
    EXPECT_EQ(config<std::uint8_t>(*function, 0x34), 0xc0U);
    EXPECT_EQ(config<std::uint32_t>(*function, 0xc0), 0x0106b009U);
    EXPECT_EQ(config<std::uint16_t>(*function, 0xc4), 0xff02U);
    EXPECT_EQ(config<std::uint32_t>(*function, 0xb0), 0x00030009U);
    function->config_write(0xc4, 1, 0);
    EXPECT_EQ(config<std::uint8_t>(*function, 0xc4), 2U) << "read only";
}

TEST_F(NullTest, capabilities_of_any_kind_are_in_their_lists)
{
    auto const function = make({{"cap", "0xc0:0x03:00ff"},
                                {"cap", "0xd0:0011"},
                                {"extcap", "0x100:0x03:0011223344556677"},
                                {"extcap", "0x200:0x0b:"}});
    EXPECT_EQ(config<std::uint32_t>(*function, 0xc0), 0xff00d003U) << "VPD, then the vendor's";
    EXPECT_EQ(config<std::uint32_t>(*function, 0xd0), 0x00050009U);
    EXPECT_EQ(config<std::uint32_t>(*function, 0x100), 0x2001'0003U) << "serial number";
    EXPECT_EQ(config<std::uint32_t>(*function, 0x104), 0x33221100U);
    EXPECT_EQ(config<std::uint32_t>(*function, 0x200), 0x0001'000bU) << "the last";
    auto const behind = make({{"aer", "yes"}, {"extcap", "0x148:0x03:0011223344556677"}});
    EXPECT_EQ(config<std::uint32_t>(*behind, 0x100), 0x1482'0001U);
    EXPECT_EQ(config<std::uint32_t>(*behind, 0x148), 0x0001'0003U);
}

TEST_F(NullTest, ids_of_the_subsystem_and_the_pin_are_as_they_are_asked_for)
{
    auto const function =
        make({{"subsystem_vendor", "0x1234"}, {"subsystem", "0x5678"}, {"intx", "C"}});
    EXPECT_EQ(config<std::uint32_t>(*function, 0x2c), 0x56781234U);
    EXPECT_EQ(config<std::uint8_t>(*function, 0x3d), 3U);
    EXPECT_EQ(function->irq_count(pci::IrqIndex::intx), 1U);
}

TEST_F(NullTest, the_MSI_X_table_is_where_it_is_asked_for_and_the_rest_of_its_BAR_is_memory)
{
    auto const function =
        make({{"bar0", "8K"}, {"msix", "3"}, {"msix_at", "0:0x1000:0x800"}, {"trigger", "0:0x10"}});
    EXPECT_EQ(config<std::uint32_t>(*function, 0x94), 0x1000U);
    EXPECT_EQ(config<std::uint32_t>(*function, 0x98), 0x800U);
    for (unsigned const at : {0x7f8U, 0x808U, 0xff8U, 0x1030U})
        EXPECT_TRUE(function->mmio_write(0, at, 4, 0x77));
    ASSERT_TRUE(function->mmio_write(0, 0x1000, 4, 0x1234));
    ASSERT_TRUE(function->reset());
    for (unsigned const at : {0x7f8U, 0x808U, 0xff8U, 0x1030U})
        EXPECT_EQ(function->mmio_read(0, at, 4).value(), 0U) << at;
    EXPECT_EQ(function->mmio_read(0, 0x1000, 4).value(), 0U) << "no vector is bound";
    EXPECT_EQ(function->mmio_read(0, 0x100c, 4).value(), 1U) << "masked";
}

TEST_F(NullTest, a_write_to_the_trigger_raises_a_vector_or_INTx)
{
    auto const function = make({{"bar0", "4K"}, {"msi", "1"}, {"trigger", "0:0x10"}});
    auto const asserted = [&] { return (config<std::uint16_t>(*function, 6) & 8) != 0; };
    function->config_write(4, 2, 6);
    ASSERT_TRUE(function->mmio_write(0, 0x10, 4, 0));
    EXPECT_TRUE(asserted());
    ASSERT_TRUE(function->mmio_write(0, 0x14, 4, 0));
    EXPECT_FALSE(asserted());
    pci::TestEvent event;
    pci::bind_event(*function, pci::IrqIndex::msi, event);
    ASSERT_TRUE(function->mmio_write(0, 0x10, 4, 7));
    EXPECT_EQ(event.fired(), 0U) << "no such vector";
    ASSERT_TRUE(function->mmio_write(0, 0x10, 4, 0));
    EXPECT_EQ(event.fired(), 1U);
    EXPECT_EQ(function->mmio_read(0, 0x10, 4).value(), 0U) << "it keeps nothing";
}

TEST_F(NullTest, error_reporting_is_there_where_it_is_asked_for)
{
    EXPECT_EQ(config<std::uint32_t>(*make({{"aer", "yes"}}), 0x100), 0x0002'0001U);
    EXPECT_EQ(config<std::uint32_t>(*make({}), 0x100), 0U);
}

TEST_F(NullTest, settings_that_are_wrong_are_named_with_what_is_right)
{
    for (auto const* const wrong :
         {"", "0", "2K", "5K", "4K:", "4K:io", "4K:fast", "2G", "2048M", "2:io", "512:io",
          "32:io:nomap", "64:readable", "99999999999999999999K"})
        EXPECT_EQ(refusal({{"bar0", wrong}}),
                  std::string{"null: bar0="} + wrong +
                      ": say a size that is a power of two (memory 4K to 1024M, I/O 4 to 256), and "
                      "then :io, :64, :prefetch, :readable or :nomap");
    EXPECT_EQ(refusal({{"bar6", "4K"}}),
              "null: there is no setting 'bar6'; there are bar0 to bar5, msi, msix, msix_at, "
              "intx, trigger, express, aer, vendor, device, subsystem_vendor, subsystem, class, "
              "revision, cap and extcap");
    EXPECT_EQ(refusal({{"bar5", "4K:64"}}), "null: bar5: a BAR of 64 bits needs the next one too");
    EXPECT_EQ(refusal({{"bar1", "4K"}, {"bar0", "4K:64"}}),
              "null: bar1: it is the upper half of bar0, which has 64 bits");
    EXPECT_EQ(refusal({{"aer", "yes"}, {"express", "no"}}),
              "null: aer: only a device of PCI Express has it");
    EXPECT_EQ(refusal({{"bar0", "4K"}, {"bar0", "4K"}}), "null: bar0 is given twice");
    EXPECT_EQ(refusal({{"msi", "3"}}), "null: msi=3: say 0, 1, 2, 4, 8, 16 or 32 vectors");
    EXPECT_EQ(refusal({{"msix", "2049"}}), "null: msix=2049: say a number from 0 to 0x800");
    EXPECT_EQ(refusal({{"vendor", "x"}}), "null: vendor=x: say a number from 0 to 0xffff");
    EXPECT_EQ(refusal({{"intx", "2"}}), "null: intx=2: say A, B, C, D, yes (A) or no");
    EXPECT_EQ(refusal({{"bar0", "4K:64"}, {"bar2", "4K:64"}, {"bar4", "4K:64"}, {"msix", "1"}}),
              "null: msix=1: there is no BAR left for its table");
    for (auto const* const wrong :
         {"", "0xc0", "0xac:00", "0xc2:00", "0xc0:0", "0xc0:xx", "0xfc:0011",
          "0x100:", "0xc0:00:00", "0xc0:0x01:00", "0xc0:0x11:00", "0xc0:0x15:00", "0xc0:3:00:00"})
        EXPECT_EQ(refusal({{"cap", wrong}}),
                  std::string{"null: cap="} + wrong +
                      ": say where it is (0xb0 to 0xfc, a multiple of 4), its id (2 to 0x14, none "
                      "that other settings give) unless it is vendor specific, and its bytes, to "
                      "the end of 0xff, as in 0xc0:0x03:00ff");
    for (auto const* const wrong : {"", "0x100:3", "0xfc:3:00", "0x102:3:00", "0x100:1:00",
                                    "0x100:0x2f:00", "0x100:3:0", "0xffc:3:00", "0x1000:3:"})
        EXPECT_EQ(refusal({{"extcap", wrong}}),
                  std::string{"null: extcap="} + wrong +
                      ": say where it is (0x100 to 0xffc, a multiple of 4), its id (2 to 0x2e) and "
                      "its bytes, to the end of 0xfff, as in 0x100:0x03:0011223344556677");
    EXPECT_EQ(refusal({{"extcap", "0x200:3:"}}),
              "null: extcap: the first is at 0x100, where a list of them begins");
    EXPECT_EQ(refusal({{"extcap", "0x100:3:"}, {"express", "no"}}),
              "null: extcap: only a device of PCI Express has them");
    EXPECT_EQ(refusal({{"extcap", "0x100:3:"}, {"aer", "yes"}}),
              "null: extcap: Advanced Error Reporting is there to 0x148");
    EXPECT_EQ(refusal({{"extcap", "0x100:3:0011"}, {"extcap", "0x104:4:"}}),
              "null: extcap: those at 0x100 and 0x104 overlap");
    for (auto const* const place : {"0:0x1000:0x1008", "0:0xff8:0", "1:0:0x800", "0:4:0x800"})
        EXPECT_EQ(refusal({{"bar0", "4K"}, {"msix", "2"}, {"msix_at", place}}),
                  "null: msix_at: table and pending bits need 32 and 8 bytes of their own at "
                  "multiples of 8 in a memory BAR")
            << place;
    EXPECT_EQ(refusal({{"bar0", "4K"}, {"msix_at", "0:0:0x800"}}),
              "null: msix_at: there are no vectors (msix=COUNT)");
    EXPECT_EQ(refusal({{"msix_at", "6:0:0"}}),
              "null: msix_at=6:0:0: say BAR:TABLE:PENDING, as in 0:0x1000:0x1800");
    EXPECT_EQ(refusal({{"trigger", "0:4"}}),
              "null: trigger=0:4: say BAR:OFFSET, a multiple of 8, as in 0:0x100");
    EXPECT_EQ(refusal({{"bar0", "4K"}, {"trigger", "0:4096"}}),
              "null: trigger: its 8 bytes do not lie in BAR 0");
    EXPECT_EQ(refusal({{"cap", "0xc0:0011223344"}, {"cap", "0xc4:"}}),
              "null: cap: those at 0xc0 and 0xc4 overlap");
}

}  // namespace
}  // namespace pinfold::devices
