#include "host/device_memory.hpp"

#include <bit>
#include <mutex>

namespace pinfold::host {

Result<Paddr> DeviceWindows::add(DeviceMemory& device, std::uint64_t size)
{
    std::unique_lock const lock{mutex_};
    if (size == 0 || size > room_.size()) return fail(Errno::nomem);
    std::uint64_t const alignment = std::bit_ceil(size);
    Paddr const start{(next_.raw() + (alignment - 1)) & ~(alignment - 1)};
    if (start > room_.last || size - 1 > room_.last - start) return fail(Errno::nomem);
    windows_.emplace(start, Window{&device, size});
    next_ = start + size;
    return start;
}

void DeviceWindows::remove(Paddr start)
{
    std::unique_lock const lock{mutex_};
    windows_.erase(start);
}

std::optional<DeviceWindows::Place> DeviceWindows::find(Paddr paddr) const
{
    if (!room_.contains(paddr)) return std::nullopt;
    std::shared_lock const lock{mutex_};
    auto at = windows_.upper_bound(paddr);
    if (at == windows_.begin()) return std::nullopt;
    --at;
    std::uint64_t const offset = paddr - at->first;
    if (offset >= at->second.size) return std::nullopt;
    return Place{at->second.device, offset, at->second.size - offset};
}

}  // namespace pinfold::host
