// What a port has learnt of the way to memory: for pages of device address space that it has
// reached, where their bytes are and what it may do there. It saves the walk, not the rules: an
// answer is good under the generation that it was found under, and whoever takes a translation, a
// right or a frame away ends that generation before it waits for the readers. Nothing else has to
// be told.
//
// Neighbouring pages share a slot where their bytes lie as they do. Pages of one block that lie in
// more places than there are slots for them remain unknown; of two blocks that want one slot, the
// later one has it.
//
// Thread safety: any thread, inside the ReadSection in which the generation was asked for and the
// answer is used.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/address.hpp"
#include "base/page_size.hpp"
#include "base/prot.hpp"

namespace pinfold::pci {

class ReachedPages {
public:
    // The byte at `iova`, and how many follow it there: to the end of its 4 KiB page, and those of
    // the pages behind that are known to lie behind it.
    struct Reached {
        std::byte* at;  // nullptr: not known
        std::uint64_t size;
    };
    Reached find(Iova iova, Access access, std::uint64_t generation) const
    {
        std::uint64_t const block = iova.raw() >> kBlockLg2;
        std::size_t const set = set_of(block);
        for (std::size_t way = 0; way < kWays; ++way) {
            Slot const& slot = slots_[set + way];
            // One load for each word, then the sequence again; acquire keeps that order.
            std::uint64_t const sequence = slot.sequence.load(std::memory_order_acquire);
            std::uint64_t const of = slot.block.load(std::memory_order_acquire);
            std::uint64_t const since = slot.generation.load(std::memory_order_acquire);
            std::uint64_t const distance = slot.distance.load(std::memory_order_acquire);
            std::uint64_t const pages = (access == Access::write ? slot.writable : slot.readable)
                                            .load(std::memory_order_acquire);
            if (of != block || since != generation || (pages >> page_of(iova) & 1) == 0) continue;
            if (slot.sequence.load(std::memory_order_relaxed) != sequence || (sequence & 1) != 0)
                break;
            auto const known = static_cast<unsigned>(std::countr_one(pages >> page_of(iova)));
            return {std::bit_cast<std::byte*>(iova.raw() + distance),
                    (std::uint64_t{known} << k4K.lg2()) - (iova.raw() & k4K.mask())};
        }
        return {nullptr, 0};
    }

    // The page that begins at `iova` has its bytes at `at`, and `prot` is what may be done there
    // without asking again.
    void add(Iova iova, std::byte const* at, Prot prot, std::uint64_t generation);

private:
    static constexpr unsigned kBlockLg2 = 18;  // 64 pages of 4 KiB: a bit for each
    // Two rings and the data of a small driver lie in one block, each in a place of its own.
    static constexpr std::size_t kWays = 4;
    static constexpr std::size_t kSlots = 256;
    static constexpr std::uint64_t kNoBlock = ~std::uint64_t{0};

    // A seqlock: odd while somebody writes.
    struct alignas(64) Slot {
        std::atomic<std::uint64_t> sequence{0};
        std::atomic<std::uint64_t> block{kNoBlock};
        std::atomic<std::uint64_t> generation{0};
        std::atomic<std::uint64_t> distance{0};  // from an IOVA to the address of its byte
        std::atomic<std::uint64_t> readable{0}, writable{0};
    };

    static unsigned page_of(Iova iova) { return iova.raw() >> k4K.lg2() & 63; }
    // Folded, so that blocks at strides of powers of two do not share sets.
    static std::size_t set_of(std::uint64_t block)
    {
        return ((block ^ block >> 6 ^ block >> 12) * kWays) & (kSlots - 1);
    }
    Slot* slot_for(std::uint64_t block, std::uint64_t distance, std::uint64_t generation);

    std::array<Slot, kSlots> slots_;
};

}  // namespace pinfold::pci
