#include "type1/device_server.hpp"

#include <utility>

#include "type1/container.hpp"

namespace pinfold::type1 {

DeviceServer::DeviceServer(Container& container, Group& group, DmaUnmap dma_unmap)
    : container_{container}, group_{group}, dma_unmap_{std::move(dma_unmap)}
{
}

Result<std::unique_ptr<DeviceServer>> DeviceServer::open(Container& container, Group& group,
                                                         DmaUnmap dma_unmap)
{
    std::unique_ptr<DeviceServer> server{new DeviceServer{container, group, std::move(dma_unmap)}};
    TRY(container.add(*server));
    return server;
}

DeviceServer::~DeviceServer() { container_.remove(*this); }

Result<> DeviceServer::pin_pages(Iova iova, Prot prot, std::span<Paddr> pages)
{
    return container_.pin_pages(group_, iova, prot, pages);
}

void DeviceServer::unpin_pages(Iova iova, std::size_t pages)
{
    container_.unpin_pages(iova, pages);
}

Result<> DeviceServer::read(Iova from, std::span<std::byte> into)
{
    return container_.dma_read(from, into);
}

Result<> DeviceServer::write(Iova to, std::span<std::byte const> from)
{
    return container_.dma_write(to, from);
}

}  // namespace pinfold::type1
