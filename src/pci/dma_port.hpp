// The port a device does DMA through, and the only way in which a device model reaches memory:
// every access goes IOVA -> IOTLB -> IOMMU page table -> frame -> host memory, piece by piece. Bus
// master off means no DMA.
//
// A failed access has recorded a fault. Pieces before the failing one have happened, as on the bus.
// Thread safe; must not be called from inside a ReadSection.
#pragma once

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
    Result<> read(Iova from, std::span<std::byte> into);
    Result<> write(Iova to, std::span<std::byte const> from);

    // For transfers whose other end is a file: calls `use` with host segments that are, in order
    // and in whole, the bytes of `pieces`; merged where contiguous. The segments are good inside
    // the call only, and may fault there if the process pulled its memory away (a system call on
    // them then says EFAULT; `use` reports that as Errno::fault and it is recorded). `access` is
    // the device's: write puts bytes into the client's memory. EFAULT: some piece does not
    // translate; `use` is not called. Otherwise what `use` returns.
    Result<> with_segments(std::span<DmaPiece const> pieces, Access access,
                           FunctionRef<Result<>(std::span<iovec const>)> use);

    void set_bus_master(bool on);
    bool bus_master() const;

    // Totals since construction.
    struct Counters {
        std::uint64_t reads = 0, read_bytes = 0, writes = 0, written_bytes = 0;
    };
    Counters counters() const;
    iommu::Endpoint& endpoint();
};

}  // namespace pinfold::pci
