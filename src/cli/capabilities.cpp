#include "cli/capabilities.hpp"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <filesystem>

namespace pinfold::cli {

namespace {

constexpr unsigned kCapabilities = 64;  // more than there are; the rest answer EINVAL
// The initial user namespace has this number in every kernel (linux/proc_ns.h).
constexpr char kInitialUserNamespace[] = "user:[4026531837]";

}  // namespace

bool effective(unsigned capability)
{
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
    if (::syscall(SYS_capget, &header, sets.data()) != 0) return false;
    return (sets[capability / 32].effective >> (capability % 32) & 1) != 0;
}

host::LockCap sample_lock_cap()
{
    std::error_code failed;
    auto const where = std::filesystem::read_symlink("/proc/self/ns/user", failed);
    bool const held = effective(CAP_IPC_LOCK) && !failed && where == kInitialUserNamespace;
    return held ? host::LockCap::yes : host::LockCap::no;
}

std::uint64_t bounding_set()
{
    std::uint64_t set = 0;
    for (unsigned i = 0; i < kCapabilities; ++i)
        if (::prctl(PR_CAPBSET_READ, i) == 1) set |= std::uint64_t{1} << i;
    return set;
}

void limit_bounding_set(std::uint64_t kept)
{
    for (unsigned i = 0; i < kCapabilities; ++i)
        if ((kept >> i & 1) == 0 && ::prctl(PR_CAPBSET_READ, i) == 1)
            (void)::prctl(PR_CAPBSET_DROP, i);
}

}  // namespace pinfold::cli
