// The file behind /dev/vfio/vfio: the container's ioctls, decoded and encoded to the byte. Thread
// safe.
#pragma once

#include <memory>

#include "base/kernel.hpp"
#include "type1/container.hpp"
#include "uapi/file.hpp"

namespace pinfold::uapi {

class ContainerFile final : public File {
public:
    // The container outlives this file while groups are in it (rule G-12).
    ContainerFile(std::shared_ptr<type1::Container> container, Kernel kernel);

    // EINVAL: a request of a back end, and there is none; the argument is not looked at (rule C-3).
    // ENOTTY: no such request (rule C-4).
    Reply ioctl(Client& client, std::uint32_t request, std::uint64_t arg) override;
    std::shared_ptr<type1::Container> container() const override { return container_; }

private:
    Reply get_info(Client& client, std::uint64_t arg);
    Reply map_dma(Client& client, std::uint64_t arg);
    Reply unmap_dma(Client& client, std::uint64_t arg);
    Reply dirty_pages(Client& client, std::uint64_t arg);
    Reply dirty_bitmap(Client& client, std::uint64_t arg, std::uint32_t argsz);

    std::shared_ptr<type1::Container> container_;
    Kernel kernel_;
};

}  // namespace pinfold::uapi
