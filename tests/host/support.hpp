// Memory in every state that a test of this room needs, unmapped at the end.
#pragma once

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/address.hpp"
#include "base/unique_fd.hpp"

namespace pinfold::host {

constexpr std::size_t kPage = 4096;

inline Vaddr vaddr_of(void const* pointer)
{
    return Vaddr{reinterpret_cast<std::uint64_t>(pointer)};
}

// The destructor leaves alone what unmap() has unmapped: something else may be there by now.
class TestMapping {
public:
    explicit TestMapping(std::size_t pages, int prot = PROT_READ | PROT_WRITE,
                         int flags = MAP_PRIVATE | MAP_ANONYMOUS, int fd = -1)
        : mapped_(pages, true),
          start_{static_cast<std::byte*>(::mmap(nullptr, pages * kPage, prot, flags, fd, 0))}
    {
        if (failed()) mapped_.assign(pages, false);
    }
    ~TestMapping()
    {
        for (std::size_t i = 0; i < mapped_.size(); ++i) unmap(i, 1);
    }
    TestMapping(TestMapping const&) = delete;
    TestMapping& operator=(TestMapping const&) = delete;

    std::byte* page(std::size_t i) const { return start_ + i * kPage; }
    Vaddr vaddr(std::size_t i = 0) const { return vaddr_of(page(i)); }
    std::size_t size() const { return mapped_.size() * kPage; }
    std::size_t pages() const { return mapped_.size(); }
    void fill(int byte) const { std::memset(start_, byte, size()); }
    bool failed() const { return start_ == MAP_FAILED; }

    void unmap(std::size_t first, std::size_t pages)
    {
        std::size_t past = first;
        while (past < first + pages && mapped_[past]) mapped_[past++] = false;
        if (past != first) ::munmap(page(first), (past - first) * kPage);
    }
    // The process has moved these pages away.
    void forget(std::size_t first, std::size_t pages)
    {
        for (std::size_t i = first; i < first + pages; ++i) mapped_[i] = false;
    }

private:
    std::vector<bool> mapped_;
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
