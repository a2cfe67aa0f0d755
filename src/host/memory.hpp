// The host's memory as the IOMMU sees it: frames. A paddr names a frame; the frame table says where
// that frame's bytes are now. Pages become frames by being pinned and stay reachable, as the page
// that was pinned, until the last pin goes, whatever the process does to the address range
// meanwhile (see withdraw()).
//
// Thread safety: all from any thread. at() only inside a ReadSection, and what it returns is good
// until that section ends; everything else outside of one, for it may wait for the readers. Bytes
// are copied by read_pinned() and write_pinned(), or guarded_copy(): the process can pull memory
// away unseen.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/address.hpp"
#include "base/function_ref.hpp"
#include "base/page_size.hpp"
#include "base/result.hpp"
#include "host/device_memory.hpp"
#include "host/process.hpp"

namespace pinfold::host {

// How frames get their numbers. `contiguous`: the number of the page's first address wherever that
// is free, so paddrs are as contiguous as vaddrs and large leaves appear wherever a real host would
// allow them at best. `scattered`: a seeded permutation, which shows what fragmentation costs.
enum class FrameNumbering { contiguous, scattered };

class Memory {
public:
    struct Options {
        PageSize page_size = k4K;
        FrameNumbering numbering = FrameNumbering::contiguous;
        std::uint64_t seed = 0;
        // How wide a paddr is: 48, 50 or 52; what every IOMMU of the machine can hold.
        unsigned paddr_bits = 52;
        // The frame table grows no larger than this (0.6 % of what is pinned, or ever was).
        std::uint64_t table_limit_bytes = ~std::uint64_t{0};
    };
    explicit Memory(Options options);
    ~Memory();
    Memory(Memory const&) = delete;
    Memory& operator=(Memory const&) = delete;

    PageSize page_size() const;

    // Faults in and pins up to out.size() pages from `vaddr` (aligned to the host page) on; out[i]
    // becomes the paddr of page i. Returns how many were pinned, at least 1: like pin_user_pages, a
    // failure after the first page ends the run early and is reported by the next call. Errors are
    // those of Process::fault_in for the first page; ENOMEM also where the frame table cannot grow.
    // A page that is pinned twice is one frame.
    Result<std::size_t> pin(Process& process, Vaddr vaddr, Intent intent, std::span<Paddr> out);

    // Drops one pin of each of `pages` frames from `first` on (consecutive paddrs).
    void unpin(Paddr first, std::size_t pages);

    // The bytes of a frame, from `paddr` to the end of its page. nullptr: no such frame (a wild
    // paddr in a page table), or it is being moved right now: leave the section, call settle(), try
    // again once. REQUIRES: inside a ReadSection.
    std::byte* at(Paddr paddr) const;
    void settle();

    // What at() returned is good for longer than a section, while this stays the same: it grows
    // before what frames are taken away or moved is waited for. REQUIRES: asked for inside a
    // ReadSection, in which the address is used, and for at()'s answer before at() is.
    std::uint64_t generation() const { return generation_->load(std::memory_order_acquire); }

    // True: `paddr` is no memory that a process could lock: the zero page, or a device's. Such
    // pages are pinned and unpinned like others and charged to nobody (rules P-8, M-15).
    bool reserved(Paddr paddr) const;
    // How many of `pages` consecutive ones from `first` on are reserved as it is, or are not: 1 at
    // least.
    std::size_t reserved_alike(Paddr first, std::size_t pages) const;

    // Where devices' memory lies: paddrs that no frame has. at() knows nothing of them.
    DeviceWindows& devices();
    DeviceWindows const& devices() const;

    // True: some page in [start, start + size) is pinned.
    bool pins_any(Vaddr start, std::uint64_t size) const;

    // Called before the process unmaps, replaces, discards or punches [start, start + size): pinned
    // pages there are moved aside, to memory of the engine's, so that devices keep reaching the old
    // page. The range itself stays mapped, reading as fresh memory, until the process's own call
    // takes it. ENOMEM: no place to move them to; nothing has moved. A host page of which the range
    // covers only a part stays where it is. Allocates nothing on the heap.
    //   unmap    munmap(), mmap(MAP_FIXED), the tail that mremap() cuts off.
    //   discard  madvise(MADV_DONTNEED) and its like. Pages that it does not apply to (mlock()ed,
    //            hugetlb) stay.
    //   punch    madvise(MADV_REMOVE): the file lets go of its pages too, so devices get copies.
    // Not seen, so not held: files truncated or punched through a descriptor, MADV_FREE under
    // memory pressure, and whatever the process asks of the kernel directly.
    enum class Leaving { unmap, discard, punch };
    Result<> withdraw(Vaddr start, std::uint64_t size, Leaving leaving);

    // Around the process's mremap() of pages that it keeps: `remap` carries it out and returns
    // where the pages of [from, from + size) are now; nullopt: it failed. Frames go with their
    // pages. What the process overwrites at the new place is withdrawn (unmap) by the caller first.
    void follow(Vaddr from, std::uint64_t size, FunctionRef<std::optional<Vaddr>()> remap);

    std::uint64_t pinned_pages() const;  // frames with at least one pin
    std::uint64_t peak_pinned_pages() const;
    std::uint64_t moved_pages() const;  // frames that were ever moved aside

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
    std::atomic<std::uint64_t> const* generation_;  // impl_'s, without a call
};

}  // namespace pinfold::host
