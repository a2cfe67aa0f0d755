// What a page table should hold, kept as slowly and plainly as possible: a std::map of leaves, cut
// one at a time by trying every size.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "base/page_size.hpp"
#include "base/prot.hpp"
#include "base/result.hpp"
#include "pagetable/radix.hpp"

namespace pinfold::test {

class LeafModel {
public:
    struct Leaf {
        std::uint64_t bytes;
        std::uint64_t paddr;
        Prot prot;
        bool dirty = false;

        bool operator==(Leaf const&) const = default;
    };
    using Leaves = std::map<std::uint64_t, Leaf>;

    using Partial = pagetable::Partial;

    // `pieces`: the sizes that a leaf may be split into.
    LeafModel(PageSizes sizes, std::uint64_t last_iova, Partial partial = Partial::takes_all,
              std::optional<PageSizes> pieces = std::nullopt)
        : sizes_{sizes}, pieces_{pieces.value_or(sizes)}, last_iova_{last_iova}, partial_{partial}
    {
    }

    // Maps leaf by leaf up to the first that is occupied. `dirty`: as leaves are born.
    Result<> map(std::uint64_t iova, std::uint64_t paddr, std::uint64_t size, Prot prot,
                 std::uint64_t& mapped, bool dirty = false)
    {
        mapped = 0;
        if (size - 1 > last_iova_ - iova)
            return fail(iova + (size - 1) < iova ? Errno::overflow : Errno::range);
        while (mapped < size) {
            std::uint64_t const bytes = largest(iova + mapped, paddr + mapped, size - mapped);
            if (occupied(iova + mapped, bytes)) return fail(Errno::addrinuse);
            leaves_[iova + mapped] = {bytes, paddr + mapped, prot, dirty};
            mapped += bytes;
        }
        return {};
    }

    // Removes leaves one by one, up to the end of the range or the first hole, and shows each.
    std::uint64_t unmap(std::uint64_t iova, std::uint64_t size)
    {
        return unmap(iova, size, [](auto const&) {});
    }
    template <class Gone>
    std::uint64_t unmap(std::uint64_t iova, std::uint64_t size, Gone gone)
    {
        if (size - 1 > last_iova_ - iova) return 0;
        std::uint64_t bytes = 0;
        while (bytes < size) {
            auto const leaf = find(iova + bytes);
            if (leaf == leaves_.end()) break;
            bool const from_the_start = leaf->first == iova + bytes;
            bool const to_the_end = leaf->second.bytes <= size - bytes;
            if (partial_ == Partial::takes_all ? !from_the_start : !from_the_start || !to_the_end) {
                if (partial_ != Partial::splits) break;
                if (!split(leaf->first)) break;
                continue;
            }
            bytes += leaf->second.bytes;
            gone(*leaf);
            leaves_.erase(leaf);
        }
        return bytes;
    }

    // Until a leaf begins at `iova`, if there is one around it.
    void split_at(std::uint64_t iova)
    {
        for (auto leaf = find(iova); leaf != leaves_.end() && leaf->first != iova;
             leaf = find(iova))
            if (!split(leaf->first)) return;
    }
    // Where leaves of at least `piece` bytes fill a block of `bytes` in [first, last], in a row and
    // alike, one takes their place, which is dirty(prot). Returns how many that made.
    template <class Dirty>
    std::uint64_t join(std::uint64_t first, std::uint64_t last, std::uint64_t bytes,
                       std::uint64_t piece, Dirty dirty)
    {
        std::uint64_t made = 0;
        for (std::uint64_t at = (first + (bytes - 1)) & ~(bytes - 1);
             at >= first && at <= last && last - at >= bytes - 1; at += bytes) {
            if (joins(at, bytes, piece)) {
                Leaf const front = leaves_.at(at);
                leaves_.erase(leaves_.find(at), leaves_.upper_bound(at + (bytes - 1)));
                leaves_[at] = {bytes, front.paddr, front.prot, dirty(front.prot)};
                ++made;
            }
            if (at + bytes < at) break;
        }
        return made;
    }
    void mark(std::uint64_t iova) { leaves_.at(iova).dirty = true; }
    void clean()
    {
        for (auto& [iova, leaf] : leaves_) leaf.dirty = false;
    }

    Leaves const& leaves() const { return leaves_; }
    Leaves::const_iterator find(std::uint64_t iova) const
    {
        auto leaf = leaves_.upper_bound(iova);
        if (leaf == leaves_.begin()) return leaves_.end();
        --leaf;
        return iova - leaf->first < leaf->second.bytes ? leaf : leaves_.end();
    }

private:
    std::uint64_t largest(std::uint64_t iova, std::uint64_t paddr, std::uint64_t left) const
    {
        std::uint64_t best = 0;
        for (std::uint64_t sizes = sizes_.bitmap(); sizes != 0; sizes &= sizes - 1) {
            std::uint64_t const bytes = sizes & -sizes;
            if (iova % bytes == 0 && paddr % bytes == 0 && bytes <= left) best = bytes;
        }
        return best;
    }
    bool joins(std::uint64_t at, std::uint64_t bytes, std::uint64_t piece) const
    {
        auto const front = leaves_.find(at);
        if (front == leaves_.end() || front->second.paddr % bytes != 0) return false;
        std::uint64_t done = 0;
        for (auto leaf = front; done < bytes; ++leaf) {
            if (leaf == leaves_.end() || leaf->first != at + done || leaf->second.bytes < piece ||
                leaf->second.bytes >= bytes || leaf->second.prot != front->second.prot ||
                leaf->second.paddr != front->second.paddr + done)
                return false;
            done += leaf->second.bytes;
        }
        return done == bytes;
    }
    // Into leaves of the next smaller size.
    bool split(std::uint64_t iova)
    {
        Leaf const whole = leaves_.at(iova);
        std::uint64_t const smaller = pieces_.bitmap() & (whole.bytes - 1);
        if (smaller == 0) return false;
        std::uint64_t const bytes = std::bit_floor(smaller);
        for (std::uint64_t at = 0; at < whole.bytes; at += bytes)
            leaves_[iova + at] = {bytes, whole.paddr + at, whole.prot, whole.dirty};
        return true;
    }
    bool occupied(std::uint64_t iova, std::uint64_t bytes) const
    {
        auto const next = leaves_.lower_bound(iova);
        if (next != leaves_.end() && next->first - iova < bytes) return true;
        return find(iova) != leaves_.end();
    }

    PageSizes sizes_;
    PageSizes pieces_;
    std::uint64_t last_iova_;
    Partial partial_;
    Leaves leaves_;
};

}  // namespace pinfold::test
