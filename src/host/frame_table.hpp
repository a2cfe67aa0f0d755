// The frame table: a radix of slots by index (see numbering.hpp), three levels deep, grown as
// needed. A slot serves two purposes. As a frame it says where that frame's bytes are and how many
// pins hold it; as the home of a page it names the frame that lives on that page, its tenant.
//
// Thread safety: find() and place from any thread; all else under the owner's mutex. Nothing is
// taken out of the table before it dies. Its memory comes from the kernel, not from the heap, whose
// owner may be what called; parts that nobody touches cost nothing.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/function_ref.hpp"
#include "host/raw_memory.hpp"

namespace pinfold::host {

struct Slot {
    // place: the address of the frame's first byte, 0 where there is no frame, and these bits.
    static constexpr std::uint64_t kMoving = 1;  // about to be elsewhere
    static constexpr std::uint64_t kAside = 2;   // in memory of the engine's
    static constexpr std::uint64_t kFlags = kMoving | kAside;

    std::atomic<std::uint64_t> place;
    std::uint64_t tenant;  // index + 1 of the frame on this page; 0: none
    std::uint32_t pins;

    std::byte* bytes() const
    {
        return raw::pointer(place.load(std::memory_order_relaxed) & ~kFlags);
    }
};

class FrameTable {
public:
    // `index_bits` bound the indices; the table takes no more than `limit_bytes`.
    FrameTable(unsigned index_bits, std::uint64_t limit_bytes);
    ~FrameTable();
    FrameTable(FrameTable const&) = delete;
    FrameTable& operator=(FrameTable const&) = delete;

    // nullptr: never grown there. REQUIRES: index < 2^index_bits.
    Slot* find(std::uint64_t index) const
    {
        Middle* const middle = at(root_, index >> (kChunkBits + kMiddleBits));
        if (middle == nullptr) return nullptr;
        Chunk* const chunk = at(middle->chunks, (index >> kChunkBits) & (kMiddle - 1));
        return chunk == nullptr ? nullptr : &chunk->slots[index & (kChunk - 1)];
    }

    // As find(), but makes the slot. nullptr: no memory, or the limit.
    Slot* grow(std::uint64_t index);

    // Calls `visit` for each page in [first, last] that has a tenant, in order.
    void for_each_tenant(std::uint64_t first, std::uint64_t last,
                         FunctionRef<void(std::uint64_t home, Slot& frame)> visit) const;

    void for_each_slot(FunctionRef<void(Slot& slot)> visit) const;

private:
    static constexpr unsigned kChunkBits = 9;
    static constexpr unsigned kMiddleBits = 16;
    static constexpr std::uint64_t kChunk = std::uint64_t{1} << kChunkBits;
    static constexpr std::uint64_t kMiddle = std::uint64_t{1} << kMiddleBits;

    struct Chunk {
        Slot slots[kChunk];
    };
    struct Middle {
        Chunk* chunks[kMiddle];
    };

    template <class T>
    static T* at(T** array, std::uint64_t position)
    {
        return std::atomic_ref{array[position]}.load(std::memory_order_acquire);
    }
    template <class T>
    T* grow_at(T** array, std::uint64_t position);
    std::size_t root_bytes() const { return root_entries_ * sizeof(Middle*); }
    template <class T>
    static void release(T* memory, std::size_t size);

    std::uint64_t budget_;
    std::uint64_t root_entries_;
    Middle** root_;
};

}  // namespace pinfold::host
