// The front door for programs that embed Pinfold: one I/O address space with Type1's exact rules,
// and the side from which a device uses it. What `pinfold run` does for whole programs, without
// files, descriptors or ioctls.
//
//     auto space = TRY(pinfold::Space::create({}));
//     TRY(space->map(pinfold::Iova{0x10000}, buffer, size, pinfold::Prot::read_write));
//     TRY(space->read(pinfold::Iova{0x10000}, bytes));          // as a device would
//
// Thread safe. unmap() returns only when no access through the old translation is under way.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/address.hpp"
#include "base/function_ref.hpp"
#include "base/page_size.hpp"
#include "base/prot.hpp"
#include "base/result.hpp"
#include "pinfold/software_device.hpp"

namespace pinfold {

class Space {
public:
    // What holds the translations: our own index, or the page tables of an IOMMU, bit for bit.
    enum class Tables { native, vtd };

    struct Options {
        Tables tables = Tables::native;
        unsigned address_width = 48;       // bits of IOVA; vtd: 30 to 57
        PageSizes page_sizes{0x40201000};  // of the IOMMU
        PageSize host_page = k4K;          // 4K, 16K or 64K: what is pinned, charged and aligned to
        unsigned mapping_limit = 65535;    // map() beyond it is ENOSPC
        // Most bytes that may be pinned; nullopt: the process's own RLIMIT_MEMLOCK, as it is at
        // each call.
        std::optional<std::uint64_t> memlock = ~std::uint64_t{0};
    };
    // EINVAL: no IOMMU has that width or those page sizes. ENOMEM.
    static Result<std::unique_ptr<Space>> create(Options options);
    virtual ~Space() = default;

    // VFIO_IOMMU_MAP_DMA of [vaddr, vaddr + size), addresses and size in bytes, multiples of the
    // granule (the larger of the host page and the IOMMU's smallest). EINVAL: misaligned, size 0,
    // no right in `prot`, outside the aperture. EOVERFLOW: wraps. EEXIST: overlaps a mapping.
    // ENOSPC: too many mappings. EFAULT: memory that is not there or has not the right. ENOMEM: the
    // limit, or no memory. A failed call changes nothing.
    virtual Result<> map(Iova iova, void* vaddr, std::uint64_t size, Prot prot) = 0;

    // VFIO_IOMMU_UNMAP_DMA, Type1v2: the bytes that were mapped. EINVAL: misaligned, size 0, or the
    // range cuts a mapping in two (nothing is removed then). EOVERFLOW: wraps.
    virtual Result<std::uint64_t> unmap(Iova iova, std::uint64_t size) = 0;
    virtual Result<std::uint64_t> unmap_all() = 0;

    // What a device does. EFAULT: some byte is not mapped, or not with that right; a read is all
    // ones from there on.
    virtual Result<> read(Iova from, std::span<std::byte> into) = 0;
    virtual Result<> write(Iova to, std::span<std::byte const> from) = 0;
    // Calls `use` with the host memory behind [iova, iova + size), merged where contiguous; good
    // inside the call only. EFAULT: some byte does not translate; `use` is not called. Otherwise
    // what `use` returns.
    virtual Result<> with_segments(Iova iova, std::uint64_t size, Access access,
                                   FunctionRef<Result<>(std::span<iovec const>)> use) = 0;

    // A device that is software, in a group of its own (software_device.hpp). `let_go` may be
    // empty for one that pins nothing. ENOMEM.
    virtual Result<std::unique_ptr<SoftwareDevice>> add_software_device(
        SoftwareDevice::LetGo let_go) = 0;

    // The program is about to unmap, replace or discard [vaddr, vaddr + size): pinned pages there
    // are moved aside, so that devices keep the old page. Without this, such an access is EFAULT or
    // reaches what has taken the address.
    virtual Result<> withdraw(void* vaddr, std::uint64_t size) = 0;

    virtual std::uint64_t pinned_pages() const = 0;
    virtual std::uint64_t faults() const = 0;
};

}  // namespace pinfold
