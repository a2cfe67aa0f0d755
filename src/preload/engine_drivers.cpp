// Which driver has a device, as the run's own tree says, where the stub's files act.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "machine/drivers.h"
#include "preload/engine.hpp"

namespace pinfold::preload {
namespace {

bool has(int state, char const* driver, std::string_view device)
{
    auto const link = fmt::format("{}/sys/bus/pci/drivers/{}/{}", PINFOLD_DIR_ROOT, driver, device);
    struct stat status{};
    return ::fstatat(state, link.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
}

}  // namespace

bool Engine::removed(std::string_view name) const
{
    auto const file = fmt::format("{}/{}", PINFOLD_DIR_REMOVALS, name);
    struct stat status{};
    return ::fstatat(directory_.get(), file.c_str(), &status, 0) == 0 && status.st_size != 0;
}

// A device that is removed stays with vfio-pci until it is closed.
bool Engine::device_bound(std::string_view name) const
{
    if (has(directory_.get(), PINFOLD_VFIO_DRIVER, name)) return true;
    machine::Machine const* const machine = live_.load(std::memory_order_acquire);
    auto const bdf = machine::Bdf::parse(name);
    return machine != nullptr && bdf && machine->in_use(*bdf) && removed(name);
}

// On Linux a group has its node as long as a device of it is bound to vfio-pci.
bool Engine::group_has_node(unsigned number) const
{
    return std::ranges::any_of(run_.devices, [&](auto const& device) {
        return device.group == number && device_bound(device.bdf.text());
    });
}

bool Engine::group_in_use_by_kernel(unsigned group) const
{
    return std::ranges::any_of(run_.devices, [&](auto const& device) {
        return device.group == group &&
               std::ranges::any_of(kPinfoldDrivers, [&](pinfold_driver const& driver) {
                   return !driver.leaves_dma &&
                          has(directory_.get(), driver.name, device.bdf.text());
               });
    });
}

// The lock goes with its process, however that ends. Who else has it is a driver that is getting a
// device at this moment.
Result<uapi::DmaClaim> Engine::claim_group_dma(unsigned group)
{
    auto const path = fmt::format(PINFOLD_FILE_DMA "{}", group);
    UniqueFd lock{::openat(directory_.get(), path.c_str(), O_RDWR | O_CLOEXEC)};
    if (!lock) return fail(static_cast<Errno>(errno));
    struct flock whole{};
    whole.l_type = F_WRLCK;
    if (::fcntl(lock.get(), F_OFD_SETLK, &whole) != 0 || group_in_use_by_kernel(group))
        return fail(Errno::perm);
    std::scoped_lock const hold{dma_mutex_};
    dma_claims_.insert_or_assign(group, std::move(lock));
    return uapi::DmaClaim{this, [this, group](void const*) {
                              std::scoped_lock const held{dma_mutex_};
                              dma_claims_.erase(group);
                          }};
}

}  // namespace pinfold::preload
