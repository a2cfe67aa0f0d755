// The numbers of the program's descriptors are what they are on Linux, and a program that closes or
// replaces every number it does not know finds nothing of Pinfold's among them. Prints what failed;
// exit status 0 where nothing did.
#include <setjmp.h>
#include <signal.h>
#include <sys/stat.h>

#include <array>

#include "vfio_client.hpp"

namespace {

constexpr int kSwept = 256;

sigjmp_buf way_out;

int lowest_free()
{
    int const fd = must(::open("/dev/null", O_RDWR), "/dev/null");
    (void)::close(fd);
    return fd;
}

// Makes the engine write a line to the run's log: what XSAVE does is not carried out.
bool is_refused(Edu const& edu)
{
    alignas(64) static std::array<char, 4096> like_it;
    (void)::signal(SIGSEGV, [](int) { ::siglongjmp(way_out, 1); });
    if (sigsetjmp(way_out, 1) != 0) return true;
    using Area = decltype(like_it);
    auto& area = *reinterpret_cast<Area*>(const_cast<std::uint32_t*>(edu.registers) + 64 / 4);
    asm volatile("xsave %0" : "+m"(area) : "a"(3), "d"(0));
    return false;
}

bool is_own(Edu const& edu, int fd)
{
    return fd == edu.container || fd == edu.group || fd == edu.device;
}

off_t size_of(int fd)
{
    struct stat status{};
    return ::fstat(fd, &status) == 0 ? status.st_size : -1;
}

// A file under every number that the program does not use, by way of dup2() and of open() after
// close(): no line of ours goes into it.
void a_sweep_leaves_the_log_alone(Edu const& edu, bool by_dup)
{
    char name[] = "/tmp/swept-XXXXXX";
    int const file = must(::mkstemp(name), name);
    for (int fd = 3; fd < kSwept; ++fd) {
        if (is_own(edu, fd) || fd == file) continue;
        if (by_dup)
            CHECK(::dup2(file, fd) == fd);
        else
            (void)::close(fd);
    }
    while (!by_dup && must(::open(name, O_RDWR | O_APPEND), name) < kSwept) {
    }
    CHECK(is_refused(edu));
    CHECK(size_of(file) == 0);
    CHECK(::unlink(name) == 0);
    for (int fd = 3; fd <= kSwept; ++fd)
        if (!is_own(edu, fd)) (void)::close(fd);
}

}  // namespace

int main()
{
    int const first = lowest_free();
    Edu const edu;
    CHECK(edu.container == first);
    CHECK(edu.group == first + 1);
    CHECK(edu.device == first + 2);
    CHECK(lowest_free() == first + 3);
    a_sweep_leaves_the_log_alone(edu, false);
    a_sweep_leaves_the_log_alone(edu, true);
    return finish();
}
