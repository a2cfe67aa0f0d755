// Frame numbers and the indices that the frame table keeps them under.
//
// Indices: the low part has one for each page of the user half of the address space, a page's
// `home`; above it lie copies of that part (31, or 1 where
// paddrs have 48 bits), for pages whose home is taken. A page that cannot
// have its home gets the same place in a copy, so runs stay consecutive and aligned there too.
//
// Numbers: what a paddr carries. The index itself, or its image under a seeded permutation.
//
// A stretch of the paddrs belongs to no frame: the zero page and the memory of devices lie there.
// It is where the last copy has what a process seldom maps, its lowest 8 TiB.
#pragma once

#include <array>
#include <cassert>
#include <cstdint>
#include <optional>

#include "base/address.hpp"
#include "base/page_size.hpp"
#include "base/range.hpp"

namespace pinfold::host {

class Numbering {
public:
    static constexpr unsigned kVaddrBits = 47;
    static constexpr unsigned kMostPaddrBits = 52;

    // `scattering_seed` empty: number and index are the same. REQUIRES: `paddr_bits` is 48, 50 or
    // 52.
    Numbering(PageSize page_size, std::optional<std::uint64_t> scattering_seed,
              unsigned paddr_bits = kMostPaddrBits)
        : page_size_{page_size}, paddr_bits_{paddr_bits}, scattered_{scattering_seed.has_value()}
    {
        assert(paddr_bits > kVaddrBits && paddr_bits <= kMostPaddrBits && paddr_bits % 2 == 0);
        std::uint64_t state = scattering_seed.value_or(0);
        for (auto& key : keys_) key = splitmix(state);
    }

    unsigned index_bits() const { return paddr_bits_ - page_size_.lg2(); }
    std::uint64_t homes() const { return std::uint64_t{1} << (kVaddrBits - page_size_.lg2()); }

    Paddr paddr(std::uint64_t index) const
    {
        return Paddr{(scattered_ ? scatter(index) : index) << page_size_.lg2()};
    }
    // The paddrs that no frame has.
    PaddrRange outside_frames() const
    {
        Paddr const start{copies() << kVaddrBits};
        return {start, start + ((std::uint64_t{1} << 43) - 1)};
    }

    // nullopt: beyond the bits of a paddr, or of no frame.
    std::optional<std::uint64_t> index(Paddr paddr) const
    {
        if (paddr.raw() >> paddr_bits_ != 0 || outside_frames().contains(paddr))
            return std::nullopt;
        std::uint64_t const number = paddr.raw() >> page_size_.lg2();
        return scattered_ ? gather(number) : number;
    }

    // Whether a frame may have this index.
    bool names_frame(std::uint64_t index) const { return !outside_frames().contains(paddr(index)); }

    // The indices that the page with this home may have, best first, frames or not; nullopt: no
    // more.
    std::optional<std::uint64_t> candidate(std::uint64_t home, std::uint64_t attempt) const
    {
        if (attempt == 0) return home;
        std::uint64_t const copy = 1 + (attempt - 1) % copies();
        std::uint64_t const jump = ((attempt - 1) / copies()) << (k1G.lg2() - page_size_.lg2());
        if (jump >= homes()) return std::nullopt;
        return copy * homes() + ((home + jump) & (homes() - 1));
    }

private:
    std::uint64_t copies() const { return (std::uint64_t{1} << (paddr_bits_ - kVaddrBits)) - 1; }

    // A Feistel network on the two halves of an index: a permutation whatever its round function
    // is. index_bits() is even for every page size that is.
    std::uint64_t scatter(std::uint64_t index) const
    {
        unsigned const half = index_bits() / 2;
        std::uint64_t left = index >> half;
        std::uint64_t right = index & low(half);
        for (auto const key : keys_) {
            std::uint64_t const next = left ^ round(right, key, half);
            left = right;
            right = next;
        }
        return left << half | right;
    }
    std::uint64_t gather(std::uint64_t number) const
    {
        unsigned const half = index_bits() / 2;
        std::uint64_t left = number >> half;
        std::uint64_t right = number & low(half);
        for (auto key = keys_.rbegin(); key != keys_.rend(); ++key) {
            std::uint64_t const previous = right ^ round(left, *key, half);
            right = left;
            left = previous;
        }
        return left << half | right;
    }

    // The middle of a product depends on all of its factors' low bits.
    static constexpr std::uint64_t round(std::uint64_t half, std::uint64_t key, unsigned bits)
    {
        return (((half ^ key) * 0x9e3779b97f4a7c15) >> 32) & low(bits);
    }
    static constexpr std::uint64_t low(unsigned bits) { return (std::uint64_t{1} << bits) - 1; }
    // The finaliser of splitmix64.
    static constexpr std::uint64_t mix(std::uint64_t x)
    {
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
        x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
        return x ^ (x >> 31);
    }
    static constexpr std::uint64_t splitmix(std::uint64_t& state)
    {
        return mix(state += 0x9e3779b97f4a7c15);
    }

    PageSize page_size_;
    unsigned paddr_bits_;
    bool scattered_;
    std::array<std::uint64_t, 4> keys_{};
};

}  // namespace pinfold::host
