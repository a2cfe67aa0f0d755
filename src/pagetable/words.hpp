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

    // Whether it is what stands there.
    template <class W>
    static bool holds(W const* slots, std::uint64_t count, W first, W step)
    {
        return compare(slots, count, first, step);
    }
    template <class W>
    static bool all_zero(W const* slots, std::uint64_t count)
    {
        return compare(slots, count, W{0}, W{0});
    }

private:
    // Vectors at a time, aligned: hardware stores them in pieces of a word or larger, which the
    // language has no way to say. ThreadSanitizer is shown words.
#if defined(__SANITIZE_THREAD__)
    static constexpr bool kWide = false;
#elif defined(__x86_64__) || defined(__aarch64__)
    static constexpr bool kWide = true;
#else
    static constexpr bool kWide = false;
#endif
    // Of 32 bytes where the processor has them, for what is worth asking it. A program without an
    // operating system has its reasons to touch no more registers than the compiler was told of.
#if defined(__x86_64__) && __STDC_HOSTED__
    static constexpr std::uint64_t kWiderFrom = 1024;  // bytes
#else
    static constexpr std::uint64_t kWiderFrom = ~std::uint64_t{0};
#endif

    template <class W, unsigned Bytes>
    struct Wide {
        typedef W Lanes __attribute__((vector_size(Bytes), may_alias));
        static constexpr std::uint64_t kLanes = Bytes / sizeof(W);
        static constexpr std::uint64_t kBlock = 4 * kLanes;

        static bool aligned(W const* slot)
        {
            return reinterpret_cast<std::uintptr_t>(slot) % Bytes == 0;
        }
    };
    template <class W>
    [[gnu::always_inline]] static inline bool compare(W const* slots, std::uint64_t count, W first,
                                                      W step);
    template <unsigned Bytes, class W>
    [[gnu::always_inline]] static inline void fill_by(W* slots, std::uint64_t count, W first,
                                                      W step);
#if defined(__x86_64__)
    template <class W>
    [[gnu::target("avx2")]] static void fill_by_32(W* slots, std::uint64_t count, W first, W step)
    {
        fill_by<32>(slots, count, first, step);
    }
#endif
};

template <class W>
void Words::fill(W* slots, std::uint64_t count, W first, W step)
{
    if constexpr (kWide) {
        std::atomic_thread_fence(std::memory_order_release);
#if defined(__x86_64__)
        if (count * sizeof(W) >= kWiderFrom && __builtin_cpu_supports("avx2"))
            return fill_by_32(slots, count, first, step);
#endif
        return fill_by<16>(slots, count, first, step);
    }
    for (std::uint64_t i = 0; i < count; ++i) store(slots[i], static_cast<W>(first + i * step));
}

template <unsigned Bytes, class W>
void Words::fill_by(W* slots, std::uint64_t count, W first, W step)
{
    using V = Wide<W, Bytes>;
    std::uint64_t i = 0;
    for (; i < count && !V::aligned(slots + i); ++i)
        store(slots[i], static_cast<W>(first + i * step));
    typename V::Lanes lanes{};
    for (std::uint64_t lane = 0; lane < V::kLanes; ++lane)
        lanes[lane] = static_cast<W>(first + (i + lane) * step);
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
    for (; i < count; ++i) store(slots[i], static_cast<W>(first + i * step));
}

template <class W>
bool Words::compare(W const* slots, std::uint64_t count, W first, W step)
{
    std::uint64_t i = 0;
    W wrong = 0;
    auto const one = [&] { wrong |= load(slots[i]) ^ static_cast<W>(first + i * step); };
    if constexpr (kWide) {
        using V = Wide<W, 16>;
        for (; i < count && !V::aligned(slots + i); ++i) one();
        typename V::Lanes expected{};
        for (std::uint64_t lane = 0; lane < V::kLanes; ++lane)
            expected[lane] = static_cast<W>(first + (i + lane) * step);
        typename V::Lanes lanes{};
        W const row = static_cast<W>(V::kLanes * step);
        for (; count - i >= V::kBlock; i += V::kBlock) {
            auto const* const from = reinterpret_cast<typename V::Lanes const*>(slots + i);
            auto const second = expected + row;
            auto const third = second + row;
            auto const fourth = third + row;
            lanes |=
                (from[0] ^ expected) | (from[1] ^ second) | (from[2] ^ third) | (from[3] ^ fourth);
            expected = fourth + row;
        }
        for (std::uint64_t lane = 0; lane < V::kLanes; ++lane) wrong |= lanes[lane];
    }
    for (; i < count; ++i) one();
    return wrong == 0;
}

}  // namespace pinfold::pagetable
