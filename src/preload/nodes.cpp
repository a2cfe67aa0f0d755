#include "preload/nodes.hpp"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace pinfold::preload {

std::optional<Node> Nodes::identify(int fd) const
{
    struct statx seen{};
    constexpr unsigned kWanted = STATX_INO | STATX_MNT_ID;
    if (::statx(fd, "", AT_EMPTY_PATH, kWanted, &seen) != 0) return std::nullopt;
    auto const device = makedev(seen.stx_dev_major, seen.stx_dev_minor);
    auto const is_file = [&](auto const& known) {
        return known.st_dev == device && known.st_ino == seen.stx_ino;
    };
    for (auto const& node : run_.nodes) {
        bool const same_mount =
            run_.mode == machine::RunState::Mode::paths || node.mount_id == seen.stx_mnt_id;
        if (!same_mount || !is_file(node)) continue;
        if (node.group) return Node{.kind = Node::Kind::group, .group = *node.group};
        return Node{.kind = Node::Kind::container};
    }
    for (auto const& file : run_.devices)
        if (is_file(file))
            return Node{.kind = Node::Kind::device, .group = file.group, .bdf = file.bdf};
    return std::nullopt;
}

bool same_description(int one, int other)
{
    pid_t const self = ::getpid();
    return ::syscall(SYS_kcmp, self, self, KCMP_FILE, one, other) == 0;
}

}  // namespace pinfold::preload
