// A file descriptor that is closed once.
//
// A program that shares its descriptor table with code which is not its own (the engine inside a
// client) can keep all its descriptors out of the way: it sets a FdKeeper, and every UniqueFd
// passes through it.
#pragma once

#include <unistd.h>

#include <atomic>
#include <utility>

namespace pinfold {

struct FdKeeper {
    // May move the descriptor: returns the number to use from now on.
    int (*keep)(int fd);
    // The descriptor is about to be closed.
    void (*closing)(int fd);
};

class UniqueFd {
public:
    constexpr UniqueFd() = default;
    explicit UniqueFd(int fd) : fd_{fd}
    {
        FdKeeper const* const keeper = keeper_.load(std::memory_order_acquire);
        if (fd_ >= 0 && keeper != nullptr) fd_ = keeper->keep(fd_);
    }
    UniqueFd(UniqueFd&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
    UniqueFd& operator=(UniqueFd&& other) noexcept
    {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~UniqueFd()
    {
        if (fd_ < 0) return;
        FdKeeper const* const keeper = keeper_.load(std::memory_order_acquire);
        if (keeper != nullptr) keeper->closing(fd_);
        ::close(fd_);
    }

    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }
    int release() { return std::exchange(fd_, -1); }

    // For every UniqueFd from now on. `keeper` lives as long as the program.
    static void set_keeper(FdKeeper const* keeper)
    {
        keeper_.store(keeper, std::memory_order_release);
    }

private:
    inline static std::atomic<FdKeeper const*> keeper_{nullptr};

    int fd_ = -1;
};

}  // namespace pinfold
