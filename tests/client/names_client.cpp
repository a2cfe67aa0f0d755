// What the names of VFIO descriptors in /proc say and lead to, and what comes of descriptors that
// are opened in other ways than by the path of a node. Prints what failed; exit status 0 where
// nothing did.
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <string>

#include "vfio_client.hpp"

namespace {

constexpr char kDeviceName[] = "anon_inode:[vfio-device]";

std::string link_in(int directory, std::string const& name)
{
    char text[PATH_MAX];
    ssize_t const length = ::readlinkat(directory, name.c_str(), text, sizeof text);
    return {text, length > 0 ? static_cast<std::size_t>(length) : 0};
}

void names(Edu const& edu)
{
    auto const device = std::to_string(edu.device), container = std::to_string(edu.container);
    int const descriptors = must(::open("/proc/self/fd", O_RDONLY | O_DIRECTORY), "/proc/self/fd");
    CHECK(link_in(descriptors, device) == kDeviceName);
    CHECK(link_in(descriptors, container) == "/dev/vfio/vfio");
    CHECK(link_in(AT_FDCWD, "/proc/thread-self/fd/" + device) == kDeviceName);
    CHECK(::chdir("/proc/self/fd") == 0);
    CHECK(link_in(AT_FDCWD, device) == kDeviceName);
    CHECK(link_in(AT_FDCWD, container) == "/dev/vfio/vfio");
    CHECK(::chdir("/") == 0);
    char resolved[PATH_MAX];
    errno = 0;
    CHECK(::realpath(("/proc/self/fd/" + device).c_str(), resolved) == nullptr && errno == ENOENT);
    CHECK(::realpath(("/proc/self/fd/" + container).c_str(), resolved) != nullptr);
    CHECK(std::string{resolved} == "/dev/vfio/vfio");
    CHECK(::close(descriptors) == 0);
}

// Another process of the run sees the same.
void names_for_others(Edu const& edu)
{
    auto const command = "test \"$(readlink /proc/" + std::to_string(::getpid()) + "/fd/" +
                         std::to_string(edu.device) + ")\" = \"" + kDeviceName + "\"";
    CHECK(std::system(command.c_str()) == 0);
}

int api_version(int fd) { return ::ioctl(fd, VFIO_GET_API_VERSION); }

// By the link in /proc a container is opened anew, a group is not, and a device cannot be.
void opened_by_the_link(Edu const& edu)
{
    auto const of = [](int fd) { return "/proc/self/fd/" + std::to_string(fd); };
    int const again = ::open(of(edu.container).c_str(), O_RDWR);
    CHECK(again >= 0 && api_version(again) == VFIO_API_VERSION);
    CHECK(::close(again) == 0);
    CHECK_FAILS(EBUSY, ::open(of(edu.group).c_str(), O_RDWR));
    CHECK_FAILS(ENXIO, ::open(of(edu.device).c_str(), O_RDWR));
}

void opened_in_rare_ways()
{
    open_how how{};
    how.flags = O_RDWR | O_CLOEXEC;
    int const fd =
        static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, "/dev/vfio/vfio", &how, sizeof how));
    CHECK(fd >= 0 && api_version(fd) == VFIO_API_VERSION);
    CHECK(::close(fd) == 0);
    int const named = static_cast<int>(::syscall(SYS_open, "/dev/vfio/vfio", O_RDWR));
    CHECK(named >= 0 && api_version(named) == VFIO_API_VERSION);
    CHECK(::close(named) == 0);
    CHECK(::chdir("/dev/vfio") == 0);
    int const relative = ::open("vfio", O_RDWR);
    CHECK(relative >= 0 && api_version(relative) == VFIO_API_VERSION);
    CHECK(::close(relative) == 0);
    CHECK(::chdir("/") == 0);
    int const below_root = ::open("dev/vfio/vfio", O_RDWR);
    CHECK(below_root >= 0 && api_version(below_root) == VFIO_API_VERSION);
    CHECK(::close(below_root) == 0);
}

// What only names the node is no container. (Without a namespace all of ours only name their
// files.)
void named_only()
{
    int const fd = ::open("/dev/vfio/vfio", O_PATH);
    CHECK(fd >= 0);
    char const* const mode = std::getenv("PINFOLD_MODE");
    if (mode != nullptr && std::string{mode} == "namespace") {
        CHECK_FAILS(EBADF, api_version(fd));
    }
    CHECK(::close(fd) == 0);
}

}  // namespace

int main()
{
    Edu edu;
    names(edu);
    names_for_others(edu);
    opened_by_the_link(edu);
    opened_in_rare_ways();
    named_only();
    return finish();
}
