#include <gtest/gtest.h>

#include <random>

#include "machine/description.hpp"

namespace pinfold::machine {
namespace {

constexpr std::string_view kWhole = R"(name = "odd"
preset = "vtd"
kernel = "6.12"

[host]
page_size = "64K"
memlock = "8M"
frames = "scattered"
frame_seed = 42

[iommu]
model = "native"
page_sizes = ["4K", "2M"]
address_width = 48
enforces_coherency = false
remaps_interrupts = false
table_budget = 100

[[iommu.reserved]]
start = 0xfee00000
last = 0xfeefffff
type = "msi"

[[iommu.reserved]]
start = "0xfffffffffffff000"
last = "0xffffffffffffffff"

[[extra_iommu]]
name = "second"
page_sizes = ["4K"]
reserved = []

[type1]
policy = "subpage"
allow_coarse = true
dma_entry_limit = 10
allow_unsafe_interrupts = true
disable_hugepages = true

[[device]]
model = "nvme"
bdf = "0000:00:04.0"
group = 9
iommu = "second"
driver = "host"
disk = "a \"disk\""
readonly = true
number = 7
many = ["x", "y"]

[[device]]
model = "edu"
bdf = "00:05.0"
)";

TEST(MachineFile, everything_that_can_be_said_is_understood)
{
    auto const machine = parse_toml(kWhole, "dir/odd.toml");
    ASSERT_TRUE(machine) << machine.error();
    EXPECT_EQ(machine->name, "odd");
    EXPECT_EQ(machine->kernel, Kernel::v6_12);
    EXPECT_EQ(machine->host.page_size, k64K);
    EXPECT_EQ(machine->host.memlock.kind, Memlock::Kind::bytes);
    EXPECT_EQ(machine->host.memlock.bytes, 8U << 20);
    EXPECT_EQ(machine->host.frames, host::FrameNumbering::scattered);
    EXPECT_EQ(machine->host.frame_seed, 42U);
    EXPECT_EQ(machine->iommu.model, iommu::Model::native);
    EXPECT_EQ(machine->iommu.page_sizes, PageSizes{0x201000});
    EXPECT_EQ(machine->iommu.address_width, 48U);
    EXPECT_FALSE(machine->iommu.enforces_coherency);
    EXPECT_FALSE(machine->iommu.remaps_interrupts);
    EXPECT_EQ(machine->iommu.table_budget, 100U);
    ASSERT_EQ(machine->iommu.reserved.size(), 2U);
    EXPECT_EQ(machine->iommu.reserved[0].type, iommu::ReservedType::msi);
    EXPECT_EQ(machine->iommu.reserved[1].type, iommu::ReservedType::reserved);
    EXPECT_EQ(machine->iommu.reserved[1].range.last, Iova{~std::uint64_t{0}});
    ASSERT_EQ(machine->extra_iommus.size(), 1U);
    EXPECT_EQ(machine->extra_iommus[0].name, "second");
    EXPECT_EQ(machine->extra_iommus[0].options.model, iommu::Model::native);
    EXPECT_EQ(machine->extra_iommus[0].options.page_sizes, PageSizes{0x1000});
    EXPECT_TRUE(machine->extra_iommus[0].options.reserved.empty());
    EXPECT_EQ(machine->policy, type1::SubpagePolicy::subpage);
    EXPECT_TRUE(machine->allow_coarse);
    EXPECT_EQ(machine->dma_entry_limit, 10U);
    EXPECT_TRUE(machine->allow_unsafe_interrupts);
    EXPECT_TRUE(machine->disable_hugepages);

    ASSERT_EQ(machine->devices.size(), 2U);
    auto const& nvme = machine->devices[0];
    EXPECT_EQ(nvme.iommu, "second");
    EXPECT_EQ(nvme.driver, "host");
    EXPECT_EQ(nvme.spec.model, "nvme");
    EXPECT_EQ(nvme.group, 9U);
    EXPECT_EQ(nvme.where, "dir/odd.toml:40");
    std::vector<std::string> settings;
    for (auto const& setting : nvme.spec.settings)
        settings.push_back(setting.key + "=" + setting.value);
    EXPECT_EQ(settings, (std::vector<std::string>{"disk=a \"disk\"", "readonly=yes", "number=7",
                                                  "many=x", "many=y"}));
    EXPECT_EQ(machine->devices[1].bdf, (Bdf{0, 0, 5, 0}));
    EXPECT_EQ(machine->devices[1].group, std::nullopt);
    EXPECT_EQ(machine->devices[1].driver, "vfio-pci");
}

TEST(MachineFile, an_empty_file_is_the_default_preset_under_its_own_name)
{
    auto const machine = parse_toml("", "/x/mine.toml");
    ASSERT_TRUE(machine) << machine.error();
    auto expected = presets()[0].make();
    expected.name = "mine";
    EXPECT_EQ(to_toml(*machine), to_toml(expected));
}

TEST(MachineFile, an_empty_list_takes_the_presets_reserved_regions_away)
{
    auto const machine = parse_toml("[iommu]\nreserved = []\n", "m.toml");
    ASSERT_TRUE(machine) << machine.error();
    EXPECT_TRUE(machine->iommu.reserved.empty());
}

TEST(MachineFile, a_machine_is_read_back_as_it_was_written)
{
    auto const machine = parse_toml(kWhole, "odd.toml");
    ASSERT_TRUE(machine) << machine.error();
    auto const text = to_toml(*machine);
    auto const again = parse_toml(text, "again.toml");
    ASSERT_TRUE(again) << again.error() << '\n' << text;
    EXPECT_EQ(to_toml(*again), text);
    EXPECT_EQ(again->devices[0].driver, "host");
    EXPECT_EQ(again->devices[0].spec.settings[0].value, "a \"disk\"");
    EXPECT_EQ(again->iommu.reserved[1].range, machine->iommu.reserved[1].range);
    EXPECT_EQ(again->iommu.table_budget, 100U);
}

TEST(MachineFile, values_with_every_character_are_read_back_as_they_were_written)
{
    Description machine;
    DeviceEntry entry;
    entry.spec.model = "nvme";
    std::string all;
    for (char c = 1; c > 0 && c < 127; ++c) all += c;
    entry.spec.settings = {{"disk", all + "\x7f\u00e4\u20ac\U0001f600"}, {"od\"d key", "x"}};
    machine.devices = {entry};
    auto const again = parse_toml(to_toml(machine), "m.toml");
    ASSERT_TRUE(again) << again.error();
    EXPECT_EQ(again->devices[0].spec.settings[0].value, entry.spec.settings[0].value);
    EXPECT_EQ(again->devices[0].spec.settings[1].key, "od\"d key");
}

TEST(MachineFile, presets_are_read_back_as_they_were_written)
{
    for (auto const& preset : presets()) {
        auto const text = to_toml(preset.make());
        auto const again = parse_toml(text, "m.toml");
        ASSERT_TRUE(again) << again.error();
        EXPECT_EQ(to_toml(*again), text) << preset.name;
    }
}

struct Wrong {
    std::string text, sentence;
};
class WrongMachineFile : public testing::TestWithParam<Wrong> {};

TEST_P(WrongMachineFile, is_refused_with_line_and_key)
{
    auto const machine = parse_toml(GetParam().text, "m.toml");
    ASSERT_FALSE(machine);
    EXPECT_EQ(machine.error(), GetParam().sentence);
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, WrongMachineFile,
    testing::Values(
        Wrong{"\n\nnmae = \"x\"", "m.toml:3: nmae: is an unknown key; did you mean name?"},
        Wrong{"name = 3", "m.toml:1: name: is not a string"},
        Wrong{"zebra = 1",
              "m.toml:1: zebra: is an unknown key; allowed here are device, extra_iommu, host, "
              "iommu, kernel, "
              "name, preset and type1"},
        Wrong{"preset = \"vtt\"", "m.toml:1: preset: \"vtt\" is unknown; did you mean vtd?"},
        Wrong{"kernel = \"2.4\"",
              "m.toml:1: kernel: \"2.4\" is unknown; allowed here are 6.1, 6.12 and 7.3"},
        Wrong{"kernel = 7.3", "m.toml:1: kernel: is not a string; allowed are 6.1, 6.12 and 7.3"},
        Wrong{"host = 1", "m.toml:1: host: is not a table"},
        Wrong{"[host]\npage_szie = 1",
              "m.toml:2: host.page_szie: is an unknown key; did you mean page_size?"},
        Wrong{"[host]\npage_size = \"5Q\"",
              "m.toml:2: host.page_size: is not a size such as 4096, \"64K\" or \"8M\""},
        Wrong{"[host]\npage_size = 5000", "m.toml:2: host.page_size: is not a power of two"},
        Wrong{"[host]\npage_size = -4096",
              "m.toml:2: host.page_size: is not a size such as 4096, \"64K\" or \"8M\""},
        Wrong{"[host]\nmemlock = \"lots\"",
              "m.toml:2: host.memlock: is neither a size such as \"8M\" nor inherit nor unlimited"},
        Wrong{"[host]\nmemlock = false",
              "m.toml:2: host.memlock: is neither a size such as \"8M\" nor inherit nor unlimited"},
        Wrong{"[host]\nframes = \"scatered\"",
              "m.toml:2: host.frames: \"scatered\" is unknown; did you mean scattered?"},
        Wrong{"[host]\nframe_seed = -1",
              "m.toml:2: host.frame_seed: is not a number from 0 to 0xffffffffffffffff"},
        Wrong{"[iommu]\nmodel = \"arm\"",
              "m.toml:2: iommu.model: \"arm\" is unknown; allowed here are vtd, amdvi, smmuv3, "
              "virtio and native"},
        Wrong{"[iommu]\naddress_width = 65",
              "m.toml:2: iommu.address_width: is not a number from 1 to 0x40"},
        Wrong{"[iommu]\npage_sizes = []",
              "m.toml:2: iommu.page_sizes: is neither a list such as [\"4K\", \"2M\"] nor a bitmap "
              "such as 0x40201000"},
        Wrong{"[iommu]\npage_sizes = [\n\"4K\",\n\"3K\"]",
              "m.toml:4: iommu.page_sizes: holds something that is not a page size such as \"4K\""},
        Wrong{"[iommu]\ntable_budget = 0",
              "m.toml:2: iommu.table_budget: is not a number from 1 to 0xffffffffffffffff"},
        Wrong{"[iommu]\nenforces_coherency = 1",
              "m.toml:2: iommu.enforces_coherency: is neither true nor false"},
        Wrong{"[iommu]\nreserved = 3",
              "m.toml:2: iommu.reserved: is not a list of tables: write [[iommu.reserved]]"},
        Wrong{"[iommu]\nreserved = [3]",
              "m.toml:2: iommu.reserved: holds something that is not a table"},
        Wrong{"[[iommu.reserved]]\nlast = 3",
              "m.toml:1: iommu.reserved.start: is missing, such as start = 0xfee00000"},
        Wrong{"[[iommu.reserved]]\nstart = 3",
              "m.toml:1: iommu.reserved.last: is missing, such as last = 0xfeefffff"},
        Wrong{"[[iommu.reserved]]\nstart = 3\nlast = 2",
              "m.toml:3: iommu.reserved.last: is not a number from 3 to 0xffffffffffffffff"},
        Wrong{"[[iommu.reserved]]\nstart = 3\nlast = 4\ntype = \"mis\"",
              "m.toml:4: iommu.reserved.type: \"mis\" is unknown; did you mean msi?"},
        Wrong{"[type1]\ndma_entry_limit = 4294967296",
              "m.toml:2: type1.dma_entry_limit: is not a number from 0 to 0xffffffff"},
        Wrong{"[type1]\ndisable_hugepages = \"yes\"",
              "m.toml:2: type1.disable_hugepages: is neither true nor false"},
        Wrong{"[device]\nmodel = \"edu\"",
              "m.toml:1: device: is not a list of tables: write [[device]]"},
        Wrong{"[[device]]\nbdf = \"00:04.0\"",
              "m.toml:1: device.model: is missing, such as model = \"edu\""},
        Wrong{"[[device]]\nmodel = \"edu\"",
              "m.toml:1: device.bdf: is missing, such as bdf = \"0000:00:04.0\""},
        Wrong{"[[device]]\nmodel = \"edu\"\nbdf = \"4\"",
              "m.toml:3: device.bdf: \"4\" is not a PCI address such as 0000:00:04.0"},
        Wrong{"[[device]]\nmodel = \"edu\"\nbdf = \"00:04.0\"\ngroup = 5000",
              "m.toml:4: device.group: is not a number from 0 to 0xfff"},
        Wrong{"[[device]]\nmodel = \"edu\"\nbdf = \"00:04.0\"\nx = 1.5",
              "m.toml:4: device.x: is not a string, a whole number, true or false"}));

TEST(MachineFile, what_is_not_toml_is_refused_with_its_line)
{
    for (auto const* const text :
         {"[host", "[=", "a = ", "= 1", "a = 1\na = 2\n", "\xff\xfe", "[a]\n[a]"}) {
        auto const machine = parse_toml(text, "m.toml");
        ASSERT_FALSE(machine) << text;
        EXPECT_TRUE(machine.error().starts_with("m.toml:")) << machine.error();
    }
}

// Whatever a file holds, it is read or refused in one line that names the file.
TEST(MachineFile, mutated_files_are_read_or_refused_and_never_worse)
{
    auto const seed = std::random_device{}();
    SCOPED_TRACE(seed);
    std::mt19937 random{seed};
    auto const below = [&](std::size_t n) { return random() % n; };
    for (int round = 0; round < 3000; ++round) {
        std::string text{kWhole};
        for (auto changes = 1 + below(6); changes > 0 && !text.empty(); --changes) {
            auto const at = below(text.size());
            switch (below(4)) {
                case 0: text[at] = static_cast<char>(random()); break;
                case 1: text.erase(at, 1 + below(20)); break;
                case 2: text.insert(at, text.substr(below(text.size()), 1 + below(40))); break;
                default: text[at] = "\"'[]{}=,.#\n0x-_tf"[below(17)];
            }
        }
        auto const machine = parse_toml(text, "m.toml");
        if (machine) {
            auto const again = parse_toml(to_toml(*machine), "m.toml");
            ASSERT_TRUE(again) << again.error() << "\nfrom\n" << text;
            EXPECT_EQ(to_toml(*again), to_toml(*machine));
            (void)check(*machine);
        } else {
            EXPECT_TRUE(machine.error().starts_with("m.toml:")) << machine.error();
        }
    }
}

TEST(ParseToml, a_letter_outside_ASCII_is_for_comments_and_strings)
{
    EXPECT_TRUE(parse_toml("name = \"m\u00fcll\"  # gr\u00fcn\n", "m.toml"));
    EXPECT_EQ(parse_toml("kernel = \"7.3\"\n\u02e3 = 1\n", "m.toml").error(),
              "m.toml:2: a letter outside ASCII can only be in a comment or between the quotes of "
              "one line");
    EXPECT_FALSE(parse_toml("name = \"a\" \u02e3\n", "m.toml"));
}

}  // namespace
}  // namespace pinfold::machine
