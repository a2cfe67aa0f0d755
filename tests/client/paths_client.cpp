// How the run's files and directories are named, changed into and looked at. Started in a directory
// with two links: "bus" to /sys/bus/pci and "modules" to /sys/module. Prints what failed; exit
// status 0 where nothing did.
#include <dirent.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>

#include "vfio_client.hpp"

namespace {

std::string const kDevice = std::string{"/sys/bus/pci/devices/"} + kBdf;

mode_t type_of(std::string const& path)
{
    struct stat64 status{};
    return ::lstat64(path.c_str(), &status) == 0 ? status.st_mode & S_IFMT : 0;
}

void looked_at()
{
    struct stat64 status{};
    CHECK(::stat64("/etc/passwd", &status) == 0 && S_ISREG(status.st_mode));
    CHECK(type_of(kDevice) == S_IFLNK);
    CHECK(type_of(kDevice + "/") == S_IFDIR);
    CHECK(type_of(kDevice + "/.") == S_IFDIR);
    CHECK(type_of("/sys/module/") == S_IFDIR);
    char* const real = ::realpath("/etc/passwd", nullptr);
    CHECK(real != nullptr && std::string{real} == "/etc/passwd");
    std::free(real);
    CHECK(::sysconf(_SC_PHYS_PAGES) > 0);
}

void too_small_for_a_name()
{
    char name[PATH_MAX];
    CHECK(::chdir(kDevice.c_str()) == 0);
    CHECK(::getcwd(name, 0) == nullptr && errno == EINVAL);
    CHECK(::getcwd(nullptr, 4) == nullptr && errno == ERANGE);
    auto const before = ::mallinfo2().uordblks;
    for (int i = 0; i < 1000; ++i) (void)!::getcwd(nullptr, 4);
    CHECK(::mallinfo2().uordblks == before);
    char* const whole = ::getcwd(nullptr, 0);
    CHECK(whole != nullptr && std::string{whole}.starts_with("/sys/devices/pinfold/"));
    std::free(whole);
}

// Names below that are the machine's alone, and that nothing is known of but where they are.
void expect_the_machines(char const* file)
{
    CHECK(::access(file, F_OK) == 0);
    CHECK(::chdir("/") == 0);
}

void changed_into_by_links(std::string const& start)
{
    struct {
        char const* link;
        char const* below;
    } const ways[] = {{"/bus", "drivers/ioatdma"}, {"/modules", "vfio_pci"}};
    for (auto const& [link, below] : ways) {
        auto const path = start + link;
        CHECK(::chdir(path.c_str()) == 0);
        expect_the_machines(below);
        CHECK(::syscall(SYS_chdir, path.c_str()) == 0);
        expect_the_machines(below);
        int const directory = must(::open(path.c_str(), O_PATH | O_DIRECTORY), path.c_str());
        CHECK(::fchdir(directory) == 0);
        expect_the_machines(below);
        CHECK(::syscall(SYS_fchdir, directory) == 0);
        expect_the_machines(below);
        CHECK(::close(directory) == 0);
    }
    CHECK_FAILS(EBADF, ::fchdir(-1));
    CHECK_FAILS(EBADF, ::fchdir(AT_FDCWD));
    CHECK_FAILS(ENOTDIR, ::chdir("/etc/passwd"));
}

void* look_around(void*)
{
    for (auto const* const path : {"/dev/pts", "/sys/bus/pci/devices"}) {
        DIR* const directory = ::opendir(path);
        CHECK(directory != nullptr);
        if (directory != nullptr) (void)::closedir(directory);
    }
    return nullptr;
}

void on_the_smallest_stack()
{
    pthread_attr_t attributes;
    pthread_t thread;
    CHECK(::pthread_attr_init(&attributes) == 0);
    CHECK(::pthread_attr_setstacksize(&attributes, 16384) == 0);
    CHECK(::pthread_create(&thread, &attributes, look_around, nullptr) == 0);
    CHECK(::pthread_join(thread, nullptr) == 0);
    CHECK(::pthread_attr_destroy(&attributes) == 0);
}

}  // namespace

int main()
{
    char start[PATH_MAX];
    if (::getcwd(start, sizeof start) == nullptr) return 1;
    looked_at();
    too_small_for_a_name();
    changed_into_by_links(start);
    on_the_smallest_stack();
    return finish();
}
