// What the native index is compared to: the standard containers that a device server would keep its
// regions in. Each checks overlaps, keeps one record per mapping, and unmaps by exact bounds.
#pragma once

#include <absl/container/btree_map.h>
#include <pthread.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <vector>

#include "pinfold/dma_map.hpp"

namespace pinfold::bench {

struct Record {
    std::uint64_t last;
    std::uint64_t delta;  // from iova to address
    std::uint64_t tag;
};

template <class Tree>
class Ordered {
public:
    bool map(std::uint64_t iova, std::uint64_t address, std::uint64_t size)
    {
        auto const next = tree_.lower_bound(iova);
        if (next != tree_.end() && next->first <= iova + size - 1) return false;
        if (next != tree_.begin() && std::prev(next)->second.last >= iova) return false;
        tree_.emplace_hint(next, iova, Record{iova + size - 1, address - iova, 0});
        return true;
    }
    bool unmap(std::uint64_t iova, std::uint64_t size)
    {
        auto const found = tree_.find(iova);
        if (found == tree_.end() || found->second.last != iova + size - 1) return false;
        tree_.erase(found);
        return true;
    }
    std::uint64_t translate(std::uint64_t iova, std::uint64_t size) const
    {
        auto const after = tree_.upper_bound(iova);
        if (after == tree_.begin()) return 0;
        auto const& record = std::prev(after)->second;
        return iova + size - 1 <= record.last ? iova + record.delta : 0;
    }
    std::size_t segments(std::uint64_t iova, std::uint64_t size, iovec* into) const
    {
        std::size_t count = 0;
        for (auto at = std::prev(tree_.upper_bound(iova)); size != 0; ++at) {
            std::uint64_t const bytes = std::min(size, at->second.last - iova + 1);
            into[count++] = {reinterpret_cast<void*>(iova + at->second.delta), bytes};
            iova += bytes;
            size -= bytes;
        }
        return count;
    }

private:
    Tree tree_;
};
using StdMap = Ordered<std::map<std::uint64_t, Record>>;
using AbslBtree = Ordered<absl::btree_map<std::uint64_t, Record>>;

class SortedVector {
public:
    bool map(std::uint64_t iova, std::uint64_t address, std::uint64_t size)
    {
        auto const next = after(iova);
        if (next != regions_.end() && next->iova <= iova + size - 1) return false;
        if (next != regions_.begin() && std::prev(next)->record.last >= iova) return false;
        regions_.insert(next, {iova, {iova + size - 1, address - iova, 0}});
        return true;
    }
    bool unmap(std::uint64_t iova, std::uint64_t size)
    {
        auto const next = after(iova);
        if (next == regions_.begin()) return false;
        auto const found = std::prev(next);
        if (found->iova != iova || found->record.last != iova + size - 1) return false;
        regions_.erase(found);
        return true;
    }
    std::uint64_t translate(std::uint64_t iova, std::uint64_t size) const
    {
        auto const next = after(iova);
        if (next == regions_.begin()) return 0;
        auto const& record = std::prev(next)->record;
        return iova + size - 1 <= record.last ? iova + record.delta : 0;
    }

private:
    struct Region {
        std::uint64_t iova;
        Record record;
    };
    std::vector<Region>::const_iterator after(std::uint64_t iova) const
    {
        return std::upper_bound(
            regions_.begin(), regions_.end(), iova,
            [](std::uint64_t at, Region const& each) { return at < each.iova; });
    }
    std::vector<Region> regions_;
};

// What looks up in a container: itself, or one of ours' readers.
template <class Container>
Container const& asker(Container const& container)
{
    return container;
}
template <class Asker>
[[gnu::always_inline]] inline std::uint64_t ask(Asker const& asker, std::uint64_t iova)
{
    return asker.translate(iova, 64);
}

// Ours, with all that the door does: lock, overlap, limits, accounts, the wait for readers.
class Native {
public:
    explicit Native(Writers writers = Writers::many)
        : map_{DmaMap::create({.mapping_limit = ~std::uint64_t{0}, .writers = writers}).value()}
    {
    }

    bool map(std::uint64_t iova, std::uint64_t address, std::uint64_t size)
    {
        return map_->map(Iova{iova}, reinterpret_cast<void*>(address), size, Prot::read_write)
            .has_value();
    }
    bool unmap(std::uint64_t iova, std::uint64_t size)
    {
        return map_->unmap(Iova{iova}, size).has_value();
    }
    std::uint64_t translate(std::uint64_t iova, std::uint64_t size) const
    {
        return reinterpret_cast<std::uint64_t>(reader().translate(Iova{iova}, size, Access::read));
    }
    std::size_t segments(std::uint64_t iova, std::uint64_t size, iovec* into) const
    {
        return reader().segments(Iova{iova}, size, Access::read, {into, 64}).count;
    }
    DmaMap& door() { return *map_; }
    // One that has left: nothing is unmapped while the look-ups of one thread are measured.
    DmaReader const& reader() const
    {
        if (!reader_) {
            reader_.emplace(map_->add_reader(Reading::fenced).value());
            reader_->leave();
        }
        return *reader_;
    }

private:
    std::unique_ptr<DmaMap> map_;
    mutable std::optional<DmaReader> reader_;
};

// The same, of one writer.
class NativeOfOne : public Native {
public:
    NativeOfOne() : Native{Writers::one} {}
};

inline DmaReader const& asker(Native const& native) { return native.reader(); }
[[gnu::always_inline]] inline std::uint64_t ask(DmaReader const& reader, std::uint64_t iova)
{
    return reinterpret_cast<std::uint64_t>(reader.translate(Iova{iova}, 64, Access::read));
}

// A container that threads share, as they usually do.
template <class Container>
class Locked {
public:
    Container container;

    bool map(std::uint64_t iova, std::uint64_t address, std::uint64_t size)
    {
        return container.map(iova, address, size);
    }
    void lock_shared() { (void)::pthread_rwlock_rdlock(&lock_); }
    void lock() { (void)::pthread_rwlock_wrlock(&lock_); }
    void unlock() { (void)::pthread_rwlock_unlock(&lock_); }

private:
    pthread_rwlock_t lock_ = PTHREAD_RWLOCK_INITIALIZER;
};

}  // namespace pinfold::bench
