// What an index must say, said slowly: an ordered map of ranges. And small shapes, of which much or
// all can be visited; and memory that fails.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "native/index_write.hpp"

namespace pinfold::native {

// 16 pages: every level splits in two, and one piece of a mapping fills a segment.
struct TinyShape {
    static constexpr std::array<unsigned, kLevels> kTableLg2{1, 1, 1, 1};
    static constexpr std::array<unsigned, kLevels> kLanes{0, 1, 1, 0};
    static constexpr std::uint32_t kMostSegments = 24;
    static constexpr std::uint32_t kMostTables = 24;
};

// 256 pages, by four.
struct SmallShape {
    static constexpr std::array<unsigned, kLevels> kTableLg2{2, 2, 2, 2};
    static constexpr std::array<unsigned, kLevels> kLanes{0, 2, 3, 0};
    static constexpr std::uint32_t kMostSegments = 24;
    static constexpr std::uint32_t kMostTables = 24;
};

constexpr std::uint64_t kPageBytes = 1 << kPageLg2;

constexpr IovaRange pages(std::uint64_t first, std::uint64_t last)
{
    return {Iova{first * kPageBytes}, Iova{last * kPageBytes + (kPageBytes - 1)}};
}

// A paddr that no other mapping has at the same place.
inline Entry leaf_of(IovaRange range, std::uint64_t number, Prot prot = Prot::read_write)
{
    return Entry::leaf(range.start, Paddr{(number * 0x100'0000 + 7) * kPageBytes}, prot);
}

class Model {
public:
    bool map(IovaRange range, Entry entry)
    {
        auto const next = ranges_.lower_bound(range.start);
        if (next != ranges_.end() && next->first <= range.last) return false;
        if (next != ranges_.begin() && std::prev(next)->second.iova.last >= range.start)
            return false;
        ranges_.emplace(range.start, Mapping{range, entry});
        return true;
    }
    std::vector<Mapping> unmap(IovaRange range)
    {
        std::vector<Mapping> gone;
        for (auto at = ranges_.find(range.start); at != ranges_.end(); at = ranges_.erase(at)) {
            bool const adjoins = gone.empty() || at->first.raw() - 1 == gone.back().iova.last.raw();
            if (!adjoins || at->first > range.last) break;
            gone.push_back(at->second);
        }
        return gone;
    }
    void cut(Iova at)
    {
        auto const found = find(at);
        if (!found || found->iova.start == at) return;
        ranges_[found->iova.start] = {{found->iova.start, at - 1}, found->entry};
        ranges_.emplace(at, Mapping{{at, found->iova.last}, found->entry});
    }
    std::optional<Mapping> find(Iova iova) const
    {
        auto const after = ranges_.upper_bound(iova);
        if (after == ranges_.begin()) return std::nullopt;
        auto const& mapping = std::prev(after)->second;
        return mapping.iova.contains(iova) ? std::optional{mapping} : std::nullopt;
    }
    std::optional<Mapping> first_in(IovaRange range) const
    {
        if (auto const found = find(range.start)) return found;
        auto const next = ranges_.lower_bound(range.start);
        if (next == ranges_.end() || next->first > range.last) return std::nullopt;
        return next->second;
    }
    std::map<Iova, Mapping> const& ranges() const { return ranges_; }

private:
    std::map<Iova, Mapping> ranges_;
};

inline bool same(std::optional<Mapping> const& one, std::optional<Mapping> const& other)
{
    return one.has_value() == other.has_value() &&
           (!one || (one->iova == other->iova && one->entry == other->entry));
}

// What the index and the model say of one address.
template <class S>
bool agree_at(BasicIndex<S> const& index, Model const& model, Iova iova)
{
    auto const expected = model.find(iova);
    return same(index.find(iova), expected) &&
           index.entry(iova) == (expected ? expected->entry : Entry{});
}

template <class S>
bool agree_on_the_first(BasicIndex<S> const& index, Model const& model, IovaRange range)
{
    auto const held = index.first_in(range);
    return same(held ? std::optional{held->mapping} : std::nullopt, model.first_in(range));
}

// What a visit shows that ends by itself: pieces of mappings, each behind the one before, to the
// end of the range or to the first hole.
template <class S>
bool agree_on_a_visit(BasicIndex<S> const& index, Model const& model, IovaRange range)
{
    Iova next = range.start;
    bool right = true;
    bool ended = false;
    index.visit(range, [&](Entry entry, std::uint64_t first, std::uint64_t last) {
        IovaRange const shown{Iova{first}, Iova{last}};
        auto const mapping = model.find(shown.start);
        right = right && !ended && shown.start == next && range.contains(shown) &&
                entry == (mapping ? mapping->entry : Entry{}) &&
                (mapping ? mapping->iova.contains(shown) : !model.first_in(shown));
        ended = !mapping || shown.last == range.last;
        next = Iova{last + 1};
        return true;
    });
    return right && ended;
}

// Memory of the system's, of which `allowed` requests are granted.
class FailingMemory final : public Memory {
public:
    explicit FailingMemory(std::uint64_t allowed) : allowed_{allowed} {}

    void* take(std::size_t bytes, std::size_t alignment) override
    {
        void* const memory = granted() ? system().take(bytes, alignment) : nullptr;
        if (memory != nullptr) taken_ += bytes;
        return memory;
    }
    void give_back(void* memory, std::size_t bytes) override
    {
        taken_ -= bytes;
        system().give_back(memory, bytes);
    }
    bool populate(void* memory, std::size_t bytes, Pages pages) override
    {
        return granted() && system().populate(memory, bytes, pages);
    }
    void allow(std::uint64_t requests) { allowed_ = requests; }
    std::uint64_t taken() const { return taken_; }
    bool has_refused() const { return refused_; }

private:
    bool granted()
    {
        if (allowed_ == 0) refused_ = true;
        return allowed_ != 0 && allowed_-- != 0;
    }
    std::uint64_t allowed_;
    std::uint64_t taken_ = 0;
    bool refused_ = false;
};

}  // namespace pinfold::native
