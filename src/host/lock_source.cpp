#include "host/lock_source.hpp"

#include <linux/capability.h>
#include <sys/resource.h>

#include <array>
#include <charconv>
#include <string_view>

#include "host/mappings.hpp"
#include "host/raw_memory.hpp"

namespace pinfold::host {
namespace {

std::uint64_t own_limit_bytes()
{
    rlimit limit{};
    if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return ~std::uint64_t{0};
    return limit.rlim_cur;  // RLIM_INFINITY is ~0
}

// Whether the calling thread holds CAP_IPC_LOCK effectively.
bool may_lock_now()
{
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
    if (::syscall(SYS_capget, &header, sets.data()) != 0) return false;
    return (sets[CAP_TO_INDEX(CAP_IPC_LOCK)].effective & CAP_TO_MASK(CAP_IPC_LOCK)) != 0;
}

// What mlock() of `size` bytes would be told, without locking anything: the range ends at 2^64, so
// the kernel refuses it with EINVAL, but only after the limit, which it refuses with ENOMEM.
int verdict_on_locking(std::uint64_t size)
{
    return ::syscall(SYS_mlock, std::uint64_t{0} - size, size) == 0 ? 0 : errno;
}

// True: nothing is locked, for a whole limit's worth would pass and one page more would not. False:
// not known. Two short calls instead of the 20 us that /proc/self/status takes.
bool surely_nothing_locked(std::uint64_t limit_bytes)
{
    std::uint64_t const whole = limit_bytes & ~std::uint64_t{4095};
    return verdict_on_locking(whole + 4096) == ENOMEM && verdict_on_locking(whole) == EINVAL;
}

// "VmLck:\t     132 kB" in the text of /proc/self/status; 0 where there is none.
std::uint64_t vm_lck_bytes(std::string_view status)
{
    std::size_t const at = status.find("VmLck:");
    if (at == std::string_view::npos) return 0;
    std::size_t const digit = status.find_first_of("0123456789", at);
    if (digit == std::string_view::npos) return 0;
    std::uint64_t kib = 0;
    std::from_chars(status.data() + digit, status.data() + status.size(), kib);
    return kib * 1024;
}

}  // namespace

std::uint64_t OwnLockSource::limit_bytes()
{
    return limit_bytes_ ? *limit_bytes_ : own_limit_bytes();
}

LockCap OwnLockSource::lock_cap()
{
    return at_launch_ == LockCap::yes && may_lock_now() ? LockCap::yes : LockCap::no;
}

std::uint64_t OwnLockSource::mlocked_bytes()
{
    std::uint64_t const limit = own_limit_bytes();
    if (limit < (std::uint64_t{1} << 46) && surely_nothing_locked(limit)) return 0;

    UniqueFd const file = raw::open("/proc/self/status", O_RDONLY);
    std::array<char, 8192> text;
    long const size = ::syscall(SYS_read, file.get(), text.data(), text.size());
    return size <= 0 ? 0 : vm_lck_bytes({text.data(), static_cast<std::size_t>(size)});
}

// MADV_COLD takes nothing away, and is refused for memory that is locked.
std::uint64_t mlocked_bytes_in(VaddrRange range)
{
    std::uint64_t locked = 0;
    (void)Mappings{}.for_each(range, [&](Mapping const& mapping) -> Result<> {
        std::byte* const start = raw::pointer(mapping.range.start.raw());
        bool const cold = raw::madvise(start, k4K.bytes(), MADV_COLD) == 0 || errno != EINVAL;
        if (!cold) locked += mapping.range.size();
        return {};
    });
    return locked;
}

}  // namespace pinfold::host
