#include "type1/exposure.hpp"

#include <algorithm>
#include <span>

namespace pinfold::type1 {

void Exposure::add(Record const& record)
{
    std::lock_guard const lock{mutex_};
    ++mappings_;
    bytes_ += record.before + record.behind;
    auto const kept = std::span{records_}.first(count_);
    if (count_ == records_.size() || std::ranges::find(kept, record) != kept.end()) return;
    records_[count_++] = record;
}

std::uint64_t Exposure::mappings() const
{
    std::lock_guard const lock{mutex_};
    return mappings_;
}

std::uint64_t Exposure::bytes() const
{
    std::lock_guard const lock{mutex_};
    return bytes_;
}

std::vector<Exposure::Record> Exposure::records() const
{
    std::lock_guard const lock{mutex_};
    return {records_.begin(), records_.begin() + static_cast<std::ptrdiff_t>(count_)};
}

}  // namespace pinfold::type1
