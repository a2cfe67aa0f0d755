#include "preload/address_space.hpp"

#include <signal.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "host/guarded_copy.hpp"
#include "host/raw_memory.hpp"

namespace pinfold::preload {
namespace {

using Touch = AddressSpace::Touch;

// Addresses come from the client's registers, so they may wrap; nothing is there then.
Vaddr plus(Vaddr start, std::uint64_t bytes) { return Vaddr{start.raw() + bytes}; }

Fault forbidden(Vaddr at) { return {SIGSEGV, SEGV_ACCERR, at}; }
Fault refused(Vaddr at) { return {SIGBUS, BUS_ADRERR, at}; }

// The first access of `left` bytes at `at`.
unsigned width_of(Vaddr at, std::uint64_t left, bool whole)
{
    if (whole && left <= 8 && std::has_single_bit(left)) return static_cast<unsigned>(left);
    std::uint64_t const aligned =
        at.raw() == 0 ? 8 : std::uint64_t{1} << std::countr_zero(at.raw());
    return static_cast<unsigned>(std::min({std::uint64_t{8}, aligned, std::bit_floor(left)}));
}

std::optional<Fault> copy(Vaddr client, std::byte* to, std::byte const* from, std::uint64_t size)
{
    std::uint64_t const missing = host::guarded_copy(to, from, size);
    if (missing == 0) return std::nullopt;
    return Fault{SIGSEGV, SEGV_MAPERR, plus(client, size - missing)};
}

// Visits what lies in [start, start + size), in address order, until something returns a fault.
template <class Visit>
std::optional<Fault> each(AddressSpace& space, Vaddr start, std::uint64_t size, Touch touch,
                          Visit visit)
{
    for (std::uint64_t done = 0; done < size;) {
        auto const found = space.stretch(plus(start, done), size - done, touch);
        if (!found) return forbidden(plus(start, done));
        if (auto fault = visit(plus(start, done), done, *found)) return fault;
        done += found->size;
    }
    return std::nullopt;
}

std::optional<Fault> read_device(AddressSpace& space, Vaddr at, std::span<std::byte> into,
                                 bool whole)
{
    for (std::size_t done = 0; done < into.size();) {
        unsigned const width = width_of(plus(at, done), into.size() - done, whole);
        auto const value = space.device_read(plus(at, done), width);
        if (!value) return refused(plus(at, done));
        std::memcpy(into.data() + done, &*value, width);
        done += width;
    }
    return std::nullopt;
}

std::optional<Fault> write_device(AddressSpace& space, Vaddr at, std::span<std::byte const> from,
                                  bool whole)
{
    for (std::size_t done = 0; done < from.size();) {
        unsigned const width = width_of(plus(at, done), from.size() - done, whole);
        std::uint64_t value = 0;
        std::memcpy(&value, from.data() + done, width);
        if (!space.device_write(plus(at, done), width, value)) return refused(plus(at, done));
        done += width;
    }
    return std::nullopt;
}

}  // namespace

std::optional<Fault> AddressSpace::check(Vaddr start, std::uint64_t size, Touch touch)
{
    return each(*this, start, size, touch,
                [](Vaddr, std::uint64_t, Stretch) { return std::optional<Fault>{}; });
}

bool AddressSpace::has_device(Vaddr start, std::uint64_t size)
{
    bool found = false;
    auto const refuses =
        each(*this, start, size, Touch::read, [&](Vaddr, std::uint64_t, Stretch const& stretch) {
            found = found || stretch.device;
            return std::optional<Fault>{};
        });
    return found || refuses;
}

// The client's own memory first: where that faults, no device has noticed anything.
std::optional<Fault> AddressSpace::load(Vaddr from, std::span<std::byte> into)
{
    auto const first = stretch(from, into.size(), Touch::read);
    if (first && first->device && first->size == into.size())
        return read_device(*this, from, into, true);
    auto const memory = [&](Vaddr at, std::uint64_t done, Stretch const& part) {
        if (part.device) return std::optional<Fault>{};
        return copy(at, into.data() + done, host::raw::pointer(at.raw()), part.size);
    };
    if (auto fault = each(*this, from, into.size(), Touch::read, memory)) return fault;
    return each(*this, from, into.size(), Touch::read,
                [&](Vaddr at, std::uint64_t done, Stretch const& part) {
                    if (!part.device) return std::optional<Fault>{};
                    return read_device(*this, at, into.subspan(done, part.size), false);
                });
}

std::optional<Fault> AddressSpace::store(Vaddr to, std::span<std::byte const> from)
{
    auto const first = stretch(to, from.size(), Touch::write);
    if (first && first->device && first->size == from.size())
        return write_device(*this, to, from, true);
    if (auto fault = check(to, from.size(), Touch::write)) return fault;
    auto const memory = [&](Vaddr at, std::uint64_t done, Stretch const& part) {
        if (part.device) return std::optional<Fault>{};
        return copy(at, host::raw::pointer(at.raw()), from.data() + done, part.size);
    };
    if (auto fault = each(*this, to, from.size(), Touch::write, memory)) return fault;
    return each(*this, to, from.size(), Touch::write,
                [&](Vaddr at, std::uint64_t done, Stretch const& part) {
                    if (!part.device) return std::optional<Fault>{};
                    return write_device(*this, at, from.subspan(done, part.size), false);
                });
}

}  // namespace pinfold::preload
