// mm->locked_vm of one process, in host pages, with the limit it is held against. The same counter
// as mlock()'s: what the process has locked itself counts too (rules P-1 to P-9). Thread safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "base/page_size.hpp"
#include "base/result.hpp"

namespace pinfold::host {

// Whether RLIMIT_MEMLOCK binds. `yes` is CAP_IPC_LOCK in the initial user namespace, sampled at MAP
// (rule P-4).
enum class LockCap : bool { no, yes };

class LockedMemory {
public:
    // Where the numbers come from: the process itself, or fixed ones in tests and under --memlock.
    class Source {
    public:
        virtual ~Source() = default;
        virtual std::uint64_t limit_bytes() = 0;    // RLIMIT_MEMLOCK soft; ~0 is unlimited
        virtual std::uint64_t mlocked_bytes() = 0;  // VmLck: what mlock() has locked by itself
        virtual LockCap lock_cap() = 0;
    };

    LockedMemory(Source& source, PageSize host_page);

    LockCap lock_cap() const;

    // The page test of rule P-3: may `pages` more be charged on top of what is charged now?
    // REQUIRES: nothing is kept between this and charge(); charge() decides.
    bool exceeds(std::uint64_t pages, LockCap cap) const;

    // By how many pages `pages` more would pass the limit; 0: by none. For locks that are the
    // kernel's to carry out: mlock() and MAP_LOCKED count on the same counter.
    std::uint64_t excess(std::uint64_t pages, LockCap cap) const;

    // Adds `pages`. ENOMEM: that would pass the limit and `cap` is no; nothing is charged.
    Result<> charge(std::uint64_t pages, LockCap cap);
    void uncharge(std::uint64_t pages);

    // A request that exceeds() stopped at some page would have charged `pages` more from now on;
    // counts in needed_bytes().
    void refused(std::uint64_t pages);

    std::uint64_t charged() const;  // pages charged now by us
    std::uint64_t peak() const;     // the most that was ever charged
    std::uint64_t limit_pages() const;
    std::uint64_t limit_bytes() const;  // as it was set
    // The least limit in bytes under which every charge so far, refused ones included, would have
    // passed. What mlock() had locked is counted where a finite limit was held against it.
    std::uint64_t needed_bytes() const;

private:
    bool unlimited(LockCap cap) const;
    std::uint64_t mlocked_pages() const;

    Source& source_;
    PageSize host_page_;
    std::atomic<std::uint64_t> charged_{0};
    std::atomic<std::uint64_t> peak_{0};
    mutable std::atomic<std::uint64_t> needed_pages_{0};
};

}  // namespace pinfold::host
