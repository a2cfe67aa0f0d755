#include "host/page_states.hpp"

#include <linux/ioctl.h>

#include <algorithm>
#include <array>
#include <optional>
#include <span>

#include "base/page_size.hpp"
#include "host/raw_memory.hpp"

namespace pinfold::host {
namespace {

// PAGEMAP_SCAN, as <linux/fs.h> has it since 6.7.
struct PageRegion {
    std::uint64_t start;
    std::uint64_t end;
    std::uint64_t categories;
};
struct ScanArgument {
    std::uint64_t size;
    std::uint64_t flags;
    std::uint64_t start;
    std::uint64_t end;
    std::uint64_t walk_end;
    std::uint64_t vec;
    std::uint64_t vec_len;
    std::uint64_t max_pages;
    std::uint64_t category_inverted;
    std::uint64_t category_mask;
    std::uint64_t category_anyof_mask;
    std::uint64_t return_mask;
};
static_assert(sizeof(ScanArgument) == 96);
constexpr unsigned long kPagemapScan = _IOWR('f', 16, ScanArgument);
constexpr std::uint64_t kIsFile = 1U << 2;
constexpr std::uint64_t kIsPresent = 1U << 3;
constexpr std::uint64_t kIsSwapped = 1U << 4;
constexpr std::uint64_t kIsZeroPage = 1U << 5;

// Bits of a pagemap entry.
constexpr std::uint64_t kExclusive = std::uint64_t{1} << 56;
constexpr std::uint64_t kFileOrShared = std::uint64_t{1} << 61;
constexpr std::uint64_t kSwapped = std::uint64_t{1} << 62;
constexpr std::uint64_t kPresent = std::uint64_t{1} << 63;

PageState state_of_categories(std::uint64_t categories)
{
    if ((categories & kIsZeroPage) != 0) return PageState::zero;
    return (categories & kIsFile) != 0 ? PageState::file : PageState::anonymous;
}

PageState state_of_entry(std::uint64_t entry)
{
    if ((entry & (kPresent | kSwapped)) == 0) return PageState::absent;
    if ((entry & kFileOrShared) != 0) return PageState::file;
    bool const own = (entry & (kExclusive | kSwapped)) != 0;
    return own ? PageState::anonymous : PageState::zero;
}

// One call. How many regions were found; nullopt: there is no such call.
std::optional<std::size_t> scan(int fd, std::uint64_t& start, std::uint64_t end,
                                std::span<PageRegion> regions)
{
    ScanArgument argument{};
    argument.size = sizeof argument;
    argument.start = start;
    argument.end = end;
    argument.vec = reinterpret_cast<std::uint64_t>(regions.data());
    argument.vec_len = regions.size();
    argument.category_anyof_mask = kIsPresent | kIsSwapped;
    argument.return_mask = kIsFile | kIsPresent | kIsSwapped | kIsZeroPage;
    long const found = ::syscall(SYS_ioctl, fd, kPagemapScan, &argument);
    if (found < 0) return std::nullopt;
    start = argument.walk_end;
    return static_cast<std::size_t>(found);
}

}  // namespace

PageStates::PageStates() : PageStates{Source::scan}
{
    std::uint64_t start = 0;
    std::array<PageRegion, 1> region{};
    if (!scan(file_.get(), start, k4K.bytes(), region)) source_ = Source::entries;
}

PageStates::PageStates(Source source)
    : file_{raw::open("/proc/self/pagemap", O_RDONLY)}, source_{source}
{
}

Result<> PageStates::for_each(VaddrRange range, Visit visit) const
{
    return source_ == Source::scan ? for_each_scanned(range, visit) : for_each_entry(range, visit);
}

Result<> PageStates::for_each_scanned(VaddrRange range, Visit visit) const
{
    std::array<PageRegion, 64> regions;
    std::uint64_t const end = range.last.raw() + 1;
    for (std::uint64_t start = range.start.raw(); start < end;) {
        auto const found = scan(file_.get(), start, end, regions);
        if (!found) return {};
        for (auto const& region : std::span{regions}.first(*found))
            TRY(visit({Vaddr{region.start}, Vaddr{region.end - 1}},
                      state_of_categories(region.categories)));
    }
    return {};
}

Result<> PageStates::for_each_entry(VaddrRange range, Visit visit) const
{
    std::array<std::uint64_t, 512> entries;
    std::uint64_t page = range.start.raw() >> k4K.lg2();
    std::uint64_t const past = (range.last.raw() >> k4K.lg2()) + 1;
    while (page < past) {
        std::size_t const asked = std::min<std::uint64_t>(entries.size(), past - page);
        long const got = ::syscall(SYS_pread64, file_.get(), entries.data(),
                                   asked * sizeof entries[0], page * sizeof entries[0]);
        if (got < static_cast<long>(sizeof entries[0])) return {};
        auto const known = static_cast<std::size_t>(got) / sizeof entries[0];
        for (std::size_t first = 0; first < known;) {
            PageState const state = state_of_entry(entries[first]);
            std::size_t last = first;
            while (last + 1 < known && state_of_entry(entries[last + 1]) == state) ++last;
            Vaddr const start{(page + first) << k4K.lg2()};
            if (state != PageState::absent)
                TRY(visit({start, Vaddr{((page + last + 1) << k4K.lg2()) - 1}}, state));
            first = last + 1;
        }
        page += known;
    }
    return {};
}

}  // namespace pinfold::host
