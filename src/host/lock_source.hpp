// Where LockedMemory's numbers come from: this process as the kernel sees it, or figures that the
// user gave. Thread safe.
#pragma once

#include <cstdint>

#include "host/locked_memory.hpp"

namespace pinfold::host {

// RLIMIT_MEMLOCK and VmLck of this process, read at each call: both can change at any time. Whether
// CAP_IPC_LOCK is held in the initial user namespace cannot be seen from inside another, so the
// launcher says it.
class OwnLockSource final : public LockedMemory::Source {
public:
    explicit OwnLockSource(LockCap cap) : cap_{cap} {}

    std::uint64_t limit_bytes() override;
    std::uint64_t mlocked_bytes() override;
    LockCap lock_cap() override { return cap_; }

private:
    LockCap cap_;
};

// --memlock SIZE, and tests.
class FixedLockSource final : public LockedMemory::Source {
public:
    explicit FixedLockSource(std::uint64_t limit_bytes, LockCap cap = LockCap::no,
                             std::uint64_t mlocked_bytes = 0)
        : limit_bytes_{limit_bytes}, cap_{cap}, mlocked_bytes_{mlocked_bytes}
    {
    }

    std::uint64_t limit_bytes() override { return limit_bytes_; }
    std::uint64_t mlocked_bytes() override { return mlocked_bytes_; }
    LockCap lock_cap() override { return cap_; }

private:
    std::uint64_t limit_bytes_;
    LockCap cap_;
    std::uint64_t mlocked_bytes_;
};

}  // namespace pinfold::host
