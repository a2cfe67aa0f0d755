#include "host/tracked_files.hpp"

#include <linux/magic.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>

#include "base/page_size.hpp"
#include "host/mappings.hpp"
#include "host/raw_memory.hpp"

namespace pinfold::host {
namespace {

// Bit 61 of /proc/self/pagemap tells pages of files and shared memory from a process's own. Asked
// first where the text of /proc/self/maps would have to be read. True also where it cannot be
// known.
bool may_map_files(VaddrRange range)
{
    constexpr std::uint64_t kFileOrShared = std::uint64_t{1} << 61;
    UniqueFd const pagemap = raw::open("/proc/self/pagemap", O_RDONLY);
    std::array<std::uint64_t, 512> entries;
    std::uint64_t page = range.start.raw() >> k4K.lg2();
    std::uint64_t const past = (range.last.raw() >> k4K.lg2()) + 1;
    while (page < past) {
        std::size_t const asked = std::min<std::uint64_t>(entries.size(), past - page);
        long const got = ::syscall(SYS_pread64, pagemap.get(), entries.data(),
                                   asked * sizeof entries[0], page * sizeof entries[0]);
        if (got < static_cast<long>(sizeof entries[0])) return true;
        auto const known = static_cast<std::size_t>(got) / sizeof entries[0];
        if (std::any_of(entries.data(), entries.data() + known,
                        [](std::uint64_t entry) { return (entry & kFileOrShared) != 0; })) {
            return true;
        }
        page += known;
    }
    return false;
}

// A file on a disk is tracked; of the file systems without one, those that live in memory are not.
// What has no name that leads anywhere is not a regular file (memfd, System V and anonymous shared
// memory) or is gone.
bool tracked(Mapping const& mapping)
{
    if (mapping.device_major != 0) return true;
    std::array<char, 4097> path{};
    if (mapping.file_name.empty() || mapping.file_name.size() >= path.size()) return false;
    std::ranges::copy(mapping.file_name, path.begin());
    struct statfs info = {};
    if (::syscall(SYS_statfs, path.data(), &info) != 0) return false;
    return info.f_type != TMPFS_MAGIC && info.f_type != HUGETLBFS_MAGIC &&
           info.f_type != RAMFS_MAGIC;
}

}  // namespace

bool maps_tracked_file(VaddrRange range)
{
    Mappings const mappings;
    if (!mappings.quick() && !may_map_files(range)) return false;
    bool found = false;
    auto const visit = [&](Mapping const& mapping) -> Result<> {
        found = found || (mapping.shared && mapping.writable && tracked(mapping));
        return {};
    };
    return mappings.for_each(range, visit) && found;
}

}  // namespace pinfold::host
