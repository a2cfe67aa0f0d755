// Page sizes. A PageSize is kept as its log2, so one that is not a power of two cannot exist;
// PageSizes is the kernel's pgsize_bitmap: bit n set means that pages of 2^n bytes exist.
#pragma once

#include <bit>
#include <cassert>
#include <compare>
#include <cstdint>
#include <optional>

namespace pinfold {

class PageSize {
public:
    // REQUIRES: lg2 < 64.
    static constexpr PageSize lg2_of(unsigned lg2) { return PageSize{lg2}; }
    // nullopt: bytes is not a power of two.
    static constexpr std::optional<PageSize> of(std::uint64_t bytes)
    {
        if (!std::has_single_bit(bytes)) return std::nullopt;
        return PageSize{static_cast<unsigned>(std::countr_zero(bytes))};
    }

    constexpr unsigned lg2() const { return lg2_; }
    constexpr std::uint64_t bytes() const { return std::uint64_t{1} << lg2_; }
    // The bits of an address below this size: bytes() - 1.
    constexpr std::uint64_t mask() const { return bytes() - 1; }
    constexpr bool aligned(std::uint64_t raw) const { return (raw & mask()) == 0; }
    constexpr std::uint64_t align_down(std::uint64_t raw) const { return raw & ~mask(); }
    // Wraps to 0 above the last aligned address.
    constexpr std::uint64_t align_up(std::uint64_t raw) const { return (raw + mask()) & ~mask(); }

    constexpr auto operator<=>(PageSize const&) const = default;

private:
    constexpr explicit PageSize(unsigned lg2) : lg2_{static_cast<std::uint8_t>(lg2)}
    {
        assert(lg2 < 64);
    }
    std::uint8_t lg2_;
};

inline constexpr PageSize k4K = PageSize::lg2_of(12);
inline constexpr PageSize k16K = PageSize::lg2_of(14);
inline constexpr PageSize k64K = PageSize::lg2_of(16);
inline constexpr PageSize k2M = PageSize::lg2_of(21);
inline constexpr PageSize k1G = PageSize::lg2_of(30);

class PageSizes {
public:
    constexpr PageSizes() = default;
    constexpr explicit PageSizes(std::uint64_t bitmap) : bitmap_{bitmap} {}

    constexpr std::uint64_t bitmap() const { return bitmap_; }
    constexpr bool empty() const { return bitmap_ == 0; }
    constexpr bool has(PageSize size) const { return (bitmap_ & size.bytes()) != 0; }
    // REQUIRES: !empty().
    constexpr PageSize smallest() const
    {
        assert(!empty());
        return PageSize::lg2_of(static_cast<unsigned>(std::countr_zero(bitmap_)));
    }

    // The largest size that is no larger than `bytes` and divides `alignment` (the OR of all
    // addresses that must be multiples of it; 0 is a multiple of every size). nullopt: there is
    // none. Rule X-1.
    constexpr std::optional<PageSize> best(std::uint64_t alignment, std::uint64_t bytes) const
    {
        if (bytes == 0) return std::nullopt;
        std::uint64_t fitting =
            bitmap_ & up_to(63U - static_cast<unsigned>(std::countl_zero(bytes)));
        if (alignment != 0) fitting &= up_to(static_cast<unsigned>(std::countr_zero(alignment)));
        if (fitting == 0) return std::nullopt;
        return PageSize::lg2_of(63U - static_cast<unsigned>(std::countl_zero(fitting)));
    }

    constexpr PageSizes operator&(PageSizes other) const
    {
        return PageSizes{bitmap_ & other.bitmap_};
    }
    constexpr PageSizes operator|(PageSizes other) const
    {
        return PageSizes{bitmap_ | other.bitmap_};
    }
    constexpr bool operator==(PageSizes const&) const = default;

private:
    // Bits 0..lg2. Twice-shifted because a shift by 64 is undefined.
    static constexpr std::uint64_t up_to(unsigned lg2)
    {
        return ((std::uint64_t{1} << lg2) << 1) - 1;
    }

    std::uint64_t bitmap_ = 0;
};

}  // namespace pinfold
