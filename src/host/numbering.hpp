// Frame numbers and the indices that the frame table keeps them under.
//
// Indices: the low part has one for each page of the user half of the address space, a page's
// `home`; above it lie 31 copies of that part, for pages whose home is taken. A page that cannot
// have its home gets the same place in a copy, so runs stay consecutive and aligned there too.
//
// Numbers: what a paddr carries. The index itself, or its image under a seeded permutation.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/address.hpp"
#include "base/page_size.hpp"

namespace pinfold::host {

class Numbering {
public:
    static constexpr unsigned kPaddrBits = 52;
    static constexpr unsigned kVaddrBits = 47;

    // `scattering` empty: number and index are the same.
    Numbering(PageSize page_size, std::optional<std::uint64_t> scattering_seed)
        : page_size_{page_size}, scattered_{scattering_seed.has_value()}
    {
        std::uint64_t state = scattering_seed.value_or(0);
        for (auto& key : keys_) key = splitmix(state);
    }

    unsigned index_bits() const { return kPaddrBits - page_size_.lg2(); }
    std::uint64_t homes() const { return std::uint64_t{1} << (kVaddrBits - page_size_.lg2()); }

    Paddr paddr(std::uint64_t index) const
    {
        return Paddr{(scattered_ ? scatter(index) : index) << page_size_.lg2()};
    }
    // nullopt: beyond the 52 bits of a paddr.
    std::optional<std::uint64_t> index(Paddr paddr) const
    {
        if (paddr.raw() >> kPaddrBits != 0) return std::nullopt;
        std::uint64_t const number = paddr.raw() >> page_size_.lg2();
        return scattered_ ? gather(number) : number;
    }

    // The indices that the page with this home may have, best first; nullopt: no more.
    std::optional<std::uint64_t> candidate(std::uint64_t home, std::uint64_t attempt) const
    {
        if (attempt == 0) return home;
        std::uint64_t const copy = 1 + (attempt - 1) % kCopies;
        std::uint64_t const jump = ((attempt - 1) / kCopies) << (k1G.lg2() - page_size_.lg2());
        if (jump >= homes()) return std::nullopt;
        return copy * homes() + ((home + jump) & (homes() - 1));
    }

private:
    static constexpr std::uint64_t kCopies = (1U << (kPaddrBits - kVaddrBits)) - 1;

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
    bool scattered_;
    std::array<std::uint64_t, 4> keys_{};
};

}  // namespace pinfold::host
