#include "devices/loaded.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>

#include "devices/registry.hpp"
#include "pci/function.hpp"
#include "pci/support.hpp"

namespace pinfold::devices {
namespace {

using host::TestMapping;

std::string const kExample = PINFOLD_EXAMPLES "/checksum_device.so";

std::string object(std::string const& flaw) { return PINFOLD_OBJECTS "/libflawed_" + flaw + ".so"; }

TEST(LoadedModel, is_one_like_any_other)
{
    auto const model = find_or_load(kExample);
    ASSERT_TRUE(model) << model.error();
    EXPECT_EQ((*model)->name(), "checksum");
    EXPECT_EQ((*model)->summary(), "sums up bytes of memory");
    ASSERT_EQ((*model)->options().size(), 1U);
    EXPECT_EQ((*model)->options()[0].key, "limit");
    EXPECT_EQ((*model)->example(), kExample + ",bdf=0000:00:04.0");
    EXPECT_EQ(find_or_load(kExample).value(), *model) << "it is loaded once";
    EXPECT_EQ(find_or_load("edu").value(), find("edu")) << "a name is none of these";
    EXPECT_EQ(find_or_load("checksum").value(), nullptr);
}

TEST(LoadedModel, refuses_what_it_does_not_have)
{
    auto const* const model = find_or_load(kExample).value();
    auto const said = [&](std::vector<pci::Setting> settings) {
        auto const checked = model->check({.model = kExample, .settings = std::move(settings)});
        return checked ? std::string{} : checked.error();
    };
    EXPECT_EQ(said({}), "");
    EXPECT_EQ(said({{"limit", "0x1000"}}), "");
    EXPECT_EQ(said({{"speed", "1"}}), "checksum: there is no setting 'speed'; it has limit");
    EXPECT_EQ(said({{"limit", "1"}, {"limit", "1"}}), "checksum: limit is given twice");
    for (auto const* const wrong :
         {"", "0", "x", "-1", "0x", "1 ", "1073741825", "99999999999999999999999"})
        EXPECT_EQ(said({{"limit", wrong}}),
                  std::string{"checksum: limit="} + wrong + ": say a number from 1 to 1073741824");
}

class LoadedDeviceTest : public testing::Test {
protected:
    static constexpr std::uint64_t kIova = 0x10000;
    void set(std::uint64_t at, unsigned size, std::uint64_t value)
    {
        function_->mmio_write(0, at, size, value).value();
    }
    std::uint32_t get(std::uint64_t at)
    {
        return static_cast<std::uint32_t>(function_->mmio_read(0, at, 4).value());
    }
    void sum_up(std::uint64_t iova, std::uint32_t size)
    {
        set(0x08, 8, iova);
        set(0x04, 4, size);
        set(0x10, 4, 1);
    }

    pci::Surroundings around_;
    TestMapping memory_{4};
    std::unique_ptr<pci::Function> function_ =
        pci::Function::create(around_.endpoint(), around_.memory(), *find_or_load(kExample).value(),
                              {.model = kExample, .settings = {{"limit", "8192"}}})
            .value();
};

TEST_F(LoadedDeviceTest, does_its_work_through_the_interface)
{
    function_->open();
    function_->config_write(4, 2, 6);
    around_.map(kIova, memory_);
    memory_.fill(3);
    pci::TestEvent event;
    pci::bind_event(*function_, pci::IrqIndex::msi, event);
    EXPECT_EQ(get(0), 0x53554d21U);
    sum_up(kIova + 100, 5000);
    EXPECT_EQ(get(0x14), 1U);
    EXPECT_EQ(get(0x18), 15000U);
    EXPECT_EQ(event.fired(), 1U);
    sum_up(kIova, 8193);
    EXPECT_EQ(get(0x14), 3U) << "beyond the limit";
    sum_up(0xdead0000, 16);
    EXPECT_EQ(get(0x14), 2U);
    EXPECT_EQ(around_.faults().size(), 1U);
    EXPECT_EQ(function_->summary(), "5000 bytes summed up");
    ASSERT_TRUE(function_->reset());
    EXPECT_EQ(get(0x14), 0U);
}

TEST_F(LoadedDeviceTest, raises_INTx_where_no_message_is_set_up_and_lowers_it)
{
    function_->open();
    function_->config_write(4, 2, 6);
    auto const asserted = [&] {
        std::uint16_t status = 0;
        function_->config_read(6, std::as_writable_bytes(std::span{&status, 1}));
        return (status & 8) != 0;
    };
    sum_up(kIova, 0);
    EXPECT_TRUE(asserted());
    set(0x14, 4, 0);
    EXPECT_FALSE(asserted());
}

TEST(LoadedObject, that_is_no_device_is_refused_with_a_reason)
{
    auto const refusal = [](std::string const& path) { return load_object(path).error(); };
    EXPECT_NE(refusal("/no/such/device.so").find("/no/such/device.so"), std::string::npos);
    std::string const text = testing::TempDir() + "/letter.so";
    std::ofstream{text} << "a letter";
    EXPECT_NE(refusal(text).find(text), std::string::npos);
    std::filesystem::remove(text);
    EXPECT_EQ(refusal(object("NOTHING")),
              object("NOTHING") +
                  ": is no device: it does not export pinfold_device_model (PINFOLD_DEVICE)");
    EXPECT_EQ(refusal(object("VERSION")),
              object("VERSION") +
                  ": is built for version 77 of the device interface, and this is version 1; build "
                  "it again with this Pinfold's headers");
    EXPECT_EQ(refusal(object("INCOMPLETE")),
              object("INCOMPLETE") + ": is no device: its model leaves something out");
}

TEST(LoadedObject, whose_device_cannot_be_is_refused_with_a_reason)
{
    for (auto const& [flaw, reason] : std::vector<std::pair<std::string, std::string>>{
             {"SILENT_DEVICE", "its device leaves a call out"},
             {"BAR_SIZE", "its BAR 0 is not a power of two in size"},
             {"EARLY",
              "its device uses the bus while it is made; a device's life begins with reset()"},
             {"BAR_HUGE", "its BAR 0 is more than 64 GiB"},
             {"BAR_HALF", "its BAR 1 is the upper half of one of 64 bits"},
             {"MSIX", "its MSI-X table or pending bits do not lie in a memory BAR"},
             {"MSIX_OVERLAP", "its MSI-X table and pending bits overlap"},
             {"MSI", "its MSI vectors are not 0 or a power of two up to 32"},
             {"PIN", "its interrupt pin is neither 0 nor 1"},
             {"KIND", "its BAR 0 is of no kind that there is"}}) {
        auto const model = load_object(object(flaw));
        ASSERT_TRUE(model) << model.error();
        EXPECT_EQ((*model)->check({.model = "", .settings = {}}).error(), "flawed: " + reason);
        EXPECT_EQ((*model)->check({.model = "", .settings = {{"a", "b"}}}).error(),
                  "flawed: there is no setting 'a'; it has none");
    }
}

}  // namespace
}  // namespace pinfold::devices
