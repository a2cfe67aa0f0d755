#include "uapi/group_file.hpp"

#include <linux/vfio.h>

#include "type1/group.hpp"
#include "type1/rollback.hpp"
#include "uapi/user_memory.hpp"

namespace pinfold::uapi {

Result<OpenToken> OpenToken::take(std::atomic<bool>& open)
{
    if (open.exchange(true)) return fail(Errno::busy);
    return OpenToken{open};
}

// What a device file holds of its group: the group's file lives on without descriptors (rule G-13),
// and the group stays in its container.
struct GroupFile::DeviceLease {
    DeviceLease(GroupFile& group, FileTable::Ref file) : group_{group}, file_{std::move(file)}
    {
        ++group_.open_devices_;
    }
    ~DeviceLease() { --group_.open_devices_; }
    DeviceLease(DeviceLease const&) = delete;
    DeviceLease& operator=(DeviceLease const&) = delete;

    GroupFile& group_;
    FileTable::Ref file_;
};

GroupFile::GroupFile(Door::GroupEntry const& entry, OpenToken token, Surroundings surroundings)
    : entry_{entry}, token_{std::move(token)}, surroundings_{surroundings}
{
}

GroupFile::~GroupFile()
{
    if (container_) leave_container();
}

void GroupFile::leave_container()
{
    container_->remove(*entry_.group);
    container_.reset();
    claim_.reset();
}

Reply GroupFile::ioctl(Client& client, std::uint32_t request, std::uint64_t arg)
{
    switch (request) {
        case VFIO_GROUP_GET_STATUS: return get_status(client, arg);
        case VFIO_GROUP_SET_CONTAINER: return set_container(client, arg);
        case VFIO_GROUP_UNSET_CONTAINER: return unset_container();
        case VFIO_GROUP_GET_DEVICE_FD: return get_device_fd(client, arg);
        default: return fail(Errno::notty);
    }
}

// Rule G-3. What is in a container no driver of the kernel's can have.
Reply GroupFile::get_status(Client& client, std::uint64_t arg)
{
    vfio_group_status status;
    TRY(read_user(client, arg, status));
    if (status.argsz < sizeof status) return fail(Errno::inval);
    std::lock_guard const lock{mutex_};
    status.flags = 0;
    if (container_) status.flags |= VFIO_GROUP_FLAGS_CONTAINER_SET;
    if (container_ || !client.in_use_by_kernel(entry_.number))
        status.flags |= VFIO_GROUP_FLAGS_VIABLE;
    TRY(write_user(client, arg, status));
    return 0;
}

// Rules G-4 and G-5.
Reply GroupFile::set_container(Client& client, std::uint64_t arg)
{
    int fd = -1;
    TRY(read_user(client, arg, fd));
    FileId const id = TRY(client.file(fd));
    std::lock_guard const lock{mutex_};
    if (container_) return fail(Errno::inval);
    auto const file = surroundings_.table.find(id);
    auto container = file ? file->container() : nullptr;
    // An open file that is no container. Since 6.2 it might have been an iommufd.
    if (!container)
        return fail(surroundings_.kernel >= Kernel::v6_12 ? Errno::badfd : Errno::inval);

    auto claim = TRY(client.claim_dma(entry_.number));
    TRY(container->add(*entry_.group, &client.process()));
    container_ = std::move(container);
    claim_ = std::move(claim);
    return 0;
}

// Rule G-7.
Reply GroupFile::unset_container()
{
    std::lock_guard const lock{mutex_};
    if (!container_) return fail(Errno::inval);
    if (open_devices_ != 0) return fail(Errno::busy);
    leave_container();
    return 0;
}

// Rule G-8: a name that leads nowhere beats a container that is missing.
Reply GroupFile::get_device_fd(Client& client, std::uint64_t arg)
{
    auto const text = TRY(read_user_string(client, arg, surroundings_.host_page.bytes()));
    pci::Function* const function = TRY(function_named(client, text));
    FileId const file = TRY(open_device(*function));
    type1::Rollback release{[&] { surroundings_.table.release(file); }};
    int const fd = TRY(client.install(file));
    release.commit();
    return static_cast<std::uint64_t>(fd);
}

Result<FileId> GroupFile::open_device(pci::Function& function)
{
    std::lock_guard const lock{mutex_};
    if (!container_ || !container_->version()) return fail(Errno::inval);
    auto lease = std::make_shared<DeviceLease>(*this, surroundings_.table.hold(*this));
    auto file = TRY(
        make_device_file(function, {entry_.number, surroundings_.host_page, surroundings_.kernel,
                                    surroundings_.files, reset_domain_of(function)}));
    return surroundings_.table.insert(std::move(file), std::move(lease));
}

ResetDomain const* GroupFile::reset_domain_of(pci::Function const& function) const
{
    for (auto const& domain : surroundings_.reset_domains)
        for (auto const& member : domain.members)
            if (member.function == &function) return &domain;
    return nullptr;
}

// Rule G-9. ENODEV: no function of this group that is bound to vfio-pci has that name. EINVAL:
// options behind a name; the only one there is, vf_token, is for functions with SR-IOV.
Result<pci::Function*> GroupFile::function_named(Client& client, std::string_view text) const
{
    for (pci::Function* const function : entry_.functions) {
        auto const name = device_name(*function);
        if (!text.starts_with(name)) continue;
        auto const options = text.substr(name.size());
        if (!options.empty() && options.front() != ' ') continue;
        if (!client.bound(name)) return fail(Errno::nodev);
        if (device_gone(*function)) continue;
        if (options.find_first_not_of(' ') != std::string_view::npos) return fail(Errno::inval);
        return function;
    }
    return fail(Errno::nodev);
}

}  // namespace pinfold::uapi
