// The IOMMU API: one I/O address space, whatever holds its translations. Rules.
//
// The public half is the API that type1/ calls (alignment, roll-back, gather); the protected half
// is what a back end supplies: a radix table in a hardware format, a record list, or the native
// index.
//
// Thread safety: map(), unmap() and sync() from any number of threads whose ranges are disjoint and
// share no leaf, each with a Gather of its own; two calls on the same IOVAs must be kept apart by
// the caller. walk(), segments() and iova_to_phys() from any thread, inside a ReadSection unless it
// is the one that maps there. Counts are right when nobody maps. An unmap becomes safe to build on
// at sync(): it invalidates, waits for the accesses under way, and only then frees tables.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/address.hpp"
#include "base/function_ref.hpp"
#include "base/page_size.hpp"
#include "base/prot.hpp"
#include "base/range.hpp"
#include "base/result.hpp"
#include "iommu/gather.hpp"
#include "iommu/invalidation.hpp"
#include "iommu/segments.hpp"
#include "iommu/write_log.hpp"

namespace pinfold::iommu {

class Endpoint;
class Iommu;
class Observer;

// How many leaves of each size a domain holds: counts[lg2].
using LeafCounts = std::array<std::uint64_t, 64>;

class Domain {
public:
    virtual ~Domain();
    Domain(Domain const&) = delete;
    Domain& operator=(Domain const&) = delete;

    // The unit that made this domain and whose endpoints may attach to it. nullptr: none.
    Iommu const* iommu() const { return iommu_; }

    // The sizes that this domain's leaves can have, and the IOVAs that it can translate.
    virtual PageSizes page_sizes() const = 0;
    virtual IovaRange aperture() const = 0;
    virtual std::string_view format() const = 0;  // such as "VT-d second stage, 3 levels"
    // The native index has no leaves: it counts what was mapped, by size rounded down.
    virtual LeafCounts leaves() const = 0;
    virtual std::uint64_t table_bytes() const = 0;

    // The table as hardware would be told of it. Pages are named by their own addresses in this
    // process. nullopt: this back end has none.
    struct RawTable {
        Paddr root;
        unsigned levels;
    };
    virtual std::optional<RawTable> raw_table() const { return std::nullopt; }

    // Accesses through what is mapped from now on snoop the caches whatever the device asks. False:
    // the unit cannot promise it (rule C-7).
    virtual bool enforce_coherency() { return false; }

    // iommu_map(). EINVAL: iova, paddr or size is not a multiple of the smallest page size, size is
    // 0 or prot none; others from the back end (EADDRINUSE: something is mapped there; ERANGE:
    // outside the aperture, or a paddr the tables cannot hold; ENOMEM). All or nothing: on error,
    // what this call had mapped is unmapped and synced. REQUIRES: the caller is in no ReadSection.
    Result<> map(Iova iova, Paddr paddr, std::uint64_t size, Prot prot);

    // iommu_unmap_fast(). Returns the bytes that went, which may be more than `size` (a larger leaf
    // was hit) or less (it stops at a hole). 0 also where iova or size is misaligned, iova lies
    // inside a leaf, or the range leaves the aperture. Nothing may be unpinned before sync(gather).
    std::uint64_t unmap(Iova iova, std::uint64_t size, Gather& gather);
    // The same, and hands over what went, run by run in ascending order, so that nobody need look
    // it up before. Runs may be used when sync(gather) has returned; `removed` makes no call on
    // this domain.
    std::uint64_t unmap(Iova iova, std::uint64_t size, Gather& gather, Runs::Use removed);

    // Invalidates what `gather` names in the IOTLBs of all endpoints, waits for the accesses under
    // way, frees table pages; leaves `gather` empty. REQUIRES: the caller is in no ReadSection.
    void sync(Gather& gather);

    // nullopt: not mapped.
    std::optional<Paddr> iova_to_phys(Iova iova) const;

    // The walk. REQUIRES: inside a ReadSection.
    struct Leaf {
        IovaRange iova;
        Paddr paddr;  // where iova.start leads
        Prot prot;
    };
    virtual std::optional<Leaf> walk(Iova iova) const = 0;
    // A device's walk: where the tables keep accessed and dirty bits it sets them, if the access is
    // allowed. REQUIRES: as walk().
    virtual std::optional<Leaf> access(Iova iova, Access) { return walk(iova); }

    // Where `range` leads, in one walk: to the first hole, the first leaf that does not permit
    // `access`, or as far as `into` has room. As for walk(). REQUIRES: the range is not the whole
    // 64-bit space.
    virtual Segments segments(IovaRange range, Access access, std::span<Segment> into) const;

    // An oracle of which pages devices write, whatever the tables can tell: from here on, and until
    // it is stopped, each write that translates is noted. ENOMEM; EBUSY: it is on already. One
    // thread at a time. REQUIRES: the caller is in no ReadSection, here and below.
    Result<> start_write_log(std::uint64_t most_blocks = ~std::uint64_t{0});
    void stop_write_log();
    // Sets the bit of each 4 KiB page of `range` that a device has written since it was started or
    // last taken, bit 0 for the first page. Devices may go on. REQUIRES: it is on; `written` has
    // room.
    void take_written(IovaRange range, std::span<std::uint64_t> written);

    // Whether leaves say by themselves whether a device has written through them.
    virtual bool tracks_dirty() const { return false; }
    // Calls `record` for each leaf that touches `range` and is dirty, whole, and makes it clean.
    // What is written before this returns counts as written before. Returns how many. EOPNOTSUPP:
    // they do not say.
    Result<std::uint64_t> read_and_clear_dirty(IovaRange range,
                                               FunctionRef<void(IovaRange)> record);

    // For Endpoint, inside a ReadSection: whether writes are noted, by the log or in the tables;
    // and noting one, of bytes of one leaf that is mapped and may be written.
    bool notes_writes() const
    {
        return log_.load(std::memory_order_acquire) != nullptr || tracks_dirty();
    }
    void note_written(Iova iova, std::uint64_t size);

    // For Endpoint: whose IOTLB sync() invalidates.
    void add(Endpoint& endpoint);
    void remove(Endpoint& endpoint);

protected:
    Domain() = default;
    explicit Domain(Iommu const& iommu);

    // Blocks every endpoint that is still attached. REQUIRES: called first in the destructor of the
    // class that supplies walk(), because accesses may be under way until it returns.
    void detach_endpoints();

    // Maps all of the aligned range or reports how far it came: `mapped` counts also on error. Sets
    // gather.tables where a leaf took the place of a table.
    virtual Result<> map_range(Iova iova, Paddr paddr, std::uint64_t size, Prot prot,
                               std::uint64_t& mapped, Gather& gather) = 0;
    // Returns the bytes that went from `iova` on; adds to gather.leaves, and sets gather.tables
    // where tables went too. What went without being counted is added to gather.range. `removed`
    // is told of all that went and is counted; nullptr: nobody asks.
    virtual std::uint64_t unmap_range(Iova iova, std::uint64_t size, Gather& gather,
                                      Runs* removed) = 0;
    // Of a back end that tracks_dirty(): leaves that were made clean are added to the gather.
    virtual std::uint64_t clean_range(IovaRange, FunctionRef<void(IovaRange)>, Gather&)
    {
        return 0;
    }
    // unmap_range() of a back end that cannot tell what it takes: `unmap` is called for one leaf at
    // a time, which is looked up before.
    std::uint64_t leaf_by_leaf(Iova iova, std::uint64_t size, Runs& removed,
                               FunctionRef<std::uint64_t(Iova, std::uint64_t)> unmap) const;
    // For back ends whose unit is told of each mapping by a request; nullptr: nobody listens.
    CommandQueue* commands() const;
    DomainTag tag() const { return tag_; }

    // What gather.retired names, which this back end took out of its tree, may be freed now.
    virtual void release(Retired retired) = 0;

private:
    std::uint64_t unmap(Iova iova, std::uint64_t size, Gather& gather, Runs* removed);
    void invalidate(Invalidation const& what);
    void tell_unit(Invalidation const& what) const;
    void wait() const;

    Iommu const* iommu_ = nullptr;
    DomainTag tag_ = 0;
    Observer* observer_ = nullptr;  // nullptr: nobody watches
    std::mutex endpoints_mutex_;
    std::vector<Endpoint*> endpoints_;
    std::unique_ptr<WriteLog> log_owner_;
    std::atomic<WriteLog*> log_{nullptr};
};

}  // namespace pinfold::iommu
