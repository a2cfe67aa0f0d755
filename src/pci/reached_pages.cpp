#include "pci/reached_pages.hpp"

namespace pinfold::pci {

// The slot that these pages are in, or one that is free for them. nullptr: there is none.
ReachedPages::Slot* ReachedPages::slot_for(std::uint64_t block, std::uint64_t distance,
                                           std::uint64_t generation)
{
    std::size_t const set = set_of(block);
    Slot* stale = nullptr;
    Slot* other = nullptr;
    for (std::size_t way = 0; way < kWays; ++way) {
        Slot& slot = slots_[set + way];
        bool const current = slot.generation.load(std::memory_order_relaxed) == generation;
        bool const same = slot.block.load(std::memory_order_relaxed) == block;
        if (current && same && slot.distance.load(std::memory_order_relaxed) == distance)
            return &slot;
        // The first way is the one that is looked at first. Of pages in one block that lie in more
        // places than there are ways, the first ones win; what one block takes from another in a
        // full set is its own way.
        if (!current && stale == nullptr) stale = &slot;
        if (!same && way == block % kWays) other = &slot;
    }
    return stale != nullptr ? stale : other;
}

void ReachedPages::add(Iova iova, std::byte const* at, Prot prot, std::uint64_t generation)
{
    std::uint64_t const block = iova.raw() >> kBlockLg2;
    std::uint64_t const distance = std::bit_cast<std::uint64_t>(at) - iova.raw();
    Slot* const slot = slot_for(block, distance, generation);
    if (slot == nullptr) return;
    std::uint64_t sequence = slot->sequence.load(std::memory_order_acquire);
    if ((sequence & 1) != 0 || !slot->sequence.compare_exchange_strong(sequence, sequence + 1))
        return;  // another thread learns something: this can be learnt again

    bool const joins = slot->block.load(std::memory_order_relaxed) == block &&
                       slot->generation.load(std::memory_order_relaxed) == generation &&
                       slot->distance.load(std::memory_order_relaxed) == distance;
    std::uint64_t const page = std::uint64_t{1} << page_of(iova);
    auto const with = [&](std::atomic<std::uint64_t> const& pages, Access access) {
        std::uint64_t const before = joins ? pages.load(std::memory_order_relaxed) : 0;
        return allows(prot, access) ? before | page : before & ~page;
    };
    std::uint64_t const readable = with(slot->readable, Access::read);
    std::uint64_t const writable = with(slot->writable, Access::write);
    slot->block.store(block, std::memory_order_release);
    slot->generation.store(generation, std::memory_order_release);
    slot->distance.store(distance, std::memory_order_release);
    slot->readable.store(readable, std::memory_order_release);
    slot->writable.store(writable, std::memory_order_release);
    slot->sequence.store(sequence + 2, std::memory_order_release);
}

}  // namespace pinfold::pci
