// The ioctl door: decodes, calls, encodes. It owns the open file descriptions, and it is the only
// place that knows struct layouts. bad_alloc from below becomes ENOMEM here and nowhere else.
// Thread safe.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "uapi/call.hpp"
#include "uapi/hot_reset.hpp"

namespace pinfold::type1 {
class Group;
struct Settings;
}  // namespace pinfold::type1
namespace pinfold::pci {
class Function;
}

namespace pinfold::uapi {

class Door {
public:
    // What there is to open: groups by number, each with the functions in it. All outlive the Door.
    struct GroupEntry {
        unsigned number;
        type1::Group* group;
        std::vector<pci::Function*> functions;
    };
    // `reset_domains`: one for each root port; functions of none are on the root bus.
    Door(type1::Settings const& settings, std::vector<GroupEntry> groups,
         std::vector<ResetDomain> reset_domains = {});
    ~Door();

    // open("/dev/vfio/vfio"). ENOMEM.
    Result<FileId> open_container();
    // open("/dev/vfio/N"). ENOENT: no such group. EBUSY: already open (rule G-1).
    Result<FileId> open_group(unsigned number);

    // EBADF: call.file is none of ours. ENOTTY, EINVAL and so on as each file says.
    Reply call(Client& client, Call const& call);

    // mmap(2) on a device descriptor, in the kernel's order of checks (rule V-18). `shared`:
    // MAP_SHARED. EINVAL, ENODEV (not a device).
    Result<BarMapping> mmap(FileId file, std::uint64_t offset, std::uint64_t size, bool shared);

    // The last descriptor of `file` is gone.
    void release(FileId file);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace pinfold::uapi
