// How words get into tables that hardware, or walk(), may be reading: each by one store, so that it
// is the old word or the new one and never half of either. The engine's only way to a table's
// memory; a test puts its own in the place of it and sees every instant.
//
// Thread safety: all of it beside readers; two writers of one word only by replace().
#pragma once

#include <atomic>
#include <cstdint>

namespace pinfold::pagetable {

struct Words {
    template <class W>
    static W load(W const& slot)
    {
        return std::atomic_ref{const_cast<W&>(slot)}.load(std::memory_order_acquire);
    }
    // What was written before is seen by whoever sees `word`.
    template <class W>
    static void store(W& slot, W word)
    {
        std::atomic_ref{slot}.store(word, std::memory_order_release);
    }
    // False, and nothing is stored, if the slot does not hold `expected`, which is then what it
    // holds.
    template <class W>
    static bool replace(W& slot, W& expected, W word)
    {
        return std::atomic_ref{slot}.compare_exchange_strong(expected, word,
                                                             std::memory_order_acq_rel);
    }

    // Stores first, first + step, first + 2 * step, ... in `count` slots.
    template <class W>
    static void fill(W* slots, std::uint64_t count, W first, W step);

    template <class W>
    static bool all_zero(W const* slots, std::uint64_t count);

private:
    // Sixteen bytes at a time, aligned: hardware stores them in pieces of a word or larger, which
    // the language has no way to say. ThreadSanitizer is shown words.
#if defined(__SANITIZE_THREAD__)
    static constexpr bool kWide = false;
#elif defined(__x86_64__) || defined(__aarch64__)
    static constexpr bool kWide = true;
#else
    static constexpr bool kWide = false;
#endif
    template <class W>
    struct Wide {
        typedef W Lanes __attribute__((vector_size(16), may_alias));
        static constexpr std::uint64_t kLanes = 16 / sizeof(W);
        static constexpr std::uint64_t kBlock = 4 * kLanes;

        static bool aligned(W const* slot)
        {
            return reinterpret_cast<std::uintptr_t>(slot) % 16 == 0;
        }
        static Lanes series(W first, W step)
        {
            Lanes lanes{};
            for (std::uint64_t i = 0; i < kLanes; ++i) lanes[i] = static_cast<W>(first + i * step);
            return lanes;
        }
    };
};

template <class W>
void Words::fill(W* slots, std::uint64_t count, W first, W step)
{
    std::uint64_t i = 0;
    auto const one = [&] { store(slots[i], static_cast<W>(first + i * step)); };
    if constexpr (kWide) {
        using V = Wide<W>;
        std::atomic_thread_fence(std::memory_order_release);
        for (; i < count && !V::aligned(slots + i); ++i) one();
        auto lanes = V::series(static_cast<W>(first + i * step), step);
        W const block = static_cast<W>(V::kBlock * step);
        W const row = static_cast<W>(V::kLanes * step);
        auto second = lanes + row;
        auto third = second + row;
        auto fourth = third + row;
        for (; count - i >= V::kBlock; i += V::kBlock) {
            auto* const to = reinterpret_cast<typename V::Lanes*>(slots + i);
            to[0] = lanes;
            to[1] = second;
            to[2] = third;
            to[3] = fourth;
            lanes += block;
            second += block;
            third += block;
            fourth += block;
        }
    }
    for (; i < count; ++i) one();
}

template <class W>
bool Words::all_zero(W const* slots, std::uint64_t count)
{
    std::uint64_t i = 0;
    W any = 0;
    if constexpr (kWide) {
        using V = Wide<W>;
        for (; i < count && !V::aligned(slots + i); ++i) any |= load(slots[i]);
        typename V::Lanes lanes{};
        for (; count - i >= V::kBlock; i += V::kBlock) {
            auto const* const from = reinterpret_cast<typename V::Lanes const*>(slots + i);
            lanes |= from[0] | from[1] | from[2] | from[3];
        }
        for (std::uint64_t lane = 0; lane < V::kLanes; ++lane) any |= lanes[lane];
    }
    for (; i < count; ++i) any |= load(slots[i]);
    return any == 0;
}

}  // namespace pinfold::pagetable
