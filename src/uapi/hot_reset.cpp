#include "uapi/hot_reset.hpp"

#include <linux/vfio.h>

#include <algorithm>

#include "uapi/device_file.hpp"
#include "uapi/user_memory.hpp"

namespace pinfold::uapi {

namespace {

// What both structures begin with; an array follows.
struct Header {
    std::uint32_t argsz, flags, count;
};
static_assert(sizeof(Header) == offsetof(vfio_pci_hot_reset_info, devices));
static_assert(sizeof(Header) == offsetof(vfio_pci_hot_reset, group_fds));

using Members = std::vector<ResetDomain::Member>;

Members present(ResetDomain const& domain)
{
    Members members = domain.members;
    std::erase_if(members, [](auto const& member) { return member.function->gone(); });
    return members;
}

Result<> write_devices(Client& client, std::uint64_t to, Members const& members)
{
    std::vector<vfio_pci_dependent_device> devices;
    for (auto const& member : members) {
        auto& device = devices.emplace_back();
        device.group_id = member.group;
        device.segment = member.segment;
        device.bus = member.bus;
        device.devfn = member.devfn;
    }
    return write_user_bytes(client, to, std::as_bytes(std::span{devices}));
}

// The groups of the descriptors behind the header, in the kernel's order: the first one that is
// wrong decides.
Result<std::vector<unsigned>> read_groups(Client& client, Files& files, std::uint64_t from,
                                          std::size_t count)
{
    std::vector<std::int32_t> descriptors(count);
    TRY(read_user_bytes(client, from, std::as_writable_bytes(std::span{descriptors})));
    std::vector<unsigned> groups;
    for (auto const fd : descriptors) {
        auto const group = files.group_number(TRY(client.file(fd)));
        if (!group) return fail(Errno::inval);
        groups.push_back(*group);
    }
    return groups;
}

}  // namespace

Reply device_get_hot_reset_info(Client& client, Kernel kernel, ResetDomain const* domain,
                                std::uint64_t arg)
{
    Header header{};
    TRY(read_user(client, arg, header));
    if (header.argsz < sizeof header) return fail(Errno::inval);
    if (domain == nullptr) return fail(Errno::nodev);

    auto const members = present(*domain);
    std::size_t const room = (header.argsz - sizeof header) / sizeof(vfio_pci_dependent_device);
    header.flags = 0;
    header.count = static_cast<std::uint32_t>(members.size());
    bool const fits = room >= members.size();
    // Since 6.6 the header comes last: where the list meets a fault, it stays as it was.
    bool const header_first = !fits || kernel < Kernel::v6_12;
    if (header_first) TRY(write_user(client, arg, header));
    if (!fits) return fail(Errno::nospc);
    TRY(write_devices(client, arg + sizeof header, members));
    if (!header_first) TRY(write_user(client, arg, header));
    return 0;
}

Reply device_hot_reset(Client& client, Kernel kernel, Files& files, ResetDomain const* domain,
                       std::uint64_t arg)
{
    Header header{};
    TRY(read_user(client, arg, header));
    if (header.argsz < sizeof header || header.flags != 0) return fail(Errno::inval);
    // Since 6.6 an empty list is for those who opened the device without its group.
    if (kernel >= Kernel::v6_12 && header.count == 0) return fail(Errno::inval);
    if (domain == nullptr) return fail(Errno::nodev);

    auto const members = present(*domain);
    if (header.count == 0 || header.count > members.size()) return fail(Errno::inval);
    auto const groups = TRY(read_groups(client, files, arg + sizeof header, header.count));
    for (auto const& member : members) {
        bool const owned = std::ranges::find(groups, member.group) != groups.end();
        if (!owned || !client.bound(device_name(*member.function))) return fail(Errno::inval);
    }
    for (auto const& member : members) member.function->bus_reset();
    return 0;
}

}  // namespace pinfold::uapi
