#include "preload/status_file.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>

#include "base/unique_fd.hpp"

namespace pinfold::preload {
namespace {

std::string contents(int fd)
{
    std::array<char, 16384> text{};
    ssize_t const got = ::read(fd, text.data(), text.size());
    return {text.data(), got < 0 ? 0 : static_cast<std::size_t>(got)};
}

TEST(StatusFile, what_is_pinned_is_added_to_VmLck_and_to_nothing_else)
{
    EXPECT_EQ(with_locked("Name:\tx\nVmLck:\t       8 kB\nVmPin:\t       0 kB\n", 65536),
              "Name:\tx\nVmLck:\t      72 kB\nVmPin:\t       0 kB\n");
    EXPECT_EQ(with_locked("Name:\tx\nVmLck:\t123456789 kB\n", 1024),
              "Name:\tx\nVmLck:\t123456790 kB\n");
}

TEST(StatusFile, what_has_no_such_line_stays_as_it_is)
{
    for (std::string const text :
         {"", "Name:\tVmLck:\t8\n", "Name:\tx\nVmLck:\t", "\nVmLck:\t kB\n"})
        EXPECT_EQ(with_locked(text, 65536), text);
}

TEST(StatusFile, this_processs_file_becomes_a_copy_that_says_so)
{
    UniqueFd const plain{::open("/proc/self/status", O_RDONLY | O_CLOEXEC)};
    UniqueFd const shown{::open("/proc/self/status", O_RDONLY | O_CLOEXEC)};
    int const number = shown.get();
    show_locked(number, std::uint64_t{1} << 40);
    EXPECT_EQ(::fcntl(number, F_GETFD), FD_CLOEXEC);
    EXPECT_EQ(::write(number, "x", 1), -1);
    auto const text = contents(number);
    EXPECT_NE(text.find("\nVmLck:\t1073741824 kB\n"), std::string::npos) << text;
    EXPECT_EQ(text.substr(0, 20), contents(plain.get()).substr(0, 20));
}

TEST(StatusFile, another_processs_file_stays_as_it_is)
{
    UniqueFd const parent{
        ::open(("/proc/" + std::to_string(::getppid()) + "/status").c_str(), O_RDONLY)};
    show_locked(parent.get(), std::uint64_t{1} << 40);
    EXPECT_EQ(contents(parent.get()).find("1073741824"), std::string::npos);
    UniqueFd const other{::open("/dev/null", O_RDONLY)};
    show_locked(other.get(), 4096);
    EXPECT_EQ(contents(other.get()), "");
}

}  // namespace
}  // namespace pinfold::preload
