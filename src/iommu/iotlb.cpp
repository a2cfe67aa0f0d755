#include "iommu/iotlb.hpp"

namespace pinfold::iommu {

std::uint64_t Iotlb::bits(Written written)
{
    if (written == Written::unasked) return kUnasked;
    return written == Written::yes ? kWritten : 0;
}

// A fill takes the slot and then looks at the generation; an invalidation raises the generation and
// then looks at the slots. Both orders are sequentially consistent, so at least one of the two sees
// the other: the fill drops its entry, or the invalidation waits for it and removes it.
void Iotlb::fill(Iova iova, IovaRange leaf, Paddr paddr, Prot prot, Written written,
                 std::uint64_t generation)
{
    // Not an atomic increment: a lost count costs less than a locked instruction.
    misses_.store(misses_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    // The block or the page that was asked for; of a page, what lies in the leaf.
    Iova const block{iova.raw() & ~k2M.mask()};
    bool const large = written == Written::unasked && leaf.contains(block) &&
                       leaf.contains(Iova{block.raw() | k2M.mask()});
    Iova const start = large ? block : Iova{iova.raw() & ~kPageMask};
    Slot& page = slots_[index(iova, k4K, kEntries)];
    // What the page says of writes, that nobody asks for any more, would be found first.
    if (large) drop(page, {iova, iova});
    Slot& slot = large ? blocks_[index(iova, k2M, kBlocks)] : page;
    std::uint64_t sequence = slot.sequence.load();
    if ((sequence & 1) != 0 || !slot.sequence.compare_exchange_strong(sequence, sequence + 1))
        return;  // another thread fills it: as good as ours

    if (generation_.load() == generation && leaf.contains(start))
        write(slot, start.raw() | kValid | bits(written) | static_cast<std::uint64_t>(prot),
              (paddr + (start - leaf.start)).raw(), leaf.last.raw());
    slot.sequence.store(sequence + 2, std::memory_order_release);
}

void Iotlb::invalidate(Invalidation const& what)
{
    generation_.fetch_add(1);
    drop_all(slots_, k4K, what);
    drop_all(blocks_, k2M, what);
    // Whoever sees this one does not see what was dropped.
    generation_.fetch_add(1);
}

// An entry of a page or block outside of what the leaves cover cannot reach into the range.
void Iotlb::drop_all(std::span<Slot> slots, PageSize unit, Invalidation const& what)
{
    auto const [start, last] = what.covered();
    std::uint64_t const first = start.raw() >> unit.lg2();
    std::uint64_t const more = (last.raw() >> unit.lg2()) - first;
    if (more >= slots.size()) {
        for (Slot& slot : slots) drop(slot, what.range);
        return;
    }
    for (std::uint64_t i = 0; i <= more; ++i)
        drop(slots[index(Iova{(first + i) << unit.lg2()}, unit, slots.size())], what.range);
}

void Iotlb::invalidate_all() { invalidate({{Iova{0}, Iova{~std::uint64_t{0}}}, {}, true}); }

// Takes what the slot holds away if it overlaps `range`.
void Iotlb::drop(Slot& slot, IovaRange range)
{
    std::uint64_t sequence = slot.sequence.load();
    while ((sequence & 1) != 0) sequence = slot.sequence.load();
    if (!overlaps(slot.tag.load(), slot.last.load(), range)) return;

    // A fill that comes in between has seen the new generation, and drops its entry.
    while ((sequence & 1) != 0 || !slot.sequence.compare_exchange_weak(sequence, sequence + 1))
        sequence = slot.sequence.load();
    write(slot, 0, 0, 0);
    slot.sequence.store(sequence + 2);
}

// Whether what the slot holds, from its start to the end of the leaf, is touched by `range`.
bool Iotlb::overlaps(std::uint64_t tag, std::uint64_t last, IovaRange range)
{
    if ((tag & kValid) == 0) return false;
    return IovaRange{Iova{tag & ~kPageMask}, Iova{last}}.overlaps(range);
}

// REQUIRES: slot.sequence is odd, by the caller.
void Iotlb::write(Slot& slot, std::uint64_t tag, std::uint64_t raw_paddr, std::uint64_t last)
{
    slot.tag.store(tag, std::memory_order_release);
    slot.paddr.store(raw_paddr, std::memory_order_release);
    slot.last.store(last, std::memory_order_release);
}

}  // namespace pinfold::iommu
