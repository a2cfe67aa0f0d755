// What the user may say of disks, what is told about what cannot be one, and who is kept out.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <filesystem>

#include "devices/nvme/disk.hpp"
#include "devices/nvme/model.hpp"
#include "devices/nvme/settings.hpp"
#include "devices/nvme/status.hpp"
#include "devices/nvme_rig.hpp"
#include "devices/registry.hpp"

namespace pinfold::devices::nvme {
namespace {

using testing::HasSubstr;
using SettingList = std::vector<pci::Setting>;

std::string check(std::vector<pci::Setting> settings)
{
    auto const checked = model().check({.model = "nvme", .settings = std::move(settings)});
    return checked ? "fine" : checked.error();
}

// A lock on one byte, as another program would hold it.
class ForeignLock {
public:
    ForeignLock(std::string const& path, short type, off_t byte) : fd_{::open(path.c_str(), O_RDWR)}
    {
        struct flock lock{};
        lock.l_type = type;
        lock.l_whence = SEEK_SET;
        lock.l_start = byte;
        lock.l_len = 1;
        held_ = ::fcntl(fd_.get(), F_OFD_SETLK, &lock) == 0;
    }
    bool held() const { return held_; }

private:
    UniqueFd fd_;
    bool held_;
};

bool one_line(std::string const& sentence) { return sentence.find('\n') == std::string::npos; }

TEST(NvmeSettings, the_model_is_found_by_name_and_describes_its_options)
{
    auto const* const found = find("nvme");
    ASSERT_EQ(found, &model());
    EXPECT_THAT(std::string{found->example()}, HasSubstr("disk="));
    ASSERT_FALSE(found->options().empty());
    EXPECT_EQ(found->options()[0].key, "disk");
    EXPECT_TRUE(found->options()[0].required);
    for (auto const& option : found->options()) {
        EXPECT_FALSE(option.key.empty());
        EXPECT_FALSE(option.help.empty());
    }
}

TEST(NvmeSettings, namespaces_take_the_general_setting_or_their_own)
{
    auto const settings = parse_settings({.model = "nvme",
                                          .settings = {{"readonly3", "no"},
                                                       {"disk2", "b"},
                                                       {"disk", "a"},
                                                       {"disk3", "c"},
                                                       {"readonly", "yes"},
                                                       {"block_size1", "4096"},
                                                       {"serial", "S1"}}});
    ASSERT_TRUE(settings) << settings.error();
    EXPECT_EQ(settings->serial, "S1");
    ASSERT_EQ(settings->namespaces.size(), 3U);
    EXPECT_EQ(settings->namespaces[0].disk, "a");
    EXPECT_EQ(settings->namespaces[0].block_size, 4096U);
    EXPECT_EQ(settings->namespaces[0].access, DiskAccess::read_only);
    EXPECT_EQ(settings->namespaces[1].disk, "b");
    EXPECT_EQ(settings->namespaces[1].block_size, 512U);
    EXPECT_EQ(settings->namespaces[2].access, DiskAccess::read_write);
}

TEST(NvmeSettings, every_mistake_is_one_sentence_that_names_it)
{
    struct Case {
        SettingList settings;
        std::string names;
    };
    for (auto const& [settings, names] : {
             Case{{}, "disk=FILE"},
             Case{{{"disk", ""}}, "disk="},
             Case{{{"disk2", "b"}}, "disk is not"},
             Case{{{"disk", "a"}, {"disk3", "c"}}, "disk2 is not"},
             Case{{{"disk", "a"}, {"disk", "b"}}, "disk is given twice"},
             Case{{{"disk", "a"}, {"disk1", "b"}}, "disk1 is given twice"},
             Case{{{"disk", "a"}, {"disk17", "b"}}, "'disk17'"},
             Case{{{"disk", "a"}, {"disk0", "b"}}, "'disk0'"},
             Case{{{"disk", "a"}, {"disk99999999999", "b"}}, "'disk99999999999'"},
             Case{{{"disk", "a"}, {"", "b"}}, "''"},
             Case{{{"disk", "a"}, {"colour", "b"}}, "'colour'"},
             Case{{{"disk", "a"}, {"readonly", "maybe"}}, "readonly=maybe"},
             Case{{{"disk", "a"}, {"readonly2", "yes"}}, "disk2 is not"},
             Case{{{"disk", "a"}, {"block_size", "520"}}, "block_size=520"},
             Case{{{"disk", "a"}, {"block_size", ""}}, "block_size="},
             Case{{{"disk", "a"}, {"serial", "123456789012345678901"}}, "serial="},
             Case{{{"disk", "a"}, {"serial", "a b"}}, "serial=a b"},
             Case{{{"disk", "a"}, {"serial2", "x"}}, "'serial2'"},
         }) {
        auto const parsed = parse_settings({.model = "nvme", .settings = settings});
        ASSERT_FALSE(parsed) << names;
        EXPECT_THAT(parsed.error(), testing::StartsWith("nvme: "));
        EXPECT_THAT(parsed.error(), HasSubstr(names));
        EXPECT_TRUE(one_line(parsed.error()));
    }
}

TEST(NvmeDisk, a_file_is_fine_and_check_leaves_it_unlocked)
{
    TestDisk disk{1 << 20};
    EXPECT_EQ(check({{"disk", disk.path()}}), "fine");
    EXPECT_EQ(check({{"disk", disk.path()}}), "fine") << "a second time";
    EXPECT_EQ(check({{"disk", disk.path()}, {"readonly", "yes"}}), "fine");
    EXPECT_EQ(disk.read(0, 1 << 20), std::vector<std::byte>(1 << 20)) << "untouched";
}

TEST(NvmeDisk, what_cannot_be_a_disk_is_told_in_a_sentence)
{
    TestDisk const empty{0}, tiny{100}, small{1000};
    auto const directory = std::filesystem::temp_directory_path().string();
    auto const pipe = small.path() + ".pipe";
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    struct Case {
        std::string path, why;
    };
    for (auto const& [path, why] :
         {Case{directory + "/pinfold/is/not/here", "No such file or directory"},
          Case{directory, "is a directory"}, Case{"/dev/null", "is a character device"},
          Case{pipe, "is a pipe"}, Case{empty.path(), "is empty"},
          Case{tiny.path(), "is smaller than one block of 512"}}) {
        auto const sentence = check({{"disk", path}});
        EXPECT_THAT(sentence, HasSubstr(path));
        EXPECT_THAT(sentence, HasSubstr(why));
        EXPECT_TRUE(one_line(sentence)) << sentence;
    }
    EXPECT_EQ(check({{"disk", small.path()}}), "fine");
    EXPECT_THAT(check({{"disk", small.path()}, {"block_size", "4096"}}), HasSubstr("4096"));
    ::unlink(pipe.c_str());
}

TEST(NvmeDisk, the_same_file_cannot_be_two_namespaces)
{
    TestDisk const disk{1 << 20};
    auto const other_name = disk.path() + ".link";
    std::filesystem::create_hard_link(disk.path(), other_name);
    for (auto const& second : {disk.path(), other_name}) {
        EXPECT_THAT(check({{"disk", disk.path()}, {"disk2", second}}),
                    HasSubstr("namespaces 1 and 2 are both the disk"));
    }
    std::filesystem::remove(other_name);
}

TEST(NvmeDisk, a_disk_that_is_held_for_a_run_is_busy_for_others_and_can_be_created_from)
{
    TestDisk const disk{1 << 20};
    pci::DeviceSpec const spec{.model = "nvme", .settings = {{"disk", disk.path()}}};
    {
        auto const held = lock_disks(spec);
        ASSERT_TRUE(held) << held.error();
        ASSERT_EQ(held->size(), 1U);
        EXPECT_THAT(check(spec.settings), HasSubstr("is busy"));
        EXPECT_THAT(check({{"disk", disk.path()}, {"readonly", "yes"}}), HasSubstr("is busy"));
        EXPECT_NO_THROW(NvmeRig{spec.settings}) << "the engine takes no lock";
    }
    EXPECT_EQ(check(spec.settings), "fine");
}

TEST(NvmeDisk, readers_share_and_keep_writers_out)
{
    TestDisk const disk{1 << 20};
    auto const first = lock_disk(disk.path(), DiskAccess::read_only);
    auto const second = lock_disk(disk.path(), DiskAccess::read_only);
    EXPECT_TRUE(first);
    EXPECT_TRUE(second);
    auto const writer = lock_disk(disk.path(), DiskAccess::read_write);
    ASSERT_FALSE(writer);
    EXPECT_THAT(writer.error(), HasSubstr("is busy"));
}

// QEMU's tools hold read locks on bytes that stand for what they do (100 and on) and what they let
// nobody else do (200 and on): 0 read, 1 write, 3 resize.
TEST(NvmeDisk, qemus_locks_are_understood)
{
    TestDisk const disk{1 << 20};
    SettingList const write{{"disk", disk.path()}},
        read{{"disk", disk.path()}, {"readonly", "yes"}};
    {
        ForeignLock const reader{disk.path(), F_RDLCK, 100};
        EXPECT_THAT(check(write), HasSubstr("is busy"));
        EXPECT_EQ(check(read), "fine") << "two readers";
    }
    {
        ForeignLock const writer{disk.path(), F_RDLCK, 101};
        EXPECT_THAT(check(write), HasSubstr("is busy"));
        EXPECT_THAT(check(read), HasSubstr("is busy"));
    }
    {
        ForeignLock const jealous{disk.path(), F_RDLCK, 200};
        EXPECT_THAT(check(read), HasSubstr("is busy"));
    }
    {
        auto const ours = lock_disk(disk.path(), DiskAccess::read_write);
        ASSERT_TRUE(ours);
        EXPECT_FALSE(ForeignLock(disk.path(), F_RDLCK, 100).held()) << "QEMU notices us";
    }
    {
        auto const ours = lock_disk(disk.path(), DiskAccess::read_only);
        ASSERT_TRUE(ours);
        EXPECT_TRUE(ForeignLock(disk.path(), F_RDLCK, 100).held());
        EXPECT_FALSE(ForeignLock(disk.path(), F_WRLCK, 201).held())
            << "how QEMU asks whether somebody minds a writer";
        EXPECT_TRUE(ForeignLock(disk.path(), F_WRLCK, 101).held()) << "we do not write";
    }
    EXPECT_EQ(check(write), "fine");
}

// In a child, because root has to become somebody else first.
TEST(NvmeDisk, a_disk_that_may_not_be_written_says_what_to_do)
{
    TestDisk const disk{1 << 20};
    ASSERT_EQ(::chmod(disk.path().c_str(), 0444), 0);
    auto const child = ::fork();
    if (child == 0) {
        constexpr uid_t kNobody = 65534;
        if (::geteuid() == 0 && ::setresuid(kNobody, kNobody, kNobody) != 0) ::_exit(2);
        bool const told = check({{"disk", disk.path()}}).find("readonly=yes") != std::string::npos;
        bool const fine = check({{"disk", disk.path()}, {"readonly", "yes"}}) == "fine";
        ::_exit(told && fine ? 0 : 1);
    }
    int status = -1;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
}

// File systems differ in what fallocate(2) does: tmpfs punches holes and zeroes no ranges.
TEST(NvmeDisk, zeros_are_zeros_on_every_file_system)
{
    for (auto const& directory :
         {std::filesystem::path{"/dev/shm"}, std::filesystem::temp_directory_path(),
          std::filesystem::current_path()}) {
        if (::access(directory.c_str(), W_OK | X_OK) != 0) continue;
        SCOPED_TRACE(directory);
        TestDisk file{1 << 20, directory};
        auto disk = Disk::open(file.path(), DiskAccess::read_write);
        ASSERT_TRUE(disk) << disk.error();
        std::vector<std::byte> const ones(1 << 20, std::byte{0xff});
        for (auto const space : {Disk::Space::keep, Disk::Space::deallocate}) {
            file.write(0, ones);
            ASSERT_TRUE(disk->zero(1000, 300'000, space, [] { return true; }));
            auto expected = ones;
            std::fill_n(expected.begin() + 1000, 300'000, std::byte{0});
            EXPECT_EQ(file.read(0, 1 << 20), expected);
        }
        file.write(0, ones);
        disk->discard(8192, 65536);
        EXPECT_EQ(file.read(0, 8192), std::vector<std::byte>(8192, std::byte{0xff}));
        EXPECT_EQ(file.size(), 1U << 20);
    }
}

TEST(NvmeDisk, zeroing_ends_between_two_steps_when_it_is_told_to)
{
    constexpr std::uint64_t kSize = 256 << 20;
    TestDisk file{kSize};
    std::vector<std::byte> const mark(512, std::byte{0x5a});
    file.write(0, mark);
    file.write(kSize - mark.size(), mark);
    auto disk = Disk::open(file.path(), DiskAccess::read_write).value();
    for (auto const space : {Disk::Space::keep, Disk::Space::deallocate}) {
        EXPECT_EQ(disk.zero(0, kSize, space, [] { return false; }).error(), Errno::intr);
        EXPECT_EQ(file.read(0, mark.size()), mark);
        unsigned steps = 0;
        EXPECT_EQ(disk.zero(0, kSize, space, [&] { return ++steps < 2; }).error(), Errno::intr);
        EXPECT_EQ(file.read(0, mark.size()), std::vector<std::byte>(mark.size()));
        EXPECT_EQ(file.read(kSize - mark.size(), mark.size()), mark);
        file.write(0, mark);
    }
}

TEST(NvmeDisk, its_descriptor_stays_out_of_the_clients_way)
{
    TestDisk const file{1 << 20};
    auto const next = ::dup(0);
    ::close(next);
    auto const disk = Disk::open(file.path(), DiskAccess::read_write);
    ASSERT_TRUE(disk);
    auto const after = ::dup(0);
    EXPECT_EQ(after, next) << "the number that the client would have got";
    ::close(after);
}

TEST(NvmeDisk, reads_and_writes_more_segments_than_one_call_takes)
{
    TestDisk file{1 << 20};
    auto disk = Disk::open(file.path(), DiskAccess::read_write);
    ASSERT_TRUE(disk);
    std::vector<std::byte> bytes(3000 * 3);
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::byte(i * 7);
    std::vector<iovec> segments;
    for (std::size_t i = 0; i < bytes.size(); i += 3) segments.push_back({bytes.data() + i, 3});
    ASSERT_TRUE(disk->write(4096, segments, Durability::cached));
    EXPECT_EQ(file.read(4096, bytes.size()), bytes);
    auto const expected = bytes;
    std::ranges::fill(bytes, std::byte{0});
    ASSERT_TRUE(disk->read(4096, segments));
    EXPECT_EQ(bytes, expected);
}

TEST(NvmeDisk, the_end_of_the_file_and_wild_memory_are_errors)
{
    TestDisk const file{8192};
    auto disk = Disk::open(file.path(), DiskAccess::read_only);
    ASSERT_TRUE(disk);
    std::vector<std::byte> bytes(8192);
    iovec const segment{bytes.data(), bytes.size()};
    EXPECT_EQ(disk->read(4096, {&segment, 1}).error(), Errno::io);
    iovec const wild{reinterpret_cast<void*>(4096), 512};
    EXPECT_EQ(disk->read(0, {&wild, 1}).error(), Errno::fault);
    EXPECT_EQ(disk->write(0, {&segment, 1}, Durability::cached).error(), Errno::rofs);
    EXPECT_EQ(disk->zero(0, 512, Disk::Space::keep, [] { return true; }).error(), Errno::rofs);
    EXPECT_TRUE(disk->flush());
}

// A file size limit stands for every way in which a file system can refuse a write; a disk beyond
// it is not taken to begin with.
TEST(NvmeDisk, a_refused_write_is_an_error_of_the_medium)
{
    TestDisk const file{1 << 20};
    auto const child = ::fork();
    if (child == 0) {
        ::signal(SIGXFSZ, SIG_IGN);
        auto disk = Disk::open(file.path(), DiskAccess::read_write);
        rlimit const limit{4096, 4096};
        ::setrlimit(RLIMIT_FSIZE, &limit);
        if (check({{"disk", file.path()}}).find("ulimit -f") == std::string::npos) ::_exit(2);
        std::array<std::byte, 512> block{};
        iovec const segment{block.data(), block.size()};
        auto const refused = disk->write(8192, {&segment, 1}, Durability::cached);
        ::_exit(!refused && status_of(refused.error(), Status::write_fault) == Status::write_fault
                    ? 0
                    : 1);
    }
    int status = -1;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
}

TEST(NvmeDisk, errors_of_the_file_become_the_statuses_that_fit)
{
    EXPECT_EQ(status_of(Errno::io, Status::unrecovered_read_error), Status::unrecovered_read_error);
    EXPECT_EQ(status_of(Errno::io, Status::write_fault), Status::write_fault);
    EXPECT_EQ(status_of(Errno::nospc, Status::write_fault), Status::capacity_exceeded);
    EXPECT_EQ(status_of(Errno::rofs, Status::write_fault), Status::namespace_write_protected);
    EXPECT_EQ(status_of(Errno::fault, Status::write_fault), Status::data_transfer_error);
}

}  // namespace
}  // namespace pinfold::devices::nvme
