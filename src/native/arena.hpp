// Units of one size out of chunks of 2 MiB, in huge pages; of the first chunk only some small pages
// are used, so that small maps stay small. A unit that readers may still be in is retired, not
// freed: it stays as it is until release(), which the writer calls when those readers are gone.
// Nothing is allocated to give a unit away: links between free units stand beside them, in the
// chunk's head.
//
// Thread safety: one writer; at() from any thread for a unit that it was shown.
#pragma once

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>

#include "native/memory.hpp"

namespace pinfold::native {

// A unit of an arena. 0 is none.
using Id = std::uint32_t;

template <std::size_t kUnit>
class Arena {
public:
    explicit Arena(Memory& memory) : memory_{memory} {}
    ~Arena() { drop_chunks(0); }
    Arena(Arena const&) = delete;
    Arena& operator=(Arena const&) = delete;

    // From now on so many units can be taken without fail. False: there is no memory.
    bool ensure(std::uint32_t units)
    {
        if (free_.count + (ready_ - fresh_) >= units) [[likely]]
            return true;
        return grow_to(units);
    }
    // Zeroed, or as it was when it was retired. REQUIRES: ensured.
    Id take()
    {
        ++in_use_;
        if (free_.count != 0) {
            Id const id = free_.first;
            free_.first = link(id);
            --free_.count;
            return id;
        }
        assert(fresh_ < ready_);
        return fresh_++;
    }
    void retire(Id id)
    {
        link(id) = 0;
        (retired_.count++ == 0 ? retired_.first : link(retired_last_)) = id;
        retired_last_ = id;
        ++retired_ever_;
    }
    // One more than what was ever retired; wraps.
    std::uint32_t retired_ever() const { return retired_ever_; }
    // What was retired when retired_ever() was `upto`, or before, is free. REQUIRES: no reader is
    // left in it.
    void release(std::uint32_t upto)
    {
        std::uint32_t const keep = retired_ever_ - upto;
        while (retired_.count > keep) {
            Id const id = retired_.first;
            retired_.first = link(id);
            --retired_.count;
            give(id);
            --in_use_;
        }
        if (in_use_ == 0 && chunk_count_ > 1) [[unlikely]]
            shrink();
    }
    // All that was retired is free.
    void release()
    {
        if (retired_.count == 0) return;
        link(retired_last_) = free_.first;
        free_.first = retired_.first;
        free_.count += retired_.count;
        in_use_ -= retired_.count;
        retired_ = {};
        if (in_use_ == 0 && chunk_count_ > 1) [[unlikely]]
            shrink();
    }

    std::byte* at(Id id) const
    {
        return chunks_[id >> kIndexLg2] + kHead + std::size_t{id & kIndexMask} * kUnit;
    }
    Id id_of(void const* unit) const
    {
        auto const raw = reinterpret_cast<std::uintptr_t>(unit);
        auto const* const head = reinterpret_cast<Head const*>(raw & ~(kChunk - 1));
        std::size_t const offset = (raw & (kChunk - 1)) - kHead;
        return (head->chunk << kIndexLg2) | static_cast<Id>(offset / kUnit);
    }

    std::uint64_t bytes_in_use() const { return in_use_ * kUnit; }
    std::uint64_t bytes_held() const
    {
        return chunk_count_ == 0 ? 0 : (chunk_count_ - 1) * kChunk + first_ready_bytes_;
    }

private:
    static constexpr std::size_t kChunk = std::size_t{2} << 20;
    static constexpr unsigned kIndexLg2 = 15;
    static constexpr Id kIndexMask = (Id{1} << kIndexLg2) - 1;
    static constexpr std::size_t kMostChunks = 1024;
    static constexpr std::size_t kPerChunk = (kChunk - 128) / (kUnit + sizeof(Id));
    static constexpr std::size_t kHead = (64 + kPerChunk * sizeof(Id) + 63) / 64 * 64;
    // Of the first chunk: what it grows by, and to. A look-up in what has grown beyond would often
    // miss the TLB if it lay in small pages.
    static constexpr std::size_t kStep = std::size_t{64} * 1024;
    static constexpr std::size_t kFirst = std::size_t{256} * 1024;
    static constexpr std::size_t kInFirst = (kFirst - std::min(kFirst, kHead)) / kUnit;
    static_assert(kPerChunk <= kIndexMask + 1 && kHead + kPerChunk * kUnit <= kChunk);

    struct Head {
        alignas(64) Id chunk;
        Id links[kPerChunk];
    };
    static_assert(sizeof(Head) <= kHead);
    struct List {
        Id first = 0;
        std::uint32_t count = 0;
    };

    Id& link(Id id)
    {
        return reinterpret_cast<Head*>(chunks_[id >> kIndexLg2])->links[id & kIndexMask];
    }

    bool grow_to(std::uint32_t units)
    {
        while (free_.count + (ready_ - fresh_) < units)
            if (!grow()) return false;
        return true;
    }
    bool grow()
    {
        if (chunk_count_ == 1 && first_ready_bytes_ < kFirst) return populate_more_of_the_first();
        if (chunk_count_ == kMostChunks) return false;
        auto* const chunk = static_cast<std::byte*>(memory_.take(kChunk, kChunk));
        if (chunk == nullptr) return false;
        bool const first = chunk_count_ == 0;
        if (!first && !memory_.populate(chunk, kChunk, Memory::Pages::huge)) {
            memory_.give_back(chunk, kChunk);
            return false;
        }
        reinterpret_cast<Head*>(chunk)->chunk = static_cast<Id>(chunk_count_);
        chunks_[chunk_count_++] = chunk;
        if (first) {
            first_ready_bytes_ = kHead / kStep * kStep;
            return populate_more_of_the_first();
        }
        keep_fresh_for_later();
        fresh_ = static_cast<Id>((chunk_count_ - 1) << kIndexLg2);
        ready_ = fresh_ + static_cast<Id>(kPerChunk);
        return true;
    }
    void keep_fresh_for_later()
    {
        for (; fresh_ < ready_; ++fresh_) give(fresh_);
    }
    void give(Id id)
    {
        link(id) = free_.first;
        free_.first = id;
        ++free_.count;
    }
    bool populate_more_of_the_first()
    {
        std::size_t const step = std::min(kStep, kFirst - first_ready_bytes_);
        if (!memory_.populate(chunks_[0] + first_ready_bytes_, step, Memory::Pages::small))
            return false;
        first_ready_bytes_ += step;
        std::size_t const units =
            (first_ready_bytes_ - std::min(first_ready_bytes_, kHead)) / kUnit;
        ready_ = std::max(fresh_, static_cast<Id>(std::min(units, kInFirst)));
        return true;
    }

    // Nothing is in use: what a peak has left behind goes, but for the first chunk.
    void shrink()
    {
        drop_chunks(1);
        free_ = {};
        fresh_ = 1;
        ready_ = std::max(fresh_, static_cast<Id>(kInFirst));
    }
    void drop_chunks(std::size_t keep)
    {
        while (chunk_count_ > keep) memory_.give_back(chunks_[--chunk_count_], kChunk);
    }

    Memory& memory_;
    std::array<std::byte*, kMostChunks> chunks_{};
    std::size_t chunk_count_ = 0;
    std::size_t first_ready_bytes_ = 0;
    // Of the last chunk: its first unit that was never taken, and the end of those that are
    // populated. Unit 0 is never handed out, as id 0 is none.
    Id fresh_ = 1;
    Id ready_ = 1;
    std::uint64_t in_use_ = 0;
    List free_;
    List retired_;
    Id retired_last_ = 0;
    std::uint32_t retired_ever_ = 1;
};

}  // namespace pinfold::native
