#include "uapi/device_control.hpp"

#include <linux/vfio.h>

#include "uapi/user_memory.hpp"

namespace pinfold::uapi {

Reply device_reset(pci::Function& function)
{
    TRY(function.reset());
    return 0;
}

Reply device_get_hot_reset_info(Client& client, std::uint64_t arg)
{
    struct {
        std::uint32_t argsz, flags, count;
    } header{};
    static_assert(sizeof header == offsetof(vfio_pci_hot_reset_info, devices));
    TRY(read_user(client, arg, header));
    if (header.argsz < sizeof header) return fail(Errno::inval);
    return fail(Errno::nodev);
}

Reply device_hot_reset(Client& client, std::uint64_t arg)
{
    struct {
        std::uint32_t argsz, flags, count;
    } header{};
    static_assert(sizeof header == offsetof(vfio_pci_hot_reset, group_fds));
    TRY(read_user(client, arg, header));
    if (header.argsz < sizeof header || header.flags != 0) return fail(Errno::inval);
    return fail(Errno::nodev);
}

Reply device_feature(Client& client, std::uint64_t arg)
{
    struct {
        std::uint32_t argsz, flags;
    } header{};
    static_assert(sizeof header == offsetof(vfio_device_feature, data));
    TRY(read_user(client, arg, header));
    if (header.argsz < sizeof header) return fail(Errno::inval);

    constexpr std::uint32_t kSet = VFIO_DEVICE_FEATURE_SET, kGet = VFIO_DEVICE_FEATURE_GET,
                            kProbe = VFIO_DEVICE_FEATURE_PROBE;
    if ((header.flags & ~(VFIO_DEVICE_FEATURE_MASK | kSet | kGet | kProbe)) != 0)
        return fail(Errno::inval);
    if ((header.flags & (kSet | kGet | kProbe)) == (kSet | kGet)) return fail(Errno::inval);
    return fail(Errno::notty);
}

}  // namespace pinfold::uapi
