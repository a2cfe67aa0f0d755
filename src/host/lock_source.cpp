#include "host/lock_source.hpp"

#include <sys/resource.h>

#include <array>
#include <charconv>
#include <string_view>

#include "host/raw_memory.hpp"

namespace pinfold::host {
namespace {

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
    rlimit limit{};
    if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return ~std::uint64_t{0};
    return limit.rlim_cur;  // RLIM_INFINITY is ~0
}

std::uint64_t OwnLockSource::mlocked_bytes()
{
    std::uint64_t const limit = limit_bytes();
    if (limit < (std::uint64_t{1} << 46) && surely_nothing_locked(limit)) return 0;

    UniqueFd const file = raw::open("/proc/self/status", O_RDONLY);
    std::array<char, 8192> text;
    long const size = ::syscall(SYS_read, file.get(), text.data(), text.size());
    return size <= 0 ? 0 : vm_lck_bytes({text.data(), static_cast<std::size_t>(size)});
}

}  // namespace pinfold::host
