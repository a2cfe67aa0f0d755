#include "cli/shadow.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "base/unique_fd.hpp"

namespace pinfold::cli {

namespace {

namespace fs = std::filesystem;

std::unexpected<Errno> system_error() { return fail(static_cast<Errno>(errno)); }

// Who owns it and when it changed, as `ls -l` shows; a user who cannot give files away keeps them.
void copy_face(fs::path const& to, struct stat const& status)
{
    (void)!::lchown(to.c_str(), status.st_uid, status.st_gid);
    if (!S_ISLNK(status.st_mode)) (void)::chmod(to.c_str(), status.st_mode & 07777);
    timespec const times[2] = {status.st_atim, status.st_mtim};
    (void)::utimensat(AT_FDCWD, to.c_str(), times, AT_SYMLINK_NOFOLLOW);
}

Result<> copy_link(fs::path const& from, fs::path const& to, struct stat const& status)
{
    std::error_code error;
    auto const target = fs::read_symlink(from, error);
    if (error) return {};  // gone in the meantime
    if (::symlink(target.c_str(), to.c_str()) != 0) return system_error();
    copy_face(to, status);
    return {};
}

Result<> carry_over(fs::path const& from, fs::path const& to)
{
    struct stat status{};
    if (::lstat(from.c_str(), &status) != 0) return {};  // gone in the meantime
    if (S_ISLNK(status.st_mode)) return copy_link(from, to, status);
    if (S_ISDIR(status.st_mode)) {
        if (::mkdir(to.c_str(), 0755) != 0) return system_error();
    } else {
        UniqueFd const point{::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)};
        if (!point) return system_error();
    }
    auto const bound = bind(from, to);
    if (!bound && bound.error() == Errno::noent) return {};
    return bound;
}

Result<> carry_all_over(fs::path const& directory, fs::path const& stage)
{
    std::error_code error;
    for (fs::directory_iterator entry{directory, error}, end; !error && entry != end;
         entry.increment(error))
        TRY(carry_over(entry->path(), stage / entry->path().filename()));
    if (error) return fail(static_cast<Errno>(error.value()));
    return {};
}

}  // namespace

Result<> bind(fs::path const& source, fs::path const& target)
{
    if (::mount(source.c_str(), target.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0)
        return system_error();
    return {};
}

Result<> mount_tmpfs(fs::path const& target, char const* source, std::uint64_t size)
{
    // Not the default mode of 1777: in a sticky directory that is writable to all, an ordinary user
    // could not even open a device of root's for writing (protected_regular).
    auto const options = fmt::format("mode=755,size={}", size);
    if (::mount(source, target.c_str(), "tmpfs", MS_NOSUID | MS_NOEXEC, options.c_str()) != 0)
        return system_error();
    return {};
}

fs::path existing_ancestor(fs::path const& path)
{
    auto at = path;
    std::error_code unused;
    while (at.has_relative_path() && !fs::is_directory(at, unused)) at = at.parent_path();
    return at;
}

Result<> shadow(fs::path const& directory, fs::path const& stage)
{
    struct stat status{};
    if (::stat(directory.c_str(), &status) != 0) return system_error();
    struct statfs filesystem{};
    if (::statfs(directory.c_str(), &filesystem) != 0) return system_error();
    bool const device_nodes = filesystem.f_type == TMPFS_MAGIC;  // devtmpfs says so too
    TRY(mount_tmpfs(stage, device_nodes ? "devtmpfs" : "sysfs",
                    filesystem.f_blocks * static_cast<std::uint64_t>(filesystem.f_bsize)));
    auto carried = carry_all_over(directory, stage);
    if (carried) {
        copy_face(stage, status);
        if (::mount(stage.c_str(), directory.c_str(), nullptr, MS_MOVE, nullptr) != 0)
            carried = system_error();
    }
    if (!carried) (void)::umount2(stage.c_str(), MNT_DETACH);
    return carried;
}

}  // namespace pinfold::cli
