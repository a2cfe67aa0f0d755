// What a virtio-iommu knows of a domain: one record for each map request, in the order of their
// iovas. A record goes as a whole.
//
// Thread safety: any thread, any time. A reader gets a copy of one record as it was at one moment.
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
#include "iommu/gather.hpp"

namespace pinfold::iommu {

class Records {
public:
    struct Record {
        IovaRange iova;
        Paddr paddr;  // where iova.start leads
        Prot prot;
    };

    // EINVAL: something is mapped in `iova`. ENOMEM. Nothing changes then.
    Result<> map(IovaRange iova, Paddr paddr, Prot prot);

    // Removes every record that `range` touches, holes between them or not, unless the first begins
    // before it: then none. The last may reach beyond. `told`, unless it is nullptr, hears of each,
    // with the list locked; of none if they are fewer bytes than `range`.
    struct Removed {
        std::uint64_t bytes = 0;
        Iova last;  // of the last record; of no meaning if bytes is 0
    };
    Removed unmap(IovaRange range, Runs* told = nullptr);

    // nullopt: not mapped.
    std::optional<Record> find(Iova iova) const;

    // Records by log2 of their size, rounded down.
    std::array<std::uint64_t, 64> sizes() const;
    std::uint64_t bytes() const;  // of memory that the list takes, about

private:
    struct Value {
        Iova last;
        Paddr paddr;
        Prot prot;
    };
    using List = absl::btree_map<Iova, Value>;

    List::const_iterator first_ending_from(Iova iova) const;

    mutable std::mutex mutex_;
    List list_;
};

}  // namespace pinfold::iommu
