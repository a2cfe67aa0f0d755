// What the command says when it does not run a program.
#include "cli/command.hpp"

namespace pinfold::cli {
namespace {

TEST_F(CommandTest, help_lists_and_version_are_printed_and_succeed)
{
    for (auto const* const arguments :
         {"--help", "-h", "run --help", "machines --help", "devices --help", "--version",
          "machines", "devices", "machines vtd"}) {
        auto const outcome = pinfold(arguments);
        EXPECT_EQ(outcome.status, 0) << arguments;
        EXPECT_NE(outcome.out, "") << arguments;
        EXPECT_EQ(outcome.err, "") << arguments;
    }
    EXPECT_TRUE(pinfold("devices").out.contains("nvme"));
    EXPECT_TRUE(pinfold("machines").out.contains("vtd"));
}

TEST_F(CommandTest, one_device_model_is_described_by_its_name_or_by_its_shared_object)
{
    auto const null = pinfold("devices null").out;
    EXPECT_TRUE(null.contains("msix=COUNT"));
    EXPECT_FALSE(null.contains("nvme"));
    auto const loaded = pinfold("devices " PINFOLD_BUILD_DIR "/examples/checksum_device.so").out;
    EXPECT_TRUE(loaded.contains("checksum sums up bytes of memory"));
    EXPECT_TRUE(loaded.contains("limit=BYTES"));
}

TEST_F(CommandTest, output_that_cannot_be_written_is_a_failure)
{
    EXPECT_EQ(pinfold("--help >/dev/full").status, 2);
}

TEST_F(CommandTest, a_machine_that_is_printed_can_be_read)
{
    auto const outcome = pinfold("machines vtd > m.toml && ./pinfold machines ./m.toml");
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(outcome.out, pinfold("machines vtd").out);
}

struct Wrong {
    std::string arguments;
    std::string sentence;  // its end, where what comes before names a directory
};

void expect_refusal(test::Outcome const& outcome, Wrong const& wrong)
{
    EXPECT_EQ(outcome.status, 2) << wrong.arguments;
    EXPECT_EQ(outcome.out, "") << wrong.arguments;
    EXPECT_TRUE(outcome.err.starts_with("pinfold: ")) << outcome.err;
    EXPECT_TRUE(outcome.err.ends_with(wrong.sentence + "\n")) << outcome.err << wrong.sentence;
    EXPECT_EQ(outcome.err.find('\n'), outcome.err.size() - 1) << "one line: " << outcome.err;
}

TEST_F(CommandTest, every_kind_of_bad_input_is_one_sentence_and_exit_code_2)
{
    std::ofstream{path("bad.toml")} << "[host]\npage_szie = 1\n";
    std::ofstream{path("disk.raw")} << std::string(1 << 20, '\0');
    std::ofstream{path("empty.raw")};
    for (auto const& wrong : {
             Wrong{"", "there is no command; see pinfold --help"},
             Wrong{"run", "see pinfold run --help"},
             Wrong{"machines vtt", "did you mean vtd?"},
             Wrong{"run --machine nmae -- echo x", "arm64-64k-iommu4k and arm64-64k-virtio"},
             Wrong{"run --machine ./no.toml -- echo x", "./no.toml: No such file or directory"},
             Wrong{"run --machine bad.toml -- echo x",
                   "bad.toml:2: host.page_szie: is an unknown key; did you mean page_size?"},
             Wrong{"run --memlock lots -- echo x",
                   "--memlock: \"lots\" is neither a size such as 8M nor \"unlimited\" nor "
                   "\"inherit\""},
             Wrong{"run --device zebra,bdf=00:04.0 -- echo x",
                   "allowed here are edu, ioat, null, nvme and virtio-net"},
             Wrong{"run --device edu,bdf=00:04 -- echo x",
                   "\"00:04\" is not a PCI address such as 0000:00:04.0"},
             Wrong{"run --device edu,bdf=00:04.0 --device edu,bdf=00:04.0 -- echo x",
                   "0000:00:04.0 is taken already, by --device \"edu,bdf=00:04.0\""},
             Wrong{"run --device nvme,bdf=00:04.0,disk=no.raw -- echo x",
                   "No such file or directory"},
             Wrong{"run --report=/no/dir/file -- echo x",
                   "--report: /no/dir/file: No such file or directory"},
             Wrong{"run -- ./no-such-program", "./no-such-program: No such file or directory"},
             Wrong{"run -- no-such-program", "no-such-program: there is no such program in PATH"},
         })
        expect_refusal(pinfold(wrong.arguments), wrong);
    for (auto const* const device :
         {"nvme,bdf=00:04.0", "nvme,bdf=00:04.0,disk=empty.raw", "nvme,bdf=00:04.0,disk=.",
          "nvme,bdf=00:04.0,disk=disk.raw,x=y", "edu,bdf=00:04.0,dma_mask=z"})
        expect_refusal(pinfold(fmt::format("run --device {} -- echo x", device)), {device, ""});
}

}  // namespace
}  // namespace pinfold::cli
