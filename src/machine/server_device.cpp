#include "machine/server_device.hpp"

#include <utility>

#include "base/read_section.hpp"

namespace pinfold::machine {

namespace {

// Nobody asks for it: such a group has no file.
constexpr unsigned kGroupNumber = 1;

}  // namespace

ServerDevice::ServerDevice(type1::Container& container, host::Memory& memory)
    : container_{container}, memory_{memory}, group_{kGroupNumber}
{
}

Result<std::unique_ptr<SoftwareDevice>> ServerDevice::create(type1::Container& container,
                                                             host::Memory& memory, LetGo let_go)
{
    std::unique_ptr<ServerDevice> device{new ServerDevice{container, memory}};
    TRY(container.add(device->group_));
    auto server = type1::DeviceServer::open(container, device->group_, std::move(let_go));
    if (!server) {
        container.remove(device->group_);
        return fail(server.error());
    }
    device->server_ = std::move(*server);
    return device;
}

ServerDevice::~ServerDevice()
{
    if (!server_) return;
    server_.reset();
    container_.remove(group_);
}

Result<> ServerDevice::pin(Iova iova, Prot prot, std::span<Paddr> pages)
{
    return server_->pin_pages(iova, prot, pages);
}

void ServerDevice::unpin(Iova iova, std::size_t pages) { server_->unpin_pages(iova, pages); }

Result<> ServerDevice::touch(Paddr page, FunctionRef<void(std::byte*)> use)
{
    // The second time a page that was being moved has arrived.
    for (int attempt = 0; attempt < 2; ++attempt) {
        {
            ReadSection const section;
            if (std::byte* const bytes = memory_.at(page)) {
                use(bytes);
                return {};
            }
        }
        memory_.settle();
    }
    return fail(Errno::fault);
}

Result<> ServerDevice::read(Iova from, std::span<std::byte> into)
{
    return server_->read(from, into);
}

Result<> ServerDevice::write(Iova to, std::span<std::byte const> from)
{
    return server_->write(to, from);
}

}  // namespace pinfold::machine
