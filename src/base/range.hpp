// Inclusive address ranges: [start, last]. Only this form can end at 2^64-1, and an empty range
// does not exist.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "base/address.hpp"
#include "base/result.hpp"

namespace pinfold {

template <class A>
struct Range {
    A start;
    A last;

    // The one checked way in from (start, size). EINVAL: size is 0. EOVERFLOW: the range passes
    // 2^64-1.
    static constexpr Result<Range> of(A start, std::uint64_t size)
    {
        if (size == 0) return fail(Errno::inval);
        if (start.raw() + (size - 1) < start.raw()) return fail(Errno::overflow);
        return Range{start, A{start.raw() + (size - 1)}};
    }

    // Bytes in the range; 0 stands for 2^64, which only the full range has.
    constexpr std::uint64_t size() const { return last.raw() - start.raw() + 1; }

    constexpr bool contains(A addr) const { return start <= addr && addr <= last; }
    constexpr bool contains(Range other) const
    {
        return start <= other.start && other.last <= last;
    }
    constexpr bool overlaps(Range other) const
    {
        return start <= other.last && other.start <= last;
    }
    constexpr std::optional<Range> intersection(Range other) const
    {
        if (!overlaps(other)) return std::nullopt;
        return Range{std::max(start, other.start), std::min(last, other.last)};
    }

    constexpr bool operator==(Range const&) const = default;
};

using IovaRange = Range<Iova>;
using VaddrRange = Range<Vaddr>;
using PaddrRange = Range<Paddr>;

}  // namespace pinfold
