#include "host/frame_table.hpp"

#include <cassert>

namespace pinfold::host {

FrameTable::FrameTable(unsigned index_bits, std::uint64_t limit_bytes)
    : budget_{limit_bytes},
      root_entries_{index_bits > kChunkBits + kMiddleBits
                        ? std::uint64_t{1} << (index_bits - kChunkBits - kMiddleBits)
                        : 1},
      root_{reinterpret_cast<Middle**>(raw::map_anonymous(root_bytes(), PROT_READ | PROT_WRITE))}
{
}

FrameTable::~FrameTable()
{
    for (std::uint64_t r = 0; root_ != nullptr && r < root_entries_; ++r) {
        if (root_[r] == nullptr) continue;
        for (Chunk* const chunk : root_[r]->chunks) {
            if (chunk != nullptr) release(chunk, sizeof(Chunk));
        }
        release(root_[r], sizeof(Middle));
    }
    if (root_ != nullptr) release(root_, root_bytes());
}

template <class T>
void FrameTable::release(T* memory, std::size_t size)
{
    raw::munmap(reinterpret_cast<std::byte*>(memory), size);
}

// All-zero bytes are an empty T: null pointers, slots without frame and tenant.
template <class T>
T* FrameTable::grow_at(T** array, std::uint64_t position)
{
    if (array[position] == nullptr) {
        if (sizeof(T) > budget_) return nullptr;
        auto* const fresh =
            reinterpret_cast<T*>(raw::map_anonymous(sizeof(T), PROT_READ | PROT_WRITE));
        if (fresh == nullptr) return nullptr;
        budget_ -= sizeof(T);
        std::atomic_ref{array[position]}.store(fresh, std::memory_order_release);
    }
    return array[position];
}

Slot* FrameTable::grow(std::uint64_t index)
{
    if (root_ == nullptr) return nullptr;
    assert(index >> (kChunkBits + kMiddleBits) < root_entries_);
    Middle* const middle = grow_at(root_, index >> (kChunkBits + kMiddleBits));
    if (middle == nullptr) return nullptr;
    Chunk* const chunk = grow_at(middle->chunks, (index >> kChunkBits) & (kMiddle - 1));
    return chunk == nullptr ? nullptr : &chunk->slots[index & (kChunk - 1)];
}

void FrameTable::for_each_tenant(std::uint64_t first, std::uint64_t last,
                                 FunctionRef<void(std::uint64_t, Slot&)> visit) const
{
    constexpr std::uint64_t kMiddleSpan = kChunk * kMiddle;
    if (root_ == nullptr) return;
    for (std::uint64_t home = first; home <= last;) {
        Middle* const middle = root_[home / kMiddleSpan];
        if (middle == nullptr) {
            home = (home / kMiddleSpan + 1) * kMiddleSpan;
            continue;
        }
        Chunk* const chunk = middle->chunks[(home / kChunk) % kMiddle];
        if (chunk == nullptr) {
            home = (home / kChunk + 1) * kChunk;
            continue;
        }
        std::uint64_t const tenant = chunk->slots[home % kChunk].tenant;
        if (tenant != 0) visit(home, *find(tenant - 1));
        ++home;
    }
}

void FrameTable::for_each_slot(FunctionRef<void(Slot&)> visit) const
{
    for (std::uint64_t r = 0; root_ != nullptr && r < root_entries_; ++r) {
        if (root_[r] == nullptr) continue;
        for (Chunk* const chunk : root_[r]->chunks) {
            if (chunk == nullptr) continue;
            for (Slot& slot : chunk->slots) visit(slot);
        }
    }
}

}  // namespace pinfold::host
