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

TEST_F(NullTest, a_conventional_function_and_capabilities_of_any_kind)
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
              "null: there is no setting 'bar6'; there are bar0 to bar5, msi, msix, intx, express, "
              "aer, vendor, device, class, revision and cap");
    EXPECT_EQ(refusal({{"bar5", "4K:64"}}), "null: bar5: a BAR of 64 bits needs the next one too");
    EXPECT_EQ(refusal({{"bar1", "4K"}, {"bar0", "4K:64"}}),
              "null: bar1: it is the upper half of bar0, which has 64 bits");
    EXPECT_EQ(refusal({{"aer", "yes"}, {"express", "no"}}),
              "null: aer: only a device of PCI Express has it");
    EXPECT_EQ(refusal({{"bar0", "4K"}, {"bar0", "4K"}}), "null: bar0 is given twice");
    EXPECT_EQ(refusal({{"msi", "3"}}), "null: msi=3: say 0, 1, 2, 4, 8, 16 or 32 vectors");
    EXPECT_EQ(refusal({{"msix", "2049"}}), "null: msix=2049: say a number from 0 to 0x800");
    EXPECT_EQ(refusal({{"vendor", "x"}}), "null: vendor=x: say a number from 0 to 0xffff");
    EXPECT_EQ(refusal({{"intx", "2"}}), "null: intx=2: say yes or no");
    EXPECT_EQ(refusal({{"bar0", "4K:64"}, {"bar2", "4K:64"}, {"bar4", "4K:64"}, {"msix", "1"}}),
              "null: msix=1: there is no BAR left for its table");
    for (auto const* const wrong : {"", "0xc0", "0xac:00", "0xc2:00", "0xc0:0", "0xc0:xx",
                                    "0xfc:0011", "0x100:", "0xc0:00:00"})
        EXPECT_EQ(refusal({{"cap", wrong}}),
                  std::string{"null: cap="} + wrong +
                      ": say where it is (0xb0 to 0xfc, a multiple of 4) and its bytes, as in "
                      "0xc0:0102ff, to the end of 0xff");
    EXPECT_EQ(refusal({{"cap", "0xc0:0011223344"}, {"cap", "0xc4:"}}),
              "null: cap: those at 0xc0 and 0xc4 overlap");
}

}  // namespace
}  // namespace pinfold::devices
