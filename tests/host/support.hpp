// Memory in every state that a test of this room needs, unmapped at the end.
#pragma once

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "base/address.hpp"
#include "base/unique_fd.hpp"

namespace pinfold::host {

constexpr std::size_t kPage = 4096;

inline Vaddr vaddr_of(void const* pointer)
{
    return Vaddr{reinterpret_cast<std::uint64_t>(pointer)};
}

class TestMapping {
public:
    explicit TestMapping(std::size_t pages, int prot = PROT_READ | PROT_WRITE,
                         int flags = MAP_PRIVATE | MAP_ANONYMOUS, int fd = -1)
        : size_{pages * kPage},
          start_{static_cast<std::byte*>(::mmap(nullptr, size_, prot, flags, fd, 0))}
    {
    }
    ~TestMapping()
    {
        if (start_ != MAP_FAILED) ::munmap(start_, size_);
    }
    TestMapping(TestMapping&& other) noexcept
        : size_{other.size_},
          start_{std::exchange(other.start_, static_cast<std::byte*>(MAP_FAILED))}
    {
    }
    TestMapping& operator=(TestMapping&&) = delete;

    std::byte* page(std::size_t i) const { return start_ + i * kPage; }
    Vaddr vaddr(std::size_t i = 0) const { return vaddr_of(page(i)); }
    std::size_t size() const { return size_; }
    std::size_t pages() const { return size_ / kPage; }
    void fill(int byte) const { std::memset(start_, byte, size_); }
    bool failed() const { return start_ == MAP_FAILED; }

private:
    std::size_t size_;
    std::byte* start_;
};

inline UniqueFd memory_file(std::size_t pages)
{
    UniqueFd file{::memfd_create("test", MFD_CLOEXEC)};
    if (::ftruncate(file.get(), static_cast<off_t>(pages * kPage)) != 0) return {};
    return file;
}

// By system call, because the sanitizers make mlock() do nothing.
inline bool lock_pages(std::byte* start, std::size_t pages)
{
    return ::syscall(SYS_mlock, start, pages * kPage) == 0;
}
inline bool unlock_pages(std::byte* start, std::size_t pages)
{
    return ::syscall(SYS_munlock, start, pages * kPage) == 0;
}

// Runs `body` in a child process; true if it returned true there.
template <class Body>
bool in_child(Body body)
{
    pid_t const child = ::fork();
    if (child == 0) ::_exit(body() ? 0 : 1);
    int status = -1;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace pinfold::host
