// The library's software device: an emulated group of its own and the server of its driver.
#pragma once

#include <memory>

#include "host/memory.hpp"
#include "pinfold/software_device.hpp"
#include "type1/container.hpp"
#include "type1/device_server.hpp"
#include "type1/group.hpp"

namespace pinfold::machine {

class ServerDevice final : public SoftwareDevice {
public:
    // EINVAL: the container has no back end. Both outlive the device.
    static Result<std::unique_ptr<SoftwareDevice>> create(type1::Container& container,
                                                          host::Memory& memory, LetGo let_go);
    ~ServerDevice() override;

    Result<> pin(Iova iova, Prot prot, std::span<Paddr> pages) override;
    void unpin(Iova iova, std::size_t pages) override;
    Result<> touch(Paddr page, FunctionRef<void(std::byte*)> use) override;
    Result<> read(Iova from, std::span<std::byte> into) override;
    Result<> write(Iova to, std::span<std::byte const> from) override;

private:
    ServerDevice(type1::Container& container, host::Memory& memory);

    type1::Container& container_;
    host::Memory& memory_;
    type1::Group group_;
    std::unique_ptr<type1::DeviceServer> server_;  // nullptr: the group is in no container
};

}  // namespace pinfold::machine
