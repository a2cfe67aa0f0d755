#include "cli/mount_namespace.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <set>

#include "base/unique_fd.hpp"
#include "cli/capabilities.hpp"
#include "cli/shadow.hpp"

namespace pinfold::cli {

namespace {

namespace fs = std::filesystem;
using Outcome = NamespaceOutcome;

std::unexpected<NamespaceRefused> refused(std::string what, int error)
{
    return std::unexpected{NamespaceRefused{std::move(what), static_cast<Errno>(error)}};
}

Outcome as_outcome(std::string what, Result<> const& result)
{
    if (!result) return refused(std::move(what), number(result.error()));
    return {};
}

bool write_whole(char const* file, std::string_view text)
{
    UniqueFd const fd{::open(file, O_WRONLY | O_CLOEXEC)};
    return fd && ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

// Users and groups keep their numbers: programs look at theirs, and at whose files are.
Outcome enter_user_namespace()
{
    auto const uid = ::geteuid();
    auto const gid = ::getegid();
    auto const bounding = bounding_set();
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return refused("unshare", errno);
    // Gone before Linux 3.19, where nobody asks for it.
    (void)write_whole("/proc/self/setgroups", "deny");
    if (!write_whole("/proc/self/uid_map", fmt::format("{0} {0} 1", uid)))
        return refused("/proc/self/uid_map", errno);
    if (!write_whole("/proc/self/gid_map", fmt::format("{0} {0} 1", gid)))
        return refused("/proc/self/gid_map", errno);
    limit_bounding_set(bounding);
    return {};
}

Outcome enter()
{
    if (effective(CAP_SYS_ADMIN)) {
        if (::unshare(CLONE_NEWNS) != 0) return refused("unshare", errno);
    } else if (auto const entered = enter_user_namespace(); !entered) {
        return entered;
    }
    // What the host mounts from now on still arrives; what we mount does not leave.
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0)
        return refused("making mounts private", errno);
    return {};
}

// Makes places that are missing, by shadowing their nearest ancestor; each ancestor once.
class Places {
public:
    explicit Places(fs::path stage) : stage_{std::move(stage)} {}

    Outcome make(fs::path const& directory)
    {
        auto const ancestor = existing_ancestor(directory);
        if (ancestor == directory) return {};
        if (!ancestor.has_relative_path()) return refused(directory.string(), ENOENT);
        if (!filesystems_.contains(filesystem(ancestor))) {
            if (auto const done = shadow(ancestor, stage_); !done)
                return as_outcome(ancestor.string(), done);
            filesystems_.insert(filesystem(ancestor));
        }
        std::error_code error;
        fs::create_directories(directory, error);
        if (error) return refused(directory.string(), error.value());
        return {};
    }

private:
    static dev_t filesystem(fs::path const& path)
    {
        struct stat status{};
        return ::stat(path.c_str(), &status) == 0 ? status.st_dev : 0;
    }

    fs::path stage_;
    std::set<dev_t> filesystems_;  // of shadows: where entries can be made
};

Outcome put_in_place(fs::path const& directory, fs::path const& state)
{
    return as_outcome(directory.string(), bind(machine::mirrored(state, directory), directory));
}

// Nodes are made of a character device that answers nothing: /dev/fuse refuses read, write and
// mmap; /dev/null, where the user may not open the other, refuses ioctl and mmap.
char const* node_device()
{
    UniqueFd const fuse{::open("/dev/fuse", O_RDWR | O_CLOEXEC)};
    return fuse ? "/dev/fuse" : "/dev/null";
}

Outcome make_node(machine::RunState::Node& node, char const* device)
{
    auto const path =
        fs::path{PINFOLD_NODE_DIR} /
        (node.group ? fmt::format("{}", *node.group) : std::string{PINFOLD_NODE_CONTAINER});
    if (auto const bound = bind(device, path); !bound) return as_outcome(path.string(), bound);
    struct statx seen{};
    if (::statx(AT_FDCWD, path.c_str(), 0, STATX_INO | STATX_MNT_ID, &seen) != 0)
        return refused(path.string(), errno);
    if ((seen.stx_mask & STATX_MNT_ID) == 0) return refused("statx without mount ids", ENOSYS);
    node.mount_id = seen.stx_mnt_id;
    node.st_dev = ::makedev(seen.stx_dev_major, seen.stx_dev_minor);
    node.st_ino = seen.stx_ino;
    return {};
}

}  // namespace

Outcome enter_mount_namespace(fs::path const& state)
{
    if (auto const entered = enter(); !entered) return entered;
    auto const root = state / PINFOLD_DIR_ROOT;
    return as_outcome(root.string(), mount_tmpfs(root, "sysfs", 0));
}

Outcome put_tree_in_place(fs::path const& state, std::span<fs::path const> directories,
                          std::vector<machine::RunState::Node>& nodes)
{
    std::error_code error;
    auto const working_directory = fs::current_path(error);
    auto const stage = state / "stage";
    if (::mkdir(stage.c_str(), 0700) != 0 && errno != EEXIST) return refused(stage.string(), errno);
    Places places{stage};
    for (auto const& directory : directories)
        if (auto const made = places.make(directory); !made) return made;
    for (auto const& directory : directories)
        if (auto const placed = put_in_place(directory, state); !placed) return placed;
    auto const* const device = node_device();
    for (auto& node : nodes)
        if (auto const made = make_node(node, device); !made) return made;

    // A working directory that is covered now would lead on into what lies below.
    if (!working_directory.empty()) (void)!::chdir(working_directory.c_str());
    return {};
}

}  // namespace pinfold::cli
