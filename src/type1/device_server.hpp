// What the driver of a software device asks of the container that its group is in: pages to hold on
// to, and bytes to read and write. Linux: vfio_pin_pages(), vfio_unpin_pages(), vfio_dma_rw() and
// the driver's dma_unmap callback. Thread safe.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>

#include "base/prot.hpp"
#include "base/range.hpp"
#include "base/result.hpp"

namespace pinfold::type1 {

class Container;
class Group;

class DeviceServer {
public:
    // Told before `range` is unmapped: the driver lets go of every page that it has pinned there,
    // by unpin_pages(). It may ask for anything else too, except for groups or servers to come or
    // go.
    using DmaUnmap = std::function<void(IovaRange range)>;

    // A device of `group` is opened. EINVAL: the group is not in `container`, or that has no back
    // end. `dma_unmap` may be empty; then there is no pin_pages(). The container and the group
    // outlive the server, and the group stays in the container meanwhile.
    static Result<std::unique_ptr<DeviceServer>> open(Container& container, Group& group,
                                                      DmaUnmap dma_unmap);
    ~DeviceServer();
    DeviceServer(DeviceServer const&) = delete;
    DeviceServer& operator=(DeviceServer const&) = delete;

    // Errors as Backend::pin_pages() has them (rule P-15).
    Result<> pin_pages(Iova iova, Prot prot, std::span<Paddr> pages);
    void unpin_pages(Iova iova, std::size_t pages);
    Result<> read(Iova from, std::span<std::byte> into);
    Result<> write(Iova to, std::span<std::byte const> from);

private:
    friend class Container;  // calls dma_unmap_
    DeviceServer(Container& container, Group& group, DmaUnmap dma_unmap);

    Container& container_;
    Group& group_;
    DmaUnmap dma_unmap_;
};

}  // namespace pinfold::type1
