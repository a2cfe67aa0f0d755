#include "native/index.hpp"

#include <bit>
#include <iterator>

namespace pinfold::native {

Result<> Index::map(IovaRange iova, Paddr paddr, Prot prot)
{
    std::lock_guard const lock{mutex_};
    auto const before = at_or_before(iova.last);
    if (before != entries_.end() && before->second.last >= iova.start)
        return fail(Errno::addrinuse);
    entries_.emplace(iova.start, Value{iova.last, paddr, prot});
    return {};
}

std::uint64_t Index::unmap(IovaRange range)
{
    std::lock_guard const lock{mutex_};
    std::uint64_t bytes = 0;
    auto entry = entries_.find(range.start);
    while (entry != entries_.end()) {
        auto const [start, value] = *entry;
        bytes += value.last - start + 1;
        entry = entries_.erase(entry);
        bool const adjoins = entry != entries_.end() && entry->first.raw() == value.last.raw() + 1;
        if (!adjoins || value.last >= range.last) break;
    }
    return bytes;
}

std::optional<Index::Entry> Index::find(Iova iova) const
{
    std::lock_guard const lock{mutex_};
    auto const entry = at_or_before(iova);
    if (entry == entries_.end() || entry->second.last < iova) return std::nullopt;
    return Entry{{entry->first, entry->second.last}, entry->second.paddr, entry->second.prot};
}

std::array<std::uint64_t, 64> Index::sizes() const
{
    std::lock_guard const lock{mutex_};
    std::array<std::uint64_t, 64> counts{};
    for (auto const& [start, value] : entries_)
        ++counts[static_cast<unsigned>(std::bit_width(value.last - start + 1)) - 1];
    return counts;
}

std::uint64_t Index::bytes() const
{
    std::lock_guard const lock{mutex_};
    return entries_.size() * sizeof(Entries::value_type);
}

// The last entry that starts at or before `iova`; end() if there is none.
Index::Entries::const_iterator Index::at_or_before(Iova iova) const
{
    auto const after = entries_.upper_bound(iova);
    return after == entries_.begin() ? entries_.end() : std::prev(after);
}

}  // namespace pinfold::native
