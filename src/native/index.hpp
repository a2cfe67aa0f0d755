// Our own translation index, for hosts that have no IOMMU hardware to please: an ordered map of
// what was mapped, one entry for each map call. An entry is to this index what a leaf is to a page
// table: it goes as a whole.
//
// Thread safety: any thread, any time. A reader gets a copy of one entry as it was at one moment.
#pragma once

#include <absl/container/btree_map.h>

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>

#include "base/address.hpp"
#include "base/prot.hpp"
#include "base/range.hpp"
#include "base/result.hpp"

namespace pinfold::native {

class Index {
public:
    struct Entry {
        IovaRange iova;
        Paddr paddr;  // where iova.start leads
        Prot prot;
    };

    // EADDRINUSE: something is mapped in `iova`; nothing changes.
    Result<> map(IovaRange iova, Paddr paddr, Prot prot);

    // Takes entries away from range.start on, up to the range's end or the first hole, and returns
    // their bytes: more than the range has if the last entry reaches beyond. 0: a hole, or a place
    // inside an entry.
    std::uint64_t unmap(IovaRange range);

    // nullopt: not mapped.
    std::optional<Entry> find(Iova iova) const;

    // Entries by log2 of their size, rounded down.
    std::array<std::uint64_t, 64> sizes() const;
    std::uint64_t bytes() const;  // of memory that the index takes, about

private:
    struct Value {
        Iova last;
        Paddr paddr;
        Prot prot;
    };
    using Entries = absl::btree_map<Iova, Value>;

    Entries::const_iterator at_or_before(Iova iova) const;

    mutable std::mutex mutex_;  // not a shared one: readers in turns would starve the writer
    Entries entries_;
};

}  // namespace pinfold::native
