// Where LockedMemory's numbers come from: this process as the kernel sees it, or figures that the
// user gave. Thread safe.
#pragma once

#include <cstdint>
#include <optional>

#include "base/range.hpp"
#include "host/locked_memory.hpp"

namespace pinfold::host {

// RLIMIT_MEMLOCK and VmLck of this process, read at each call: both can change at any time. Whether
// CAP_IPC_LOCK counts in the initial user namespace cannot be seen from inside another, so the
// launcher says whether it had it there; it counts as long as the calling thread has it too
// (rule P-4).
class OwnLockSource final : public LockedMemory::Source {
public:
    // `limit_bytes`: instead of RLIMIT_MEMLOCK (--memlock SIZE).
    explicit OwnLockSource(LockCap at_launch, std::optional<std::uint64_t> limit_bytes = {})
        : at_launch_{at_launch}, limit_bytes_{limit_bytes}
    {
    }

    std::uint64_t limit_bytes() override;
    std::uint64_t mlocked_bytes() override;
    LockCap lock_cap() override;

private:
    LockCap at_launch_;
    std::optional<std::uint64_t> limit_bytes_;
};

// How much of `range` the process has locked itself. Nothing is allocated on the heap.
std::uint64_t mlocked_bytes_in(VaddrRange range);

// For embedding programs and tests.
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
