// One account for mlock() and for DMA: locked_client, under `ulimit -l 256`, by root or by somebody
// without CAP_IPC_LOCK. Prints what failed; exit status 0 where nothing did.
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <fstream>
#include <thread>

#include "vfio_client.hpp"

namespace {

constexpr std::uint64_t kLimit = 64;  // pages
constexpr std::uint64_t kIova = 0x100000;

// VmLck in pages, from the text of a status file.
long locked_in(std::string const& text)
{
    auto const at = text.find("\nVmLck:");
    return at == std::string::npos
               ? -1
               : std::strtol(text.c_str() + at + 7, nullptr, 10) * 1024 / static_cast<long>(kPage);
}

std::string by_descriptor(std::string const& path)
{
    std::string text(16384, '\0');
    int const fd = ::open(path.c_str(), O_RDONLY);
    ssize_t const got = ::read(fd, text.data(), text.size());
    text.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
    (void)::close(fd);
    return text;
}

std::string by_stream(std::string const& path)
{
    std::string text;
    std::FILE* const file = std::fopen(path.c_str(), "re");
    if (file == nullptr) return text;
    for (int c = 0; (c = std::fgetc(file)) != EOF;) text += static_cast<char>(c);
    (void)std::fclose(file);
    return text;
}

std::string by_ifstream(std::string const& path)
{
    std::ifstream file{path};
    return {std::istreambuf_iterator<char>{file}, {}};
}

long locked() { return locked_in(by_descriptor("/proc/self/status")); }

long map_locked(std::uint64_t pages, int flags = MAP_LOCKED)
{
    return reinterpret_cast<long>(::mmap(nullptr, pages * kPage, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0));
}

// Takes CAP_IPC_LOCK out of this thread's effective set; false: it is not there.
bool give_up_the_capability()
{
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3]{};
    if (::syscall(SYS_capget, &header, sets) != 0) return false;
    if ((sets[0].effective & CAP_TO_MASK(CAP_IPC_LOCK)) == 0) return false;
    sets[0].effective &= ~static_cast<unsigned>(CAP_TO_MASK(CAP_IPC_LOCK));
    return ::syscall(SYS_capset, &header, sets) == 0;
}

void with_the_capability(Edu const& edu, std::uint8_t* pages)
{
    CHECK(edu.map(pages, kIova, (kLimit + 8) * kPage) == 0);
    CHECK(locked() == kLimit + 8);
    CHECK(::mlock(pages, 8 * kPage) == 0);
    CHECK(locked() == kLimit + 16);
    CHECK(::munlock(pages, 8 * kPage) == 0);
    CHECK(edu.unmap(kIova, (kLimit + 8) * kPage) == (kLimit + 8) * kPage);
    CHECK(locked() == 0);
}

void counting(Edu const& edu, std::uint8_t* pages)
{
    CHECK_FAILS(ENOMEM, edu.map(pages, kIova, (kLimit + 1) * kPage));
    CHECK(edu.map(pages, kIova, 32 * kPage) == 0);
    CHECK(locked() == 32);
    // What is locked and pinned counts twice; what is locked twice counts once.
    CHECK(::mlock(pages, 32 * kPage) == 0);
    CHECK(locked() == 64);
    CHECK(::mlock(pages, 32 * kPage) == 0);
    CHECK(::mlock(pages + 8 * kPage, kPage) == 0);
    CHECK_FAILS(ENOMEM, ::mlock(pages + 32 * kPage, 1));
    CHECK_FAILS(ENOMEM, ::mlock(pages, 33 * kPage));
    CHECK_FAILS(ENOMEM, ::mlock2(pages + 40 * kPage, kPage, MLOCK_ONFAULT));
    CHECK_FAILS(EAGAIN, map_locked(1));
    CHECK_FAILS(ENOMEM, edu.map(pages, kIova + 0x100000, kPage));
    CHECK(::munlock(pages, 16 * kPage) == 0);
    CHECK(locked() == 48);
    CHECK_FAILS(EAGAIN, map_locked(17));
    auto* const more = reinterpret_cast<std::uint8_t*>(map_locked(15));
    CHECK(locked() == 63);
    CHECK_FAILS(EAGAIN,
                reinterpret_cast<long>(::mremap(more, 15 * kPage, 17 * kPage, MREMAP_MAYMOVE)));
    auto* const grown =
        static_cast<std::uint8_t*>(::mremap(more, 15 * kPage, 16 * kPage, MREMAP_MAYMOVE));
    CHECK(grown != MAP_FAILED && locked() == 64);
    CHECK(edu.unmap(kIova, kPage * 32) == 32 * kPage);
    CHECK(::mlock(pages + 32 * kPage, kPage) == 0);
    CHECK(::munlock(pages, 64 * kPage) == 0);
    CHECK(::munmap(grown, 16 * kPage) == 0);
    CHECK(locked() == 0);
}

void future_memory(Edu const& edu, std::uint8_t* pages)
{
    CHECK(edu.map(pages, kIova, 60 * kPage) == 0);
    CHECK(::mlockall(MCL_FUTURE) == 0);
    long const five = map_locked(5, 0);
    int const error = errno;
    long const four = map_locked(4, 0);
    CHECK(::munlockall() == 0);
    CHECK(five == -1 && error == EAGAIN);
    CHECK(four != -1);
    CHECK(map_locked(5, 0) != -1);
    CHECK(edu.unmap(kIova, 60 * kPage) == 60 * kPage);
}

void status_files(Edu const& edu, std::uint8_t* pages)
{
    std::string const own = "/proc/" + std::to_string(::getpid()) + "/status";
    std::string const parent = "/proc/" + std::to_string(::getppid()) + "/status";
    CHECK(edu.map(pages, kIova, 5 * kPage) == 0);
    for (auto const& path :
         {own, std::string{"/proc/self/status"}, std::string{"/proc/thread-self/status"}}) {
        CHECK(locked_in(by_descriptor(path)) == 5);
        CHECK(locked_in(by_stream(path)) == 5);
        CHECK(locked_in(by_ifstream(path)) == 5);
    }
    CHECK(locked_in(by_descriptor(parent)) == 0);
    // Nothing else in it has changed, and it can be read again.
    int const fd = ::open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    CHECK(::fcntl(fd, F_GETFD) == FD_CLOEXEC && (::fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY);
    std::string first(100, '\0');
    std::string again(100, '\0');
    CHECK(::read(fd, first.data(), 100) == 100 && ::lseek(fd, 0, SEEK_SET) == 0);
    CHECK(::read(fd, again.data(), 100) == 100 && first == again);
    CHECK(first.starts_with("Name:\tlocked_client\nUmask:\t"));
    (void)::close(fd);
    CHECK(by_descriptor(own).find("\nVmLck:\t      20 kB\n") != std::string::npos);
    // A child has none of it (rule P-10).
    pid_t const child = ::fork();
    if (child == 0) ::_exit(locked() == 0 ? 0 : 1);
    int status = -1;
    (void)::waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(edu.unmap(kIova, 5 * kPage) == 5 * kPage);
}

void no_limit_at_all(Edu const& edu, std::uint8_t* pages)
{
    rlimit limit{};
    CHECK(::getrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    limit.rlim_cur = 0;
    CHECK(::setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    CHECK_FAILS(EPERM, ::mlock(pages, kPage));
    CHECK_FAILS(EPERM, map_locked(1));
    CHECK_FAILS(ENOMEM, edu.map(pages, kIova, kPage));
    limit.rlim_cur = limit.rlim_max;
    CHECK(::setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    CHECK(edu.map(pages, kIova, kPage) == 0);
    CHECK(edu.unmap(kIova, kPage) == kPage);
}

}  // namespace

int main()
{
    ::setvbuf(stdout, nullptr, _IONBF, 0);
    auto* const pages = memory(128 * kPage);
    CHECK(locked() == 0);
    Edu edu;
    if (::geteuid() == 0) {
        with_the_capability(edu, pages);
        // It is the thread's that calls, and as it is at the call.
        std::thread{[&] {
            CHECK(give_up_the_capability());
            CHECK_FAILS(ENOMEM, edu.map(pages, kIova, (kLimit + 1) * kPage));
        }}.join();
        CHECK(edu.map(pages, kIova, (kLimit + 1) * kPage) == 0);
        CHECK(edu.unmap(kIova, (kLimit + 1) * kPage) == (kLimit + 1) * kPage);
        CHECK(give_up_the_capability());
    }
    counting(edu, pages);
    future_memory(edu, pages);
    status_files(edu, pages);
    no_limit_at_all(edu, pages);
    return finish();
}
