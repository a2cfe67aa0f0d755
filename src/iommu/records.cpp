#include "iommu/records.hpp"

#include <bit>
#include <iterator>
#include <new>

namespace pinfold::iommu {

// An Errno, because whoever maps in several rounds has the earlier ones to take back.
Result<> Records::map(IovaRange iova, Paddr paddr, Prot prot)
try {
    std::lock_guard const lock{mutex_};
    auto const next = first_ending_from(iova.start);
    if (next != list_.end() && next->first <= iova.last) return fail(Errno::inval);
    list_.emplace(iova.start, Value{iova.last, paddr, prot});
    return {};
} catch (std::bad_alloc const&) {
    return fail(Errno::nomem);
}

Records::Removed Records::unmap(IovaRange range, Runs* told)
{
    std::lock_guard const lock{mutex_};
    Removed removed;
    auto const first = first_ending_from(range.start);
    if (first != list_.end() && first->first < range.start) return removed;
    auto past = first;
    for (; past != list_.end() && past->first <= range.last; ++past) {
        removed.bytes += past->second.last - past->first + 1;
        removed.last = past->second.last;
    }
    if (told != nullptr && removed.bytes >= range.size())
        for (auto record = first; record != past; ++record)
            told->add(
                {record->first, record->second.paddr, record->second.last - record->first + 1});
    list_.erase(first, past);
    return removed;
}

std::optional<Records::Record> Records::find(Iova iova) const
{
    std::lock_guard const lock{mutex_};
    auto const record = first_ending_from(iova);
    if (record == list_.end() || record->first > iova) return std::nullopt;
    auto const& [start, value] = *record;
    return Record{{start, value.last}, value.paddr, value.prot};
}

std::array<std::uint64_t, 64> Records::sizes() const
{
    std::lock_guard const lock{mutex_};
    std::array<std::uint64_t, 64> counts{};
    for (auto const& [start, value] : list_)
        ++counts[static_cast<unsigned>(std::bit_width(value.last - start + 1)) - 1];
    return counts;
}

std::uint64_t Records::bytes() const
{
    std::lock_guard const lock{mutex_};
    return list_.size() * sizeof(List::value_type);
}

// The first record that ends at `iova` or behind; end() if there is none.
Records::List::const_iterator Records::first_ending_from(Iova iova) const
{
    auto const after = list_.upper_bound(iova);
    if (after == list_.begin()) return after;
    auto const before = std::prev(after);
    return before->second.last >= iova ? before : after;
}

}  // namespace pinfold::iommu
