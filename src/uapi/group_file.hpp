// The file behind /dev/vfio/N: the group's ioctls, and the group's place in a container. Its end is
// the group's departure (rule G-14). Thread safe.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "type1/container.hpp"
#include "uapi/device_file.hpp"
#include "uapi/door.hpp"
#include "uapi/file_table.hpp"

namespace pinfold::uapi {

// A group can be open once (rule G-1). Whoever has this has it open; dropping it closes.
class OpenToken {
public:
    // EBUSY: open already.
    static Result<OpenToken> take(std::atomic<bool>& open);

private:
    struct Close {
        void operator()(std::atomic<bool>* open) const { open->store(false); }
    };
    explicit OpenToken(std::atomic<bool>& open) : open_{&open} {}
    std::unique_ptr<std::atomic<bool>, Close> open_;
};

class GroupFile final : public File {
public:
    struct Surroundings {
        FileTable& table;
        Files& files;
        PageSize host_page;
        Kernel kernel;
        std::vector<ResetDomain> const& reset_domains;
    };
    // `entry` and the surroundings outlive the file.
    GroupFile(Door::GroupEntry const& entry, OpenToken token, Surroundings surroundings);
    ~GroupFile() override;

    // ENOTTY: no such request (rule G-2).
    Reply ioctl(Client& client, std::uint32_t request, std::uint64_t arg) override;
    std::optional<unsigned> group_number() const override { return entry_.number; }

private:
    struct DeviceLease;

    Reply get_status(Client& client, std::uint64_t arg);
    Reply set_container(Client& client, std::uint64_t arg);
    Reply unset_container();
    Reply get_device_fd(Client& client, std::uint64_t arg);
    Result<FileId> open_device(pci::Function& function);
    Result<pci::Function*> function_named(Client& client, std::string_view text) const;
    ResetDomain const* reset_domain_of(pci::Function const& function) const;
    void leave_container();

    Door::GroupEntry const& entry_;
    OpenToken token_;
    Surroundings surroundings_;
    std::atomic<unsigned> open_devices_{0};  // grows under the mutex only
    std::mutex mutex_;
    std::shared_ptr<type1::Container> container_;
    DmaClaim claim_;  // as long as there is a container
};

}  // namespace pinfold::uapi
