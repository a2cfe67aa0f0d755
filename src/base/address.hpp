// Addresses, one type for each address space: a device's, a process's, and the one that page tables
// point into. They do not convert into one another and do not mix in arithmetic. Thread safe:
// values only.
#pragma once

#include <cassert>
#include <compare>
#include <cstdint>
#include <functional>

namespace pinfold {

template <class Space>
class Addr {
public:
    constexpr Addr() = default;
    constexpr explicit Addr(std::uint64_t raw) : raw_{raw} {}

    // The one way out of the type.
    constexpr std::uint64_t raw() const { return raw_; }

    constexpr auto operator<=>(Addr const&) const = default;

    // REQUIRES: no wrap. A request from outside is checked with Range::of() before any sum is made.
    constexpr Addr operator+(std::uint64_t bytes) const
    {
        assert(raw_ + bytes >= raw_);
        return Addr{raw_ + bytes};
    }
    // REQUIRES: bytes <= raw().
    constexpr Addr operator-(std::uint64_t bytes) const
    {
        assert(bytes <= raw_);
        return Addr{raw_ - bytes};
    }
    // The distance in bytes. REQUIRES: base <= *this.
    constexpr std::uint64_t operator-(Addr base) const
    {
        assert(base.raw_ <= raw_);
        return raw_ - base.raw_;
    }

private:
    std::uint64_t raw_ = 0;
};

using Iova = Addr<struct IovaSpace>;    // device side
using Vaddr = Addr<struct VaddrSpace>;  // process side
using Paddr =
    Addr<struct PaddrSpace>;  // what a page table yields: a frame that host/ owns, and an offset

}  // namespace pinfold

template <class Space>
struct std::hash<pinfold::Addr<Space>> {
    std::size_t operator()(pinfold::Addr<Space> addr) const noexcept
    {
        return std::hash<std::uint64_t>{}(addr.raw());
    }
};
