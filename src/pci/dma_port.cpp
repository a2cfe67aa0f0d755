#include "pci/dma_port.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/read_section.hpp"
#include "host/pinned_copy.hpp"
#include "host/remote_memory.hpp"

namespace pinfold::pci {

using iommu::FaultReason;

// Bytes that an IOVA leads to: of host memory, contiguous as far as that is known; or of a device.
struct DmaPort::Place {
    std::byte* at = nullptr;
    std::uint64_t size = 0;
    host::DeviceMemory* device = nullptr;
    std::uint64_t offset = 0;  // in the device's memory
};

DmaPort::DmaPort(iommu::Endpoint& endpoint, host::Memory& memory)
    : endpoint_{endpoint}, memory_{memory}
{
}

// What lies in pages that have been reached before and are contiguous. Returns how much has been
// transferred; unless it is all, nothing is decided, and nothing counted.
std::uint64_t DmaPort::transfer_known(Iova iova, std::byte* bytes, std::uint64_t size,
                                      Access access)
{
    if (size == 0 || !bus_master()) return 0;
    {
        ReadSection const section;
        auto const known = reached_.find(iova, access, generation());
        if (known.size < size) return 0;
        std::size_t const missing = access == Access::read
                                        ? host::read_pinned(bytes, known.at, size)
                                        : host::write_pinned(known.at, bytes, size);
        if (missing != 0) return size - missing;
    }
    count(access, 1, size);
    return size;
}

// Goes on from `done`: no byte is written twice, for the program may have stored there meanwhile.
Result<> DmaPort::transfer(Iova iova, std::byte* bytes, std::uint64_t size, Access access,
                           std::uint64_t done)
{
    Stop stop = Stop::faulted;
    if (!may_master(iova, access)) {
        // The device may not speak at all.
    } else if (access == Access::write && endpoint_.interrupts(iova, size)) {
        // Gone on the bus; what it would raise is not a client's to see.
        done = size;
        stop = Stop::done;
    } else {
        for (std::uint64_t settled = ~std::uint64_t{0};;) {
            Place place;
            stop = copy_some(iova, bytes, size, access, done, place);
            if (stop == Stop::moving && settled != done) {
                // A frame on its way aside is found again once it has settled; one that is still
                // not there has no memory.
                memory_.settle();
                settled = done;
            } else if (stop == Stop::device && reach(place, bytes + done, access)) {
                done += place.size;
            } else {
                break;
            }
        }
        if (stop == Stop::moving || stop == Stop::device)
            fault(iova + done, access, FaultReason::no_memory);
    }
    count(access, stop == Stop::done ? 1 : 0, done);
    if (stop == Stop::done) return {};
    if (access == Access::read) std::memset(bytes + done, 0xff, size - done);
    return fail(Errno::fault);
}

bool DmaPort::may_master(Iova iova, Access access)
{
    auto const muted = muted_.load(std::memory_order_acquire);
    if (muted == 0) return true;
    if (muted == kMasterOff) fault(iova, access, FaultReason::bus_master);
    return false;
}

// From device to device. Outside of every ReadSection: an unmap does not wait for it.
bool DmaPort::reach(Place const& place, std::byte* bytes, Access access)
{
    if (access == Access::read)
        return place.device->read(place.offset, {bytes, place.size}).has_value();
    return place.device->write(place.offset, {bytes, place.size}).has_value();
}

// Copies from `done` on, in one ReadSection, as far as it goes. Stop::device: `place` is where.
DmaPort::Stop DmaPort::copy_some(Iova iova, std::byte* bytes, std::uint64_t size, Access access,
                                 std::uint64_t& done, Place& place)
{
    ReadSection const section;
    while (done < size) {
        Iova const here{iova.raw() + done};
        if (here < iova) {
            fault(here, access, FaultReason::address_width);
            return Stop::faulted;
        }
        if (!may_master(here, access)) return Stop::faulted;
        if (auto const stop = find(here, size - done, access, place); stop != Stop::done)
            return stop;
        std::byte* const local = bytes + done;
        std::size_t const missing = access == Access::read
                                        ? host::read_pinned(local, place.at, place.size)
                                        : host::write_pinned(place.at, local, place.size);
        done += place.size - missing;
        if (missing == 0) continue;
        fault(Iova{iova.raw() + done}, access, FaultReason::no_memory);
        return Stop::faulted;
    }
    return Stop::done;
}

// One step: at most `size` bytes, to the end of the leaf or of the host page, or through all pages
// that have been reached before and follow each other.
DmaPort::Stop DmaPort::find(Iova iova, std::uint64_t size, Access access, Place& place)
{
    auto const now = generation();
    if (auto const known = reached_.find(iova, access, now); known.at != nullptr) {
        place = {.at = known.at, .size = std::min(size, known.size)};
        return Stop::done;
    }
    auto const stop = walk(iova, size, access, place);
    if (stop == Stop::done) remember(iova, now);
    return stop;
}

// As far as the page is cached as a whole. Of a page whose writes are to be noted, only reads are
// known until one has been.
void DmaPort::remember(Iova iova, std::uint64_t generation)
{
    Iova const start{k4K.align_down(iova.raw())};
    auto const page = endpoint_.iotlb().lookup(start);
    if (!page || page->size < k4K.bytes()) return;
    std::byte const* const at = memory_.at(page->paddr);
    if (at == nullptr) return;
    bool const noted = page->noted >= k4K.bytes();
    reached_.add(start, at, noted ? page->prot : page->prot & Prot::read, generation);
}

DmaPort::Stop DmaPort::walk(Iova iova, std::uint64_t size, Access access, Place& place)
{
    auto const segment = endpoint_.translate(iova, size, access);
    if (!segment) return Stop::faulted;
    std::byte* const at = memory_.at(segment->paddr);
    if (at == nullptr) {
        auto const device = memory_.devices().find(segment->paddr);
        if (!device) return Stop::moving;
        place = {.size = std::min({size, segment->size, device->size}),
                 .device = device->device,
                 .offset = device->offset};
        return Stop::device;
    }
    auto const page = memory_.page_size();
    std::uint64_t const page_left = page.bytes() - (segment->paddr.raw() & page.mask());
    place = {.at = at, .size = std::min({size, segment->size, page_left})};
    return Stop::done;
}

Result<> DmaPort::with_segments(std::span<DmaPiece const> pieces, Access access,
                                FunctionRef<Result<>(std::span<iovec const>)> use)
{
    Iova stopped = pieces.empty() ? Iova{} : pieces.front().iova;
    if (!may_master(stopped, access)) return fail(Errno::fault);

    Segments segments;
    std::uint64_t bytes = 0;
    for (DmaPiece const& piece : pieces) bytes += piece.size;
    bool by_buffer = false;
    for (bool settled = false;; settled = true) {
        {
            ReadSection const section;
            auto const stop = collect(pieces, access, segments, stopped);
            if (stop == Stop::faulted) return fail(Errno::fault);
            by_buffer = stop == Stop::device;
            if (stop == Stop::done) {
                auto const used = use(segments);
                if (used) count(access, 1, bytes);
                if (!used && used.error() == Errno::fault && !pieces.empty())
                    fault(pieces.front().iova, access, FaultReason::no_memory);
                return used;
            }
        }
        if (by_buffer) return through_buffer(pieces, access, use);
        if (settled) {
            fault(stopped, access, FaultReason::no_memory);
            return fail(Errno::fault);
        }
        memory_.settle();
    }
}

Result<> DmaPort::through_buffer(std::span<DmaPiece const> pieces, Access access,
                                 FunctionRef<Result<>(std::span<iovec const>)> use)
{
    std::uint64_t size = 0;
    for (DmaPiece const& piece : pieces) size += piece.size;
    std::vector<std::byte> buffer(size);
    iovec const whole{buffer.data(), buffer.size()};
    if (access == Access::write) TRY(use({&whole, 1}));
    std::byte* at = buffer.data();
    for (DmaPiece const& piece : pieces) {
        TRY(transfer(piece.iova, at, piece.size, access, 0));
        at += piece.size;
    }
    if (access == Access::read) TRY(use({&whole, 1}));
    return {};
}

// The host memory of all pieces; `stopped` is where it came to, if not to the end.
DmaPort::Stop DmaPort::collect(std::span<DmaPiece const> pieces, Access access, Segments& segments,
                               Iova& stopped)
{
    segments.clear();
    for (DmaPiece const& piece : pieces) {
        for (std::uint64_t done = 0; done < piece.size;) {
            stopped = Iova{piece.iova.raw() + done};
            if (stopped < piece.iova) {
                fault(stopped, access, FaultReason::address_width);
                return Stop::faulted;
            }
            if (!may_master(stopped, access)) return Stop::faulted;
            Place place{};
            if (auto const stop = find(stopped, piece.size - done, access, place);
                stop != Stop::done)
                return stop;
            if (host::is_remote(place.at)) return Stop::device;  // no memory of this process
            done += place.size;
            bool const follows =
                !segments.empty() &&
                static_cast<std::byte*>(segments.back().iov_base) + segments.back().iov_len ==
                    place.at;
            if (follows)
                segments.back().iov_len += place.size;
            else
                segments.push_back({place.at, place.size});
        }
    }
    return Stop::done;
}

void DmaPort::fault(Iova iova, Access access, FaultReason reason)
{
    endpoint_.faults().record({iova, access, reason});
}

// Not atomic increments: a lost count costs less than a locked instruction on each access.
void DmaPort::count(Access access, std::uint64_t calls, std::uint64_t bytes)
{
    auto const add = [](std::atomic<std::uint64_t>& total, std::uint64_t more) {
        total.store(total.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
    };
    bool const reading = access == Access::read;
    add(reading ? reads_ : writes_, calls);
    add(reading ? read_bytes_ : written_bytes_, bytes);
}

DmaPort::Counters DmaPort::counters() const
{
    auto const load = [](auto const& total) { return total.load(std::memory_order_relaxed); };
    return {load(reads_), load(read_bytes_), load(writes_), load(written_bytes_)};
}

}  // namespace pinfold::pci
