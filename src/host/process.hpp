// The process on whose behalf a call is made: its memory and its locked-memory account. It may be
// the process that the engine lives in or another, which is reached by messages and through its
// /proc/PID/mem. Thread safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/address.hpp"
#include "base/function_ref.hpp"
#include "base/range.hpp"
#include "base/result.hpp"
#include "host/mm.hpp"

namespace pinfold::host {

// How the kernel's log names a process: task_struct's comm and pid.
struct Task {
    std::array<char, 16> comm{};  // ends at the first NUL
    int pid = 0;
};

// What a pin is for: an IOMMU mapping that the device may write pins for write (rule M-8).
enum class Intent { read, write };

class Process {
public:
    virtual ~Process() = default;

    // copy_from_user and copy_to_user. EFAULT: some byte is not accessible; bytes before it may be
    // copied.
    virtual Result<> read(Vaddr from, std::span<std::byte> into) = 0;
    virtual Result<> write(Vaddr to, std::span<std::byte const> from) = 0;

    // Faults the pages of `range` in as get_user_pages(FOLL_LONGTERM) would: copy-on-write broken
    // early for both intents. EFAULT: a hole, PROT_NONE, or memory without the right that `intent`
    // asks for, past the end of a file. ENOMEM: no memory. Rules 3.3. `range` is of whole pages.
    virtual Result<> fault_in(VaddrRange range, Intent intent) = 0;

    // Pages that have just been faulted in for `intent` and are no memory of the process's own.
    // They cannot be locked, and are charged to nobody (rules 3.3 and P-8).
    struct Foreign {
        VaddrRange range;             // of whole host pages
        std::optional<Paddr> device;  // where a device has them; nullopt: each is the zero page
    };
    virtual void for_each_foreign(VaddrRange, Intent, FunctionRef<void(Foreign const&)>) {}

    // What outlives this process. mm->locked_vm, RLIMIT_MEMLOCK and CAP_IPC_LOCK (rules P-1 to P-7)
    // are in it.
    virtual std::shared_ptr<Mm> const& mm() = 0;
    LockedMemory& locked_memory() { return mm()->locked_memory; }

    // The leader of its threads.
    virtual Task task() const = 0;

    // Where read_pinned() and write_pinned() reach this process's page at `vaddr`; nullptr if they
    // cannot.
    virtual std::byte* local(Vaddr vaddr) = 0;
};

}  // namespace pinfold::host
