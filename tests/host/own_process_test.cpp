#include "host/own_process.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include <array>
#include <cstdlib>
#include <string>
#include <tuple>
#include <vector>

#include "host/guarded_copy.hpp"
#include "host/lock_source.hpp"
#include "host/support.hpp"

namespace pinfold::host {
namespace {

constexpr int kAnonymous = MAP_PRIVATE | MAP_ANONYMOUS;
constexpr int kSharedAnonymous = MAP_SHARED | MAP_ANONYMOUS;

// 0 or the errno.
int code(Result<> const& result) { return result ? 0 : number(result.error()); }

class OwnProcessTest : public testing::Test {
protected:
    OwnProcessTest() { install_recovery(); }

    int fault_in(Vaddr start, std::size_t pages, Intent intent)
    {
        return code(process_.fault_in({start, start + (pages * kPage - 1)}, intent));
    }
    // The table of 3.3 in one line: what a pin for read and one for write are told.
    void expect(TestMapping const& mapping, int read, int write, char const* what)
    {
        ASSERT_FALSE(mapping.failed()) << what;
        EXPECT_EQ(fault_in(mapping.vaddr(), mapping.pages(), Intent::read), read) << what;
        EXPECT_EQ(fault_in(mapping.vaddr(), mapping.pages(), Intent::write), write) << what;
    }

    FixedLockSource source_{~std::uint64_t{0}};
    OwnProcess process_{source_, k4K};
};

// ---------------------------------------------------------------------------------- read and write

TEST_F(OwnProcessTest, reads_and_writes_what_is_there)
{
    TestMapping const mapping{2};
    std::array<std::byte, 100> const from{std::byte{1}, std::byte{2}};
    std::array<std::byte, 100> into{};
    EXPECT_TRUE(process_.write(mapping.vaddr() + 4050, from));
    EXPECT_TRUE(process_.read(mapping.vaddr() + 4050, into));
    EXPECT_EQ(into, from);
}

TEST_F(OwnProcessTest, a_bad_pointer_is_efault)
{
    TestMapping mapping{2, PROT_READ};
    std::array<std::byte, 8> buffer{};
    mapping.unmap(1, 1);
    EXPECT_EQ(code(process_.read(Vaddr{0}, buffer)), EFAULT);
    EXPECT_EQ(code(process_.read(mapping.vaddr(1) - std::uint64_t{4}, buffer)), EFAULT);
    EXPECT_EQ(code(process_.read(mapping.vaddr(1) - std::uint64_t{8}, buffer)), 0);
    EXPECT_EQ(code(process_.write(mapping.vaddr(), buffer)), EFAULT);
}

TEST_F(OwnProcessTest, an_address_above_the_user_half_is_efault_untouched)
{
    std::array<std::byte, 8> buffer{};
    for (auto const raw :
         {(std::uint64_t{1} << 47) - 4096, (std::uint64_t{1} << 47) - 4, std::uint64_t{1} << 47,
          std::uint64_t{0xffff'8000'0000'0000}, ~std::uint64_t{0}, ~std::uint64_t{0} - 7}) {
        EXPECT_EQ(code(process_.read(Vaddr{raw}, buffer)), EFAULT) << std::hex << raw;
        EXPECT_EQ(code(process_.write(Vaddr{raw}, buffer)), EFAULT) << std::hex << raw;
    }
}

TEST_F(OwnProcessTest, nothing_can_be_read_from_anywhere)
{
    EXPECT_TRUE(process_.read(Vaddr{~std::uint64_t{0}}, {}));
    EXPECT_TRUE(process_.write(Vaddr{0}, {}));
}

TEST_F(OwnProcessTest, has_a_place_for_every_user_address_and_no_other)
{
    TestMapping const mapping{1};
    EXPECT_EQ(process_.local(mapping.vaddr()), mapping.page(0));
    EXPECT_EQ(process_.local(Vaddr{std::uint64_t{1} << 47}), nullptr);
    EXPECT_EQ(process_.local(Vaddr{~std::uint64_t{0}}), nullptr);
}

// ----------------------------------------------------------------------- faulting in: who may not

TEST_F(OwnProcessTest, a_hole_is_efault)
{
    TestMapping mapping{3};
    mapping.unmap(1, 1);
    expect(mapping, EFAULT, EFAULT, "hole in the middle");
    EXPECT_EQ(fault_in(mapping.vaddr(), 1, Intent::write), 0);
    EXPECT_EQ(fault_in(mapping.vaddr(1), 1, Intent::read), EFAULT);
    EXPECT_EQ(fault_in(Vaddr{0}, 1, Intent::read), EFAULT);
}

TEST_F(OwnProcessTest, memory_above_the_user_half_is_efault)
{
    for (auto const intent : {Intent::read, Intent::write}) {
        EXPECT_EQ(fault_in(Vaddr{(std::uint64_t{1} << 47) - 4096}, 1, intent), EFAULT);
        EXPECT_EQ(fault_in(Vaddr{std::uint64_t{1} << 47}, 1, intent), EFAULT);
        EXPECT_EQ(fault_in(Vaddr{~std::uint64_t{0} - 4095}, 1, intent), EFAULT);
        EXPECT_EQ(code(process_.fault_in({Vaddr{0}, Vaddr{~std::uint64_t{0}}}, intent)), EFAULT);
    }
}

TEST_F(OwnProcessTest, rights_are_those_of_the_mapping)
{
    expect(TestMapping{2, PROT_NONE}, EFAULT, EFAULT, "PROT_NONE");
    expect(TestMapping{2, PROT_EXEC}, EFAULT, EFAULT, "PROT_EXEC");
    expect(TestMapping{2, PROT_READ}, 0, EFAULT, "PROT_READ");
    expect(TestMapping{2, PROT_READ, kSharedAnonymous}, 0, EFAULT, "PROT_READ, shared");
    expect(TestMapping{2, PROT_WRITE}, EFAULT, 0, "PROT_WRITE alone");
    expect(TestMapping{2, PROT_WRITE, kSharedAnonymous}, EFAULT, 0, "PROT_WRITE alone, shared");
    expect(TestMapping{2}, 0, 0, "private anonymous");
    expect(TestMapping{2, PROT_READ | PROT_WRITE, kSharedAnonymous}, 0, 0, "shared anonymous");
}

TEST_F(OwnProcessTest, one_page_without_the_right_spoils_the_range)
{
    TestMapping const mapping{3};
    ::mprotect(mapping.page(2), kPage, PROT_READ);
    expect(mapping, 0, EFAULT, "read-only at the end");
    ::mprotect(mapping.page(2), kPage, PROT_NONE);
    expect(mapping, EFAULT, EFAULT, "PROT_NONE at the end");
}

TEST_F(OwnProcessTest, a_file_reaches_as_far_as_its_pages)
{
    auto const file = memory_file(2);
    auto const fd = file.get();
    for (int const sharing : {MAP_SHARED, MAP_PRIVATE}) {
        expect(TestMapping{2, PROT_READ | PROT_WRITE, sharing, fd}, 0, 0, "in bounds");
        expect(TestMapping{2, PROT_READ, sharing, fd}, 0, EFAULT, "in bounds, read-only");
        expect(TestMapping{3, PROT_READ | PROT_WRITE, sharing, fd}, EFAULT, EFAULT, "past the end");
    }
}

TEST_F(OwnProcessTest, secret_memory_is_efault)
{
    UniqueFd const file{static_cast<int>(::syscall(SYS_memfd_secret, 0))};
    if (!file || ::ftruncate(file.get(), kPage) != 0) GTEST_SKIP() << "no memfd_secret here";
    expect(TestMapping{1, PROT_READ | PROT_WRITE, MAP_SHARED, file.get()}, EFAULT, EFAULT,
           "secretmem");
}

TEST_F(OwnProcessTest, huge_pages_count_where_there_are_any)
{
    TestMapping const mapping{512, PROT_READ | PROT_WRITE, kAnonymous | MAP_HUGETLB};
    if (mapping.failed()) GTEST_SKIP() << "no huge pages reserved here";
    expect(mapping, 0, 0, "hugetlb");
}

TEST_F(OwnProcessTest, memory_of_the_kernels_own_making_is_efault)
{
    // VM_PFNMAP: the vvar page, which Linux maps into every process.
    FILE* const maps = std::fopen("/proc/self/maps", "r");
    std::array<char, 512> line{};
    std::uint64_t vvar = 0;
    while (std::fgets(line.data(), line.size(), maps) != nullptr) {
        if (std::string{line.data()}.find("[vvar]") == std::string::npos) continue;
        vvar = std::strtoull(line.data(), nullptr, 16);
    }
    std::fclose(maps);
    if (vvar == 0) GTEST_SKIP() << "no vvar page here";
    EXPECT_EQ(fault_in(Vaddr{vvar}, 1, Intent::read), EFAULT);
    EXPECT_EQ(fault_in(Vaddr{vvar}, 1, Intent::write), EFAULT);
}

// ------------------------------------------------------------- faulting in: copy-on-write is
// broken

long minor_faults()
{
    rusage usage{};
    ::getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_minflt;
}

// Page faults that writing one byte to each page takes; without the sanitizer's own.
[[gnu::no_sanitize_address]] long faults_of_writing(TestMapping const& mapping)
{
    long const before = minor_faults();
    for (std::size_t i = 0; i < mapping.pages(); ++i) {
        *static_cast<std::byte volatile*>(mapping.page(i)) = std::byte{1};
    }
    return minor_faults() - before;
}

TEST_F(OwnProcessTest, untouched_anonymous_memory_gets_its_own_pages_for_either_intent)
{
    for (auto const intent : {Intent::read, Intent::write}) {
        TestMapping const mapping{64};
        ASSERT_EQ(fault_in(mapping.vaddr(), 64, intent), 0);
        EXPECT_EQ(faults_of_writing(mapping), 0);
    }
}

TEST_F(OwnProcessTest, a_private_file_page_becomes_a_private_copy_for_either_intent)
{
    for (auto const intent : {Intent::read, Intent::write}) {
        auto const file = memory_file(1);
        ASSERT_EQ(::pwrite(file.get(), "old", 3, 0), 3);
        TestMapping const mapping{1, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.get()};
        ASSERT_EQ(fault_in(mapping.vaddr(), 1, intent), 0);
        ASSERT_EQ(::pwrite(file.get(), "new", 3, 0), 3);
        EXPECT_EQ(std::memcmp(mapping.page(0), "old", 3), 0);
    }
}

TEST_F(OwnProcessTest, a_page_shared_since_a_fork_becomes_the_parents_own)
{
    for (auto const intent : {Intent::read, Intent::write}) {
        TestMapping const mapping{16};
        mapping.fill(1);
        std::array<int, 2> hold{};
        ASSERT_EQ(::pipe(hold.data()), 0);
        pid_t const child = ::fork();
        if (child == 0) {
            char byte = 0;
            ::close(hold[1]);
            ::_exit(::read(hold[0], &byte, 1) == 0 ? 0 : 1);
        }
        EXPECT_EQ(fault_in(mapping.vaddr(), 16, intent), 0);
        EXPECT_EQ(faults_of_writing(mapping), 0);
        ::close(hold[0]);
        ::close(hold[1]);
        ::waitpid(child, nullptr, 0);
    }
}

// ------------------------------------------------------------------------------ before Linux 6.2

class OldKernelTest : public OwnProcessTest {
protected:
    // The pages that a pin for `intent` finds to be no memory of the process's, by their numbers.
    std::vector<std::size_t> zero_pages(OwnProcess& process, TestMapping const& mapping,
                                        Intent intent = Intent::read)
    {
        VaddrRange const range{mapping.vaddr(), mapping.vaddr() + (mapping.size() - 1)};
        std::vector<std::size_t> found;
        EXPECT_TRUE(process.fault_in(range, intent));
        process.for_each_foreign(range, intent, [&](Process::Foreign const& foreign) {
            EXPECT_FALSE(foreign.device);
            for (std::uint64_t at = 0; at < foreign.range.size(); at += kPage)
                found.push_back((foreign.range.start - mapping.vaddr() + at) / kPage);
        });
        return found;
    }

    OwnProcess old_{source_, k4K, Kernel::v6_1};
    OwnProcess old_64K_{source_, k64K, Kernel::v6_1};
};

TEST_F(OldKernelTest, a_pin_for_read_finds_the_zero_page_where_nothing_was_written)
{
    TestMapping const mapping{4};
    *mapping.page(1) = std::byte{1};
    EXPECT_EQ(zero_pages(old_, mapping), (std::vector<std::size_t>{0, 2, 3}));
    EXPECT_EQ(zero_pages(old_, mapping), (std::vector<std::size_t>{0, 2, 3})) << "and again";
    EXPECT_EQ(faults_of_writing(mapping), 3);
    EXPECT_EQ(zero_pages(old_, mapping), std::vector<std::size_t>{});
    TestMapping const other{4};
    EXPECT_EQ(zero_pages(old_, other, Intent::write), std::vector<std::size_t>{});
    TestMapping const fresh{4};
    EXPECT_EQ(zero_pages(process_, fresh), std::vector<std::size_t>{}) << "not since 6.2";
}

TEST_F(OldKernelTest, a_page_of_64K_is_the_zero_page_as_a_whole_or_not_at_all)
{
    TestMapping const mapping{48};
    std::size_t const skip = (k64K.align_up(mapping.vaddr().raw()) - mapping.vaddr().raw()) / kPage;
    *mapping.page(skip + 5) = std::byte{1};
    VaddrRange const range{mapping.vaddr(skip), mapping.vaddr(skip) + 2 * k64K.bytes() - 1};
    ASSERT_TRUE(old_64K_.fault_in(range, Intent::read));
    std::vector<VaddrRange> found;
    old_64K_.for_each_foreign(range, Intent::read, [&](Process::Foreign const& foreign) {
        found.push_back(foreign.range);
    });
    VaddrRange const second{mapping.vaddr(skip + 16), range.last};
    EXPECT_EQ(found, std::vector{second});
}

TEST_F(OldKernelTest, a_private_file_page_stays_the_files_under_a_pin_for_read)
{
    auto const file = memory_file(1);
    ASSERT_EQ(::pwrite(file.get(), "old", 3, 0), 3);
    TestMapping const mapping{1, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.get()};
    EXPECT_EQ(zero_pages(old_, mapping), std::vector<std::size_t>{});
    ASSERT_EQ(::pwrite(file.get(), "new", 3, 0), 3);
    EXPECT_EQ(std::memcmp(mapping.page(0), "new", 3), 0);
}

TEST_F(OldKernelTest, a_page_shared_since_a_fork_is_unshared_by_a_pin_for_read)
{
    TestMapping const mapping{4};
    mapping.fill(1);
    std::array<int, 2> hold{};
    ASSERT_EQ(::pipe(hold.data()), 0);
    pid_t const child = ::fork();
    if (child == 0) {
        char byte = 0;
        ::close(hold[1]);
        ::_exit(::read(hold[0], &byte, 1) == 0 ? 0 : 1);
    }
    EXPECT_EQ(zero_pages(old_, mapping), std::vector<std::size_t>{});
    EXPECT_EQ(faults_of_writing(mapping), 0);
    ::close(hold[0]);
    ::close(hold[1]);
    ::waitpid(child, nullptr, 0);
}

TEST_F(OldKernelTest, rights_are_those_of_the_mapping)
{
    EXPECT_EQ(code(old_.fault_in({Vaddr{0}, Vaddr{4095}}, Intent::read)), EFAULT);
    for (auto const& [prot, read, write] :
         {std::tuple{PROT_NONE, EFAULT, EFAULT}, {PROT_READ, 0, EFAULT}, {PROT_WRITE, EFAULT, 0}}) {
        TestMapping const mapping{2, prot};
        VaddrRange const range{mapping.vaddr(), mapping.vaddr() + (2 * kPage - 1)};
        EXPECT_EQ(code(old_.fault_in(range, Intent::read)), read);
        EXPECT_EQ(code(old_.fault_in(range, Intent::write)), write);
    }
}

// A file on a disk, or what is one to the kernel; empty where the temporary directory is in memory.
class DiskFile {
public:
    DiskFile()
    {
        struct statfs info = {};
        fd_ = UniqueFd{::mkstemp(path_.data())};
        if (!fd_ || ::fstatfs(fd_.get(), &info) != 0 || info.f_type == TMPFS_MAGIC ||
            ::ftruncate(fd_.get(), 2 * kPage) != 0) {
            fd_ = UniqueFd{};
        }
    }
    ~DiskFile() { ::unlink(path_.c_str()); }
    DiskFile(DiskFile const&) = delete;
    DiskFile& operator=(DiskFile const&) = delete;

    int fd() const { return fd_.get(); }

private:
    std::string path_ = testing::TempDir() + "pinfold-host-XXXXXX";
    UniqueFd fd_;
};

TEST_F(OwnProcessTest, a_shared_disk_file_is_not_written_to_by_a_pin_for_read)
{
    DiskFile const file;
    if (file.fd() < 0) GTEST_SKIP() << "the temporary directory is in memory";
    TestMapping const mapping{2, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd()};
    ASSERT_EQ(fault_in(mapping.vaddr(), 2, Intent::read), 0);
    EXPECT_GT(faults_of_writing(mapping), 0) << "the file system is told of the first write only";
}

TEST_F(OwnProcessTest, a_shared_disk_file_cannot_be_pinned_for_write)
{
    DiskFile const file;
    if (file.fd() < 0) GTEST_SKIP() << "the temporary directory is in memory";
    int const fd = file.fd();
    expect(TestMapping{2, PROT_READ | PROT_WRITE, MAP_SHARED, fd}, 0, EFAULT, "shared");
    expect(TestMapping{2, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd}, 0, 0, "private");
    OwnProcess old{source_, k4K, Kernel::v6_1};
    TestMapping const mapping{2, PROT_READ | PROT_WRITE, MAP_SHARED, fd};
    EXPECT_TRUE(old.fault_in({mapping.vaddr(), mapping.vaddr() + 4095}, Intent::write));
}

TEST_F(OwnProcessTest, shared_memory_with_a_name_can_be_pinned_for_write)
{
    UniqueFd const file{::open("/dev/shm", O_TMPFILE | O_RDWR, 0600)};
    if (!file || ::ftruncate(file.get(), 2 * kPage) != 0) GTEST_SKIP() << "no /dev/shm here";
    expect(TestMapping{2, PROT_READ | PROT_WRITE, MAP_SHARED, file.get()}, 0, 0, "tmpfs");
}

}  // namespace
}  // namespace pinfold::host
