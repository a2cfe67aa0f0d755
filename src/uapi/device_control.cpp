#include "uapi/device_control.hpp"

#include <linux/vfio.h>

#include <algorithm>
#include <bit>

#include "uapi/device_info.hpp"
#include "uapi/user_memory.hpp"

namespace pinfold::uapi {

Reply device_reset(pci::Function& function)
{
    TRY(function.reset());
    return 0;
}

namespace {

constexpr std::uint32_t kSet = VFIO_DEVICE_FEATURE_SET;
constexpr std::uint32_t kGet = VFIO_DEVICE_FEATURE_GET;
constexpr std::uint32_t kProbe = VFIO_DEVICE_FEATURE_PROBE;

// The newest headers have them; what is built with may be older.
constexpr std::uint32_t kLowPowerEntry = 3;
constexpr std::uint32_t kLowPowerEntryWithWakeup = 4;
constexpr std::uint32_t kLowPowerExit = 5;

struct FeatureHeader {
    std::uint32_t argsz, flags;
};
static_assert(sizeof(FeatureHeader) == offsetof(vfio_device_feature, data));

struct LowPowerWakeup {
    std::int32_t wakeup_eventfd;
    std::uint32_t reserved;
};

// Whether a feature that can only be set, with `data` bytes behind the header, is to be carried
// out; false: it was only asked after.
Result<bool> to_be_set(FeatureHeader header, std::size_t data)
{
    if ((header.flags & kGet) != 0) return fail(Errno::inval);
    if ((header.flags & kProbe) != 0) return false;
    if ((header.flags & kSet) == 0 || header.argsz < sizeof header + data)
        return fail(Errno::inval);
    return true;
}

Reply enter_low_power_with_wakeup(Client& client, pci::Function& function, FeatureHeader header,
                                  std::uint64_t arg)
{
    LowPowerWakeup data{};
    if (!TRY(to_be_set(header, sizeof data))) return 0;
    TRY(read_user(client, arg + sizeof header, data));
    if (data.wakeup_eventfd < 0) return fail(Errno::inval);
    TRY(function.enter_low_power(TRY(client.eventfd(data.wakeup_eventfd))));
    return 0;
}

}  // namespace

Reply device_feature(Client& client, pci::Function& function, std::uint64_t arg)
{
    FeatureHeader header{};
    TRY(read_user(client, arg, header));
    if (header.argsz < sizeof header) return fail(Errno::inval);
    if ((header.flags & ~(VFIO_DEVICE_FEATURE_MASK | kSet | kGet | kProbe)) != 0)
        return fail(Errno::inval);
    if ((header.flags & (kSet | kGet | kProbe)) == (kSet | kGet)) return fail(Errno::inval);

    switch (header.flags & VFIO_DEVICE_FEATURE_MASK) {
        case kLowPowerEntry:
            if (TRY(to_be_set(header, 0))) TRY(function.enter_low_power(UniqueFd{}));
            return 0;
        case kLowPowerEntryWithWakeup:
            return enter_low_power_with_wakeup(client, function, header, arg);
        case kLowPowerExit:
            if (TRY(to_be_set(header, 0))) function.exit_low_power();
            return 0;
        default: return fail(Errno::notty);
    }
}

Reply device_ioeventfd(Client& client, pci::Function& function, std::uint64_t arg)
{
    constexpr std::size_t kLeast = offsetof(vfio_device_ioeventfd, fd) + sizeof(std::int32_t);
    vfio_device_ioeventfd event{};
    TRY(read_user(client, arg, event, kLeast));
    constexpr std::uint32_t kWidths = VFIO_DEVICE_IOEVENTFD_SIZE_MASK;
    if (event.argsz < kLeast || (event.flags & ~kWidths) != 0) return fail(Errno::inval);
    // The flags are the widths in bytes, so exactly one of them is the width.
    if (!std::has_single_bit(event.flags) || event.fd < -1) return fail(Errno::inval);

    std::uint64_t const region = event.offset >> kRegionShift;
    pci::IoEvents::Write const write{
        .bar = static_cast<unsigned>(std::min<std::uint64_t>(region, pci::kBars)),
        .offset = event.offset % region_offset(1),
        .width = event.flags,
        .value = event.data};
    if (event.fd < 0)
        TRY(function.remove_io_event(write));
    else
        TRY(function.add_io_event(write, [&] { return client.eventfd(event.fd); }));
    return 0;
}

}  // namespace pinfold::uapi
