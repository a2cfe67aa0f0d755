// The port a device does DMA through, and the only way in which a device model reaches memory:
// every access goes IOVA -> IOTLB -> IOMMU page table -> frame -> host memory, piece by piece;
// where a page was the last time is remembered until a translation or a frame is taken away. Bus
// master off means no DMA.
//
// A failed access has recorded a fault. Pieces before the failing one have happened, as on the bus.
// Thread safe; must not be called from inside a ReadSection.
#pragma once

#include <absl/container/inlined_vector.h>
#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/address.hpp"
#include "base/function_ref.hpp"
#include "base/prot.hpp"
#include "base/result.hpp"
#include "host/memory.hpp"
#include "iommu/endpoint.hpp"
#include "pci/reached_pages.hpp"

namespace pinfold::pci {

// A piece of device address space, as a PRP entry, an SGL descriptor or a ring gives it.
struct DmaPiece {
    Iova iova;
    std::uint64_t size;
};

class DmaPort {
public:
    DmaPort(iommu::Endpoint& endpoint, host::Memory& memory);

    // EFAULT: some byte could not be reached; for read(), `into` is then all ones from that byte
    // on.
    Result<> read(Iova from, std::span<std::byte> into)
    {
        auto const done = transfer_known(from, into.data(), into.size(), Access::read);
        if (done != 0 && done == into.size()) [[likely]]
            return {};
        return transfer(from, into.data(), into.size(), Access::read, done);
    }
    Result<> write(Iova to, std::span<std::byte const> from)
    {
        // The bytes are only read: both copy in the direction of the access.
        auto* const bytes = const_cast<std::byte*>(from.data());
        auto const done = transfer_known(to, bytes, from.size(), Access::write);
        if (done != 0 && done == from.size()) [[likely]]
            return {};
        return transfer(to, bytes, from.size(), Access::write, done);
    }

    // For transfers whose other end is a file: calls `use` with host segments that are, in order
    // and in whole, the bytes of `pieces`; merged where contiguous. The segments are good inside
    // the call only, and may fault there if the process pulled its memory away (a system call on
    // them then says EFAULT; `use` reports that as Errno::fault and it is recorded). `access` is
    // the device's: write puts bytes into the client's memory. EFAULT: some piece does not
    // translate; `use` is not called. Otherwise what `use` returns.
    //
    // `use` runs inside the ReadSection of the translation, so an unmap waits for it; it must not
    // call this port. Where some piece is another device's memory, `use` has a buffer instead, and
    // the bytes go there before or after it.
    Result<> with_segments(std::span<DmaPiece const> pieces, Access access,
                           FunctionRef<Result<>(std::span<iovec const>)> use);

    // Whether the device may do DMA. One that works for long without any asks between its steps,
    // and gives the rest up where it may not.
    bool bus_master() const { return muted_.load(std::memory_order_acquire) == 0; }
    void set_bus_master(bool on)
    {
        if (on)
            muted_.fetch_and(~kMasterOff, std::memory_order_acq_rel);
        else
            muted_.fetch_or(kMasterOff, std::memory_order_acq_rel);
    }

    // While one lasts, DMA fails as it does without bus mastership, and records no fault: whoever
    // is about to stop the device waits for its present step only.
    class Silence {
    public:
        explicit Silence(DmaPort& port) : port_{port}
        {
            port_.muted_.fetch_add(kSilence, std::memory_order_acq_rel);
        }
        ~Silence() { port_.muted_.fetch_sub(kSilence, std::memory_order_acq_rel); }
        Silence(Silence const&) = delete;
        Silence& operator=(Silence const&) = delete;

    private:
        DmaPort& port_;
    };

    // Totals since construction: calls that succeeded, and the bytes that moved, in calls that
    // failed half-way too. About right only when several threads transfer at once, which those of
    // one device do not.
    struct Counters {
        std::uint64_t reads = 0, read_bytes = 0, writes = 0, written_bytes = 0;
    };
    Counters counters() const;
    iommu::Endpoint& endpoint() { return endpoint_; }

private:
    // Room for as many as a transfer usually has: only more of them are allocated.
    using Segments = absl::InlinedVector<iovec, 64>;
    struct Place;
    enum class Stop : std::uint8_t { done, moving, device, faulted };

    static constexpr unsigned kMasterOff = 1, kSilence = 2;  // in muted_; the latter for each

    bool may_master(Iova iova, Access access);
    std::uint64_t transfer_known(Iova iova, std::byte* bytes, std::uint64_t size, Access access);
    Result<> transfer(Iova iova, std::byte* bytes, std::uint64_t size, Access access,
                      std::uint64_t done);
    Stop copy_some(Iova iova, std::byte* bytes, std::uint64_t size, Access access,
                   std::uint64_t& done, Place& place);
    static bool reach(Place const& place, std::byte* bytes, Access access);
    Result<> through_buffer(std::span<DmaPiece const> pieces, Access access,
                            FunctionRef<Result<>(std::span<iovec const>)> use);
    Stop find(Iova iova, std::uint64_t size, Access access, Place& place);
    Stop walk(Iova iova, std::uint64_t size, Access access, Place& place);
    // Of everything that a translation consists of. Both only grow, so the sum is as good as both.
    std::uint64_t generation() const
    {
        return endpoint_.iotlb().generation() + memory_.generation();
    }
    void remember(Iova iova, std::uint64_t generation);
    Stop collect(std::span<DmaPiece const> pieces, Access access, Segments& segments,
                 Iova& stopped);
    void fault(Iova iova, Access access, iommu::FaultReason reason);
    void count(Access access, std::uint64_t calls, std::uint64_t bytes);

    iommu::Endpoint& endpoint_;
    host::Memory& memory_;
    ReachedPages reached_;
    std::atomic<unsigned> muted_{kMasterOff};  // 0: it may speak
    std::atomic<std::uint64_t> reads_{0}, read_bytes_{0}, writes_{0}, written_bytes_{0};
};

}  // namespace pinfold::pci
