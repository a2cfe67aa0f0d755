#include "machine/recorder.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace pinfold::machine {

namespace {

// A line that needs no heap; what is too long is cut.
class Line {
public:
    template <class... Args>
    explicit Line(fmt::format_string<Args&...> format, Args&&... args)
    {
        auto const written = fmt::format_to_n(text_.data(), text_.size(), format, args...);
        size_ = std::min(written.size, text_.size());
    }
    // NOLINTNEXTLINE(google-explicit-constructor): it is a string
    operator std::string_view() const { return {text_.data(), size_}; }

private:
    std::array<char, 160> text_;
    std::size_t size_ = 0;
};

}  // namespace

void Recorder::mapped(Iova iova, Paddr paddr, std::uint64_t size)
{
    journal_.trace(Line{"map iova={:#x} paddr={:#x} size={:#x}", iova.raw(), paddr.raw(), size});
}

void Recorder::unmapped(Iova iova, std::uint64_t size, std::uint64_t unmapped)
{
    journal_.trace(
        Line{"unmap iova={:#x} size={:#x} unmapped_size={:#x}", iova.raw(), size, unmapped});
}

void Recorder::unaligned(Iova iova, std::optional<Paddr> paddr, std::uint64_t size,
                         PageSize smallest)
{
    if (paddr)
        journal_.log(Line{"iommu: unaligned: iova {:#x} pa {:#018x} size {:#x} min_pagesz {:#x}",
                          iova.raw(), paddr->raw(), size, smallest.bytes()});
    else
        journal_.log(Line{"iommu: unaligned: iova {:#x} size {:#x} min_pagesz {:#x}", iova.raw(),
                          size, smallest.bytes()});
}

}  // namespace pinfold::machine
