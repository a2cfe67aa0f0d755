// Debian's own qemu-img and qemu-io, unmodified, on an emulated NVMe disk.
#include <array>
#include <fstream>
#include <random>
#include <regex>
#include <vector>

#include "stage.hpp"
#include "works_with.hpp"

namespace pinfold::test {
namespace {

constexpr std::uint64_t kMiB = 1024 * 1024;
constexpr char const* kDisk = "nvme://0000:00:04.0/1";

// What the report says that the disk did.
struct Work {
    unsigned long writes = 0, forced = 0, flushes = 0;
};

Work work_of_the_disk(std::string const& report)
{
    static std::regex const line{
        R"(ns1 disk .*, ([0-9]+) writes 4 MiB( \(([0-9]+) forced\))?, ([0-9]+) flushes)"};
    std::smatch match;
    if (!std::regex_search(report, match, line)) {
        ADD_FAILURE() << "the report does not say that 4 MiB were written:\n" << report;
        return {};
    }
    return {std::stoul(match[1]), match[3].matched ? std::stoul(match[3]) : 0,
            std::stoul(match[4])};
}

class Qemu : public ClientTest {
protected:
    void make_disk(std::string const& file, std::uint64_t bytes) const
    {
        std::ofstream{dir() / file};
        std::filesystem::resize_file(dir() / file, bytes);
        std::filesystem::permissions(dir() / file, std::filesystem::perms{0666});
    }
    std::string device(std::string const& more = "") const
    {
        return "--device nvme,bdf=0000:00:04.0,disk=disk" + more;
    }
    // Incompressible bytes; the seed is in the test's output.
    void fill(std::string const& file, std::uint64_t bytes) const
    {
        auto const seed = std::random_device{}();
        ::testing::Test::RecordProperty("seed", std::to_string(seed));
        std::mt19937_64 random{seed};
        std::vector<std::uint64_t> words(bytes / 8);
        for (auto& word : words) word = random();
        std::ofstream{dir() / file, std::ios::binary}.write(
            reinterpret_cast<char const*>(words.data()), static_cast<std::streamsize>(bytes));
    }
};
INSTANTIATE_TEST_SUITE_P(Ways, Qemu, kWays, name);

PINFOLD_WORKS_WITH("qemu-img 7.2 (Debian)",
                   "`convert` to and from `nvme://` in every cache mode, `bench` at queue depth 64")

TEST_P(Qemu, img_convert_copies_a_file_onto_the_disk_and_back)
{
    constexpr std::uint64_t kBytes = 24 * kMiB + 512 * 7;
    make_disk("disk", 32 * kMiB);
    fill("in", kBytes);
    auto const there =
        run_pinfold(device(), std::string{"qemu-img convert -n -f raw -O raw in "} + kDisk);
    ASSERT_EQ(there.status, 0) << there.err;
    EXPECT_EQ(slurp(dir() / "disk").substr(0, kBytes), slurp(dir() / "in"))
        << "the bytes are in the file";
    auto const back =
        run_pinfold(device(), std::string{"qemu-img convert -f raw -O raw "} + kDisk + " out");
    ASSERT_EQ(back.status, 0) << back.err;
    EXPECT_EQ(slurp(dir() / "out").substr(0, kBytes), slurp(dir() / "in"));
}

PINFOLD_WORKS_WITH("qemu-io 7.2 (Debian)",
                   "random patterns against a model, vectored, unaligned, asynchronous, write "
                   "zeroes, discard, flush")

TEST_P(Qemu, io_with_random_patterns_at_random_places_agrees_with_a_model)
{
    constexpr std::uint64_t kBlock = 512;
    constexpr std::uint64_t kBlocks = 16 * kMiB / kBlock;
    make_disk("disk", kBlocks * kBlock);
    auto const seed = std::random_device{}();
    SCOPED_TRACE(fmt::format("seed {}", seed));
    std::mt19937 random{seed};
    std::vector<std::uint8_t> model(kBlocks);
    std::string commands;
    for (int step = 0; step < 150; ++step) {
        std::uint64_t const first = random() % kBlocks;
        std::uint64_t const most =
            std::min<std::uint64_t>(kBlocks - first, random() % 4 == 0 ? 4096 : 64);
        std::uint64_t const count = 1 + random() % most;
        auto const pattern = static_cast<std::uint8_t>(1 + random() % 255);
        auto const range = fmt::format("{} {}", first * kBlock, count * kBlock);
        auto const apply = [&](std::uint8_t value) {
            std::fill_n(model.begin() + static_cast<std::ptrdiff_t>(first), count, value);
        };
        switch (random() % 6) {
            case 0: commands += fmt::format("write -z {}\n", range), apply(0); break;
            case 1: commands += "flush\n"; break;
            case 2:
                commands += fmt::format("discard {}\nwrite -P {} {}\n", range, pattern, range),
                    apply(pattern);
                break;
            default:
                commands += fmt::format("write -P {} {}\n", pattern, range), apply(pattern);
                break;
        }
        std::uint64_t const probe = random() % kBlocks;
        commands += fmt::format("read -P {} {} {}\n", model[probe], probe * kBlock, kBlock);
    }
    std::ofstream{dir() / "commands"} << commands;
    auto const ran =
        run_pinfold(device(), fmt::format("sh -c \"qemu-io -f raw {} < commands\"", kDisk));
    EXPECT_EQ(ran.status, 0) << ran.err;
    EXPECT_EQ(ran.out.find("verification failed"), std::string::npos) << ran.out;
    auto const disk = slurp(dir() / "disk");
    for (std::uint64_t block = 0; block < kBlocks; ++block)
        for (std::uint64_t const byte : {std::uint64_t{0}, kBlock - 1})
            ASSERT_EQ(static_cast<std::uint8_t>(disk[block * kBlock + byte]), model[block])
                << "block " << block;
}

TEST_P(Qemu, vectored_unaligned_and_asynchronous_requests_come_back_as_they_went)
{
    make_disk("disk", 16 * kMiB);
    auto const ran = run_pinfold(
        device(),
        std::string{"qemu-io -f raw "} + kDisk +
            " -c \"writev -P 17 1M 512 1024 65536 3584\" -c \"readv -P 17 1M 4096 512 66048\""
            " -c \"aio_write -P 9 4M 1M\" -c \"aio_write -P 8 5M 1M\" -c aio_flush"
            " -c \"aio_read -P 9 4M 1M\" -c \"aio_read -P 8 5M 1M\" -c aio_flush"
            " -c \"write -P 5 100 1000\" -c \"read -P 5 100 1000\" -c \"read -P 0 0 100\"");
    EXPECT_EQ(ran.status, 0) << ran.err;
    EXPECT_EQ(ran.out.find("failed"), std::string::npos) << ran.out;
}

TEST_P(Qemu, many_requests_at_once_wrap_the_queues_many_times)
{
    constexpr std::uint64_t kRequests = 5000, kSize = 4096, kStep = 12288;
    make_disk("disk", 64 * kMiB);
    for (auto const& [mode, did] : {std::pair{"", "5000 reads 19.5 MiB, 0 writes"},
                                    {"-w --pattern=77 ", "0 reads 0 B, 5000 writes 19.5 MiB"}}) {
        auto const ran =
            run_pinfold(device() + " --report",
                        fmt::format("qemu-img bench -f raw {} -c {} -d 64 -s {} -S {} {}", mode,
                                    kRequests, kSize, kStep, kDisk));
        EXPECT_EQ(ran.status, 0) << ran.out << ran.err;
        EXPECT_NE(ran.err.find(did), std::string::npos) << did << " is missing:\n" << ran.err;
    }
    std::string expected(64 * kMiB, '\0');
    for (std::uint64_t i = 0; i < kRequests; ++i) expected.replace(i * kStep, kSize, kSize, 77);
    EXPECT_TRUE(slurp(dir() / "disk") == expected) << "each of them wrote where it should";
}

// What qemu-img's cache modes are to a disk: `none` and `directsync` turn its write cache off,
// `writethrough` and `directsync` force each write; all but `unsafe` flush at the end.
TEST_P(Qemu, each_cache_mode_writes_the_same_and_forces_and_flushes_what_it_promises)
{
    struct Mode {
        char const* name;
        bool forced, flushed;
    };
    for (auto const& mode : {Mode{"none", true, true}, Mode{"writeback", false, true},
                             Mode{"writethrough", true, true}, Mode{"directsync", true, true},
                             Mode{"unsafe", false, false}}) {
        SCOPED_TRACE(mode.name);
        make_disk("disk", 8 * kMiB);
        fill("in", 4 * kMiB);
        auto const ran = run_pinfold(
            device() + " --report",
            fmt::format("qemu-img convert -n -t {} -f raw -O raw in {}", mode.name, kDisk));
        ASSERT_EQ(ran.status, 0) << ran.err;
        auto const disk = slurp(dir() / "disk");
        EXPECT_EQ(disk.substr(0, 4 * kMiB), slurp(dir() / "in"));
        EXPECT_EQ(disk.substr(4 * kMiB), std::string(4 * kMiB, '\0'));
        auto const did = work_of_the_disk(ran.err);
        EXPECT_GT(did.writes, 0U) << ran.err;
        EXPECT_EQ(did.forced, mode.forced ? did.writes : 0U) << ran.err;
        EXPECT_EQ(did.flushes, mode.flushed ? 1U : 0U) << ran.err;
    }
}

TEST_P(Qemu, a_read_only_disk_is_read_and_not_written)
{
    make_disk("disk", 8 * kMiB);
    EXPECT_EQ(run_pinfold(device(",readonly=true"),
                          std::string{"qemu-io -r -f raw "} + kDisk + " -c \"read -P 0 0 64k\"")
                  .status,
              0);
    auto const ran = run_pinfold(device(",readonly=true"), std::string{"qemu-io -f raw "} + kDisk +
                                                               " -c \"write -P 1 0 64k\"");
    EXPECT_NE((ran.out + ran.err).find("failed"), std::string::npos) << ran.out << ran.err;
    EXPECT_EQ(slurp(dir() / "disk"), std::string(8 * kMiB, '\0'));
}

TEST_P(Qemu, the_locked_memory_limit_of_an_ordinary_user_is_enough_for_a_copy)
{
    make_disk("disk", 40 * kMiB);
    fill("in", 32 * kMiB);
    auto const ran =
        run("ulimit -l 8192; " +
            pinfold(device(), std::string{"qemu-img convert -n -f raw -O raw in "} + kDisk, ""));
    ASSERT_EQ(ran.status, 0) << ran.err;
    EXPECT_EQ(slurp(dir() / "disk").substr(0, 32 * kMiB), slurp(dir() / "in"));
}

// A user namespace in which no other may be made, and its root without a capability.
TEST_P(Qemu, io_reads_what_it_wrote_where_the_kernel_forbids_namespaces)
{
    make_disk("disk", 8 * kMiB);
    std::ofstream{dir() / "forbid"} << "echo 0 >/proc/sys/user/max_user_namespaces || exit 77\n"
                                       "exec setpriv --bounding-set -all --inh-caps -all \"$@\"\n";
    if (run("unshare --user --map-root-user sh forbid true").status != 0)
        GTEST_SKIP() << "no user namespace can be made, so that the other tests show it";
    auto const ran = run(
        "unshare --user --map-root-user sh forbid " +
        pinfold("--verbose " + device(), std::string{"qemu-io -f raw "} + kDisk +
                                             " -c \"write -P 99 1M 1M\" -c \"read -P 99 1M 1M\""));
    EXPECT_EQ(ran.status, 0) << ran.out << ran.err;
    EXPECT_NE(ran.out.find("read 1048576/1048576"), std::string::npos) << ran.out << ran.err;
    EXPECT_EQ(ran.out.find("failed"), std::string::npos) << ran.out;
    EXPECT_EQ(ran.err.find("no mount namespace can be made: unshare: No space left on device; "
                           "paths are rewritten instead") != std::string::npos,
              GetParam().with_namespace)
        << ran.err;
    EXPECT_EQ(slurp(dir() / "disk").substr(kMiB, kMiB), std::string(kMiB, 99));
}

TEST_P(Qemu, a_client_killed_in_the_middle_leaves_what_it_wrote_and_a_free_group)
{
    make_disk("disk", 64 * kMiB);
    std::ofstream{dir() / "script"} << fmt::format(
        "qemu-io -f raw {0} -c 'write -P 66 60M 1M' >/dev/null || exit 1\n"
        "qemu-img bench -f raw -w --pattern=66 -c 100000000 -d 16 -s 4096 {0} >/dev/null &\n"
        "sleep 0.7; kill -KILL $!; wait $!; echo killed $?\n"
        "qemu-io -f raw {0} -c 'read -P 66 60M 1M'\n",
        kDisk);
    auto const ran = run_pinfold(device(), "sh script");
    EXPECT_EQ(ran.status, 0) << ran.err;
    EXPECT_NE(ran.out.find("killed 137"), std::string::npos) << ran.out << ran.err;
    EXPECT_NE(ran.out.find("read 1048576/1048576"), std::string::npos) << ran.out << ran.err;
    EXPECT_EQ(ran.out.find("failed"), std::string::npos) << ran.out;
}

}  // namespace
}  // namespace pinfold::test
