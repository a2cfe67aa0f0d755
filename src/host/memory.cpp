#include "host/memory.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <limits>
#include <mutex>

#include "base/read_section.hpp"
#include "host/aside.hpp"
#include "host/frame_table.hpp"
#include "host/numbering.hpp"
#include "host/raw_memory.hpp"

namespace pinfold::host {
namespace {

// Pages aside that nobody pins any more, freed in batches: each batch waits for the readers once.
class Releases {
public:
    explicit Releases(PageSize page_size) : page_size_{page_size} {}
    ~Releases() { flush(); }
    Releases(Releases const&) = delete;
    Releases& operator=(Releases const&) = delete;

    void add(std::byte* page)
    {
        if (count_ != 0 && runs_[count_ - 1].start + runs_[count_ - 1].size == page) {
            runs_[count_ - 1].size += page_size_.bytes();
            return;
        }
        if (count_ == runs_.size()) flush();
        runs_[count_++] = {page, page_size_.bytes()};
    }

private:
    struct Run {
        std::byte* start;
        std::size_t size;
    };

    void flush()
    {
        if (count_ == 0) return;
        wait_for_readers();
        for (std::size_t i = 0; i < count_; ++i) release_aside(runs_[i].start, runs_[i].size);
        count_ = 0;
    }

    PageSize page_size_;
    std::array<Run, 64> runs_;
    std::size_t count_ = 0;
};

// Homes [first, last].
struct Homes {
    std::uint64_t first;
    std::uint64_t last;
};

}  // namespace

struct Memory::Impl {
    explicit Impl(Options const& options)
        : page_size{options.page_size},
          numbering{options.page_size,
                    options.numbering == FrameNumbering::scattered ? std::optional{options.seed}
                                                                   : std::nullopt,
                    options.paddr_bits},
          table{numbering.index_bits(), options.table_limit_bytes},
          zero_page{numbering.outside_frames().last - page_size.mask()},
          devices{{numbering.outside_frames().start, zero_page - std::uint64_t{1}}}
    {
    }

    std::uint64_t home_of(std::byte const* place) const
    {
        return reinterpret_cast<std::uint64_t>(place) >> page_size.lg2();
    }
    std::byte* page(std::uint64_t home) const { return raw::pointer(home << page_size.lg2()); }
    std::optional<Homes> homes_within(Vaddr start, std::uint64_t size) const;
    std::optional<Homes> discarded(Vaddr start, Homes homes) const;

    std::byte* zeros_at(Paddr paddr) const
    {
        std::byte* const page = zeros.load(std::memory_order_acquire);
        if (page == nullptr || paddr < zero_page || paddr - zero_page > page_size.mask())
            return nullptr;
        return page + (paddr - zero_page);
    }
    Result<bool> pin_foreign(Process& process, VaddrRange range, Intent intent,
                             std::span<Paddr> out);
    Result<Paddr> pin_page(std::byte* place);
    Slot* make_frame(std::uint64_t home, std::uint64_t& index);
    void unpin_page(std::uint64_t index, Releases& releases);

    void end_generation();
    bool mark_moving(Homes homes);
    bool take_aside(Homes homes, Leaving leaving);
    bool take_run_aside(std::uint64_t home, std::uint64_t pages, Leaving leaving);
    void publish_moved(Homes homes);
    void undo_moves(Homes homes);
    void settle_at(Homes homes, std::uint64_t new_first);

    PageSize page_size;
    Numbering numbering;
    FrameTable table;
    std::mutex mutex;  // all but at()
    Paddr zero_page;   // the last one outside the frames
    std::atomic<std::byte*> zeros{nullptr};
    DeviceWindows devices;
    std::atomic<std::uint64_t> generation{0};
    std::atomic<std::uint64_t> pinned{0};
    std::atomic<std::uint64_t> peak{0};
    std::atomic<std::uint64_t> moved{0};
};

Memory::Memory(Options options)
    : impl_{std::make_unique<Impl>(options)}, generation_{&impl_->generation}
{
}

// REQUIRES: no reader is left. What is still pinned aside goes too.
Memory::~Memory()
{
    impl_->table.for_each_slot([this](Slot& slot) {
        if ((slot.place.load(std::memory_order_relaxed) & Slot::kAside) == 0) return;
        release_aside(slot.bytes(), impl_->page_size.bytes());
    });
    if (impl_->zeros != nullptr) release_aside(impl_->zeros, impl_->page_size.bytes());
}

PageSize Memory::page_size() const { return impl_->page_size; }

// ---------------------------------------------------------------------------------------- pinning

namespace {

// How many of `pages` pages from `vaddr` on can be pinned: in one call where all can. What lies
// before the first bad page can, so the border is found by halving.
Result<std::size_t> fault_in_front(Process& process, Vaddr vaddr, PageSize page_size,
                                   std::size_t pages, Intent intent)
{
    auto const front = [&](std::size_t count) {
        return process.fault_in({vaddr, vaddr + (count * page_size.bytes() - 1)}, intent);
    };
    auto const all = front(pages);
    if (all) return pages;
    if (pages == 1) return fail(all.error());
    TRY(front(1));
    std::size_t good = 1;
    std::size_t bad = pages;
    while (bad - good > 1) {
        std::size_t const middle = good + (bad - good) / 2;
        (front(middle) ? good : bad) = middle;
    }
    return good;
}

constexpr Paddr kNoFrame{~std::uint64_t{0}};

}  // namespace

Result<std::size_t> Memory::pin(Process& process, Vaddr vaddr, Intent intent, std::span<Paddr> out)
{
    assert(!out.empty() && impl_->page_size.aligned(vaddr.raw()));
    // No further than 2^64; the process has a say about what lies below.
    std::uint64_t const room = (~vaddr.raw() >> impl_->page_size.lg2()) + 1;
    auto const asked = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), room));
    std::size_t const pages = TRY(fault_in_front(process, vaddr, impl_->page_size, asked, intent));

    std::scoped_lock const lock{impl_->mutex};
    VaddrRange const range{vaddr, vaddr + (pages * impl_->page_size.bytes() - 1)};
    bool const foreign = TRY(impl_->pin_foreign(process, range, intent, out.first(pages)));
    for (std::size_t i = 0; i < pages; ++i) {
        if (foreign && out[i] != kNoFrame) continue;
        std::byte* const place = process.local(vaddr + i * impl_->page_size.bytes());
        auto const paddr = impl_->pin_page(place);
        if (paddr) {
            out[i] = *paddr;
        } else if (i == 0) {
            return fail(paddr.error());
        } else {
            return i;
        }
    }
    return pages;
}

// Fills in the pages that are no frames, and the others with kNoFrame. False: there are none, and
// `out` is untouched.
Result<bool> Memory::Impl::pin_foreign(Process& process, VaddrRange range, Intent intent,
                                       std::span<Paddr> out)
{
    bool any = false;
    bool zero = false;
    process.for_each_foreign(range, intent, [&](Process::Foreign const& found) {
        if (!std::exchange(any, true)) std::ranges::fill(out, kNoFrame);
        zero = zero || !found.device;
        std::size_t const first = (found.range.start - range.start) >> page_size.lg2();
        std::size_t const count = found.range.size() >> page_size.lg2();
        for (std::size_t i = 0; i < count; ++i)
            out[first + i] = found.device ? *found.device + i * page_size.bytes() : zero_page;
    });
    if (zero && zeros.load(std::memory_order_relaxed) == nullptr) {
        std::byte* const fresh = raw::map_anonymous(page_size.bytes(), PROT_READ);
        if (fresh == nullptr) return fail(Errno::nomem);
        zeros.store(fresh, std::memory_order_release);
    }
    return any;
}

Result<Paddr> Memory::Impl::pin_page(std::byte* place)
{
    if (place == nullptr) return fail(Errno::fault);
    std::uint64_t const home = home_of(place);
    Slot* const at_home = table.grow(home);
    if (at_home == nullptr) return fail(Errno::nomem);

    if (at_home->tenant != 0) {
        std::uint64_t const index = at_home->tenant - 1;
        Slot& frame = *table.find(index);
        if (frame.pins == std::numeric_limits<std::uint32_t>::max()) return fail(Errno::nomem);
        ++frame.pins;
        return numbering.paddr(index);
    }

    std::uint64_t index = 0;
    Slot* const frame = make_frame(home, index);
    if (frame == nullptr) return fail(Errno::nomem);
    frame->pins = 1;
    frame->place.store(reinterpret_cast<std::uint64_t>(place), std::memory_order_release);
    at_home->tenant = index + 1;
    std::uint64_t const now = pinned.fetch_add(1, std::memory_order_relaxed) + 1;
    if (now > peak.load(std::memory_order_relaxed)) peak.store(now, std::memory_order_relaxed);
    return numbering.paddr(index);
}

// A slot without a frame, for the page at `home`. nullptr: none.
Slot* Memory::Impl::make_frame(std::uint64_t home, std::uint64_t& index)
{
    for (std::uint64_t attempt = 0;; ++attempt) {
        auto const candidate = numbering.candidate(home, attempt);
        if (!candidate) return nullptr;
        if (!numbering.names_frame(*candidate)) continue;
        Slot* const slot = table.grow(*candidate);
        if (slot == nullptr) return nullptr;
        if (slot->pins != 0) continue;
        index = *candidate;
        return slot;
    }
}

void Memory::unpin(Paddr first, std::size_t pages)
{
    Releases releases{impl_->page_size};
    std::scoped_lock const lock{impl_->mutex};
    for (std::size_t i = 0; i < pages; ++i) {
        auto const index = impl_->numbering.index(first + i * impl_->page_size.bytes());
        if (index) impl_->unpin_page(*index, releases);
    }
}

void Memory::Impl::unpin_page(std::uint64_t index, Releases& releases)
{
    Slot* const frame = table.find(index);
    assert(frame != nullptr && frame->pins != 0);
    if (frame == nullptr || frame->pins == 0) return;
    if (--frame->pins != 0) return;

    std::byte* const bytes = frame->bytes();
    bool const aside = (frame->place.exchange(0, std::memory_order_acq_rel) & Slot::kAside) != 0;
    end_generation();
    pinned.fetch_sub(1, std::memory_order_relaxed);
    if (aside) {
        releases.add(bytes);
        return;
    }
    Slot* const at_home = table.find(home_of(bytes));
    if (at_home != nullptr && at_home->tenant == index + 1) at_home->tenant = 0;
}

// ----------------------------------------------------------------------------------------- access

std::byte* Memory::at(Paddr paddr) const
{
    auto const index = impl_->numbering.index(paddr);
    if (!index) return impl_->zeros_at(paddr);
    Slot const* const slot = impl_->table.find(*index);
    if (slot == nullptr) return nullptr;
    std::uint64_t const place = slot->place.load(std::memory_order_acquire);
    if (place == 0 || (place & Slot::kMoving) != 0) return nullptr;
    return raw::pointer(place & ~Slot::kFlags) + (paddr.raw() & impl_->page_size.mask());
}

bool Memory::reserved(Paddr paddr) const
{
    return impl_->numbering.outside_frames().contains(paddr);
}

std::size_t Memory::reserved_alike(Paddr first, std::size_t pages) const
{
    PaddrRange const outside = impl_->numbering.outside_frames();
    if (first > outside.last) return pages;
    std::uint64_t const rest =
        outside.contains(first) ? outside.last - first + 1 : outside.start - first;
    return std::min<std::uint64_t>(pages, rest >> impl_->page_size.lg2());
}

DeviceWindows& Memory::devices() { return impl_->devices; }
DeviceWindows const& Memory::devices() const { return impl_->devices; }

// Whoever moves frames holds the mutex until they have settled.
void Memory::settle() { std::scoped_lock const lock{impl_->mutex}; }

// ----------------------------------------------------------------------------------------- moving

// The pages that [start, start + size) covers whole; the end counts as rounded up to the page of
// the machine below, as munmap() has it.
std::optional<Homes> Memory::Impl::homes_within(Vaddr start, std::uint64_t size) const
{
    constexpr std::uint64_t kUserEnd = std::uint64_t{1} << Numbering::kVaddrBits;
    if (start.raw() >= kUserEnd || size == 0) return std::nullopt;
    std::uint64_t const end = k4K.align_up(start.raw() + std::min(size, kUserEnd - start.raw()));
    std::uint64_t const first = page_size.align_up(start.raw()) >> page_size.lg2();
    std::uint64_t const past = end >> page_size.lg2();
    if (first >= past) return std::nullopt;
    return Homes{first, past - 1};
}

bool Memory::pins_any(Vaddr start, std::uint64_t size) const
{
    auto const homes = impl_->homes_within(start, size);
    if (!homes || pinned_pages() == 0) return false;
    std::scoped_lock const lock{impl_->mutex};
    bool any = false;
    impl_->table.for_each_tenant(homes->first, homes->last,
                                 [&](std::uint64_t, Slot&) { any = true; });
    return any;
}

// What of `homes` madvise(MADV_DONTNEED) from `start` on takes away: it ends, with EINVAL, at the
// first memory that it does not apply to, mlock()ed or hugetlb, and so does MADV_COLD, which takes
// nothing away.
std::optional<Homes> Memory::Impl::discarded(Vaddr start, Homes homes) const
{
    auto const ends_before = [&](std::uint64_t past) {
        std::uint64_t const size = (past << page_size.lg2()) - start.raw();
        return raw::madvise(raw::pointer(start.raw()), size, MADV_COLD) != 0 && errno == EINVAL;
    };
    if (!ends_before(homes.last + 1)) return homes;
    if (ends_before(homes.first + 1)) return std::nullopt;
    std::uint64_t good = homes.first;
    std::uint64_t bad = homes.last;
    while (bad - good > 1) {
        std::uint64_t const middle = good + (bad - good) / 2;
        (ends_before(middle + 1) ? bad : good) = middle;
    }
    return Homes{homes.first, good};
}

Result<> Memory::withdraw(Vaddr start, std::uint64_t size, Leaving leaving)
{
    auto homes = impl_->homes_within(start, size);
    if (!homes || pinned_pages() == 0) return {};
    std::scoped_lock const lock{impl_->mutex};
    if (leaving == Leaving::discard) homes = impl_->discarded(start, *homes);
    if (!homes || !impl_->mark_moving(*homes)) return {};
    wait_for_readers();
    if (!impl_->take_aside(*homes, leaving)) {
        impl_->undo_moves(*homes);
        return fail(Errno::nomem);
    }
    impl_->publish_moved(*homes);
    return {};
}

// What was taken away before it is gone for whoever sees the new one. REQUIRES: the mutex.
void Memory::Impl::end_generation()
{
    generation.store(generation.load(std::memory_order_relaxed) + 1, std::memory_order_release);
}

// From here on at() sends new readers to settle(). False: nothing is pinned there.
bool Memory::Impl::mark_moving(Homes homes)
{
    bool any = false;
    table.for_each_tenant(homes.first, homes.last, [&](std::uint64_t, Slot& frame) {
        frame.place.fetch_or(Slot::kMoving, std::memory_order_acq_rel);
        any = true;
    });
    if (any) end_generation();
    return any;
}

// Moves each run of pinned pages; frames that have moved carry kAside. False: some could not.
bool Memory::Impl::take_aside(Homes homes, Leaving leaving)
{
    std::uint64_t first = 0;
    std::uint64_t pages = 0;
    bool good = true;
    table.for_each_tenant(homes.first, homes.last, [&](std::uint64_t home, Slot&) {
        if (pages != 0 && home != first + pages) {
            good = good && take_run_aside(first, pages, leaving);
            pages = 0;
        }
        if (pages++ == 0) first = home;
    });
    return good && (pages == 0 || take_run_aside(first, pages, leaving));
}

// In one piece if the kernel can, else in halves: a run may span mappings that do not merge.
bool Memory::Impl::take_run_aside(std::uint64_t home, std::uint64_t pages, Leaving leaving)
{
    std::byte* const from = page(home);
    std::size_t const size = pages * page_size.bytes();
    bool const copied = leaving == Leaving::punch;
    std::byte* aside = copied ? copy_aside(from, size) : move_aside(from, size);
    if (aside == nullptr && pages > 1) {
        return take_run_aside(home, pages / 2, leaving) &&
               take_run_aside(home + pages / 2, pages - pages / 2, leaving);
    }
    if (aside == nullptr && !copied && page_size != k4K) aside = move_parts_aside(from, size);
    if (aside == nullptr) aside = copy_aside(from, size);
    if (aside == nullptr) return false;
    table.for_each_tenant(home, home + pages - 1, [&](std::uint64_t at, Slot& frame) {
        auto const place = reinterpret_cast<std::uint64_t>(aside + (at - home) * page_size.bytes());
        frame.place.store(place | Slot::kAside | Slot::kMoving, std::memory_order_relaxed);
    });
    return true;
}

void Memory::Impl::publish_moved(Homes homes)
{
    table.for_each_tenant(homes.first, homes.last, [&](std::uint64_t home, Slot& frame) {
        auto const before = frame.place.fetch_and(~Slot::kMoving, std::memory_order_acq_rel);
        if ((before & Slot::kAside) == 0) return;
        table.find(home)->tenant = 0;
        moved.fetch_add(1, std::memory_order_relaxed);
    });
}

void Memory::Impl::undo_moves(Homes homes)
{
    table.for_each_tenant(homes.first, homes.last, [&](std::uint64_t home, Slot& frame) {
        if ((frame.place.load(std::memory_order_relaxed) & Slot::kAside) != 0) {
            bring_back(frame.bytes(), page_size.bytes(), page(home));
        }
        frame.place.store(reinterpret_cast<std::uint64_t>(page(home)), std::memory_order_release);
    });
}

void Memory::follow(Vaddr from, std::uint64_t size, FunctionRef<std::optional<Vaddr>()> remap)
{
    auto const homes = impl_->homes_within(from, size);
    if (!homes || pinned_pages() == 0) {
        remap();
        return;
    }
    std::scoped_lock const lock{impl_->mutex};
    if (impl_->mark_moving(*homes)) wait_for_readers();
    auto const to = remap();
    impl_->settle_at(*homes, to ? (to->raw() >> impl_->page_size.lg2()) : homes->first);
}

// A page that finds no slot at its new home is out of sight for withdraw(), and no more than that.
void Memory::Impl::settle_at(Homes homes, std::uint64_t new_first)
{
    table.for_each_tenant(homes.first, homes.last, [&](std::uint64_t home, Slot& frame) {
        std::uint64_t const new_home = new_first + (home - homes.first);
        Slot& at_home = *table.find(home);
        std::uint64_t const tenant = std::exchange(at_home.tenant, 0);
        if (Slot* const there = table.grow(new_home)) there->tenant = tenant;
        frame.place.store(reinterpret_cast<std::uint64_t>(page(new_home)),
                          std::memory_order_release);
    });
}

// --------------------------------------------------------------------------------------- counters

std::uint64_t Memory::pinned_pages() const { return impl_->pinned.load(std::memory_order_relaxed); }
std::uint64_t Memory::peak_pinned_pages() const
{
    return impl_->peak.load(std::memory_order_relaxed);
}
std::uint64_t Memory::moved_pages() const { return impl_->moved.load(std::memory_order_relaxed); }

}  // namespace pinfold::host
