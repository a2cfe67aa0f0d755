// A device that is software, such as a mediated device: it reaches a Space through its driver, not
// through an IOMMU. Linux: a driver in an emulated group, with vfio_pin_pages(), vfio_unpin_pages()
// and vfio_dma_rw().
//
//     auto const device = TRY(space->add_software_device([&](pinfold::IovaRange going) {
//         ...                                        // unpin what is pinned there
//     }));
//     std::array<pinfold::Paddr, 1> page;
//     TRY(device->pin(iova, pinfold::Prot::read_write, page));
//     TRY(device->touch(page[0], [](std::byte* bytes) { bytes[0] = std::byte{1}; }));
//
// Thread safe. Goes before its Space does.
#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "base/address.hpp"
#include "base/function_ref.hpp"
#include "base/prot.hpp"
#include "base/range.hpp"
#include "base/result.hpp"

namespace pinfold {

class SoftwareDevice {
public:
    // Called before `going` is unmapped, on the thread that unmaps: the driver unpins every page
    // that it holds there. It may ask for anything else too, except for devices to come or go.
    using LetGo = std::function<void(IovaRange going)>;

    virtual ~SoftwareDevice() = default;

    // Pins the host pages at `iova`, one after another; pages[i] becomes the paddr of page i, for
    // touch(). They stay where they are until unpin(). A page is charged once however often it is
    // pinned, and not at all while a device behind the IOMMU has it. All or nothing. EINVAL: no
    // page, `iova` is in the middle of one, nothing is mapped there, or no device
    // of the Space has a LetGo.
    // EOVERFLOW: wraps. EPERM: a right of `prot` is missing in the mapping. ENOMEM: the limit.
    // EFAULT: the memory has gone.
    virtual Result<> pin(Iova iova, Prot prot, std::span<Paddr> pages) = 0;
    // What is not pinned there is left alone.
    virtual void unpin(Iova iova, std::size_t pages) = 0;
    // Calls `use` with the bytes of a page that is pinned; good inside the call only. EFAULT: no
    // page has that paddr.
    virtual Result<> touch(Paddr page, FunctionRef<void(std::byte*)> use) = 0;

    // The driver's own loads and stores, without a pin. EINVAL: some byte is not mapped. EPERM: not
    // with that right (write() wants both). EFAULT: the memory has gone.
    virtual Result<> read(Iova from, std::span<std::byte> into) = 0;
    virtual Result<> write(Iova to, std::span<std::byte const> from) = 0;
};

}  // namespace pinfold
