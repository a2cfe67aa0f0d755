// An endpoint: one requester behind an IOMMU, as a device's DMA meets it. It is attached to a
// domain or blocked; it has an IOTLB of its own; faults are recorded here, because nobody else can
// tell a VFIO user about them.
//
// Thread safety: translate() from any thread inside a ReadSection; attach(), block() and the
// destructor from one thread at a time and in no ReadSection; they return only when no access
// through the old domain is under way. The Iommu outlives its endpoints; a domain may go first.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/address.hpp"
#include "base/prot.hpp"
#include "base/range.hpp"
#include "iommu/domain.hpp"
#include "iommu/fault_log.hpp"
#include "iommu/iotlb.hpp"

namespace pinfold::iommu {

class Iommu;

class Endpoint {
public:
    // `name` is how reports call it, such as "0000:00:04.0".
    Endpoint(Iommu& iommu, std::string name);
    ~Endpoint();
    Endpoint(Endpoint const&) = delete;
    Endpoint& operator=(Endpoint const&) = delete;

    Iommu& iommu() const { return iommu_; }
    std::string const& name() const { return name_; }
    // nullptr: blocked.
    Domain* domain() const { return domain_.load(std::memory_order_acquire); }

    // Attaches to `domain`, of the same Iommu. EINVAL: of another one. Anything attached before is
    // let go.
    Result<> attach(Domain& domain);
    void block();

    // One step of an access of `size` bytes: where `iova` leads, and how many of the bytes are
    // contiguous from there (to the end of the leaf at most). What a write leads to counts as
    // written. nullopt: the access faults; the fault is recorded. REQUIRES: inside a ReadSection,
    // in which the result is used; size is not 0 and nothing wraps.
    using Segment = iommu::Segment;
    std::optional<Segment> translate(Iova iova, std::uint64_t size, Access access)
    {
        Iotlb::Entry hit{};
        // A cached right that does not suffice is no fault yet: the table decides.
        if (!iotlb_.find(iova, hit) || !allows(hit.prot, access)) [[unlikely]]
            return translate_slowly(iova, size, access);
        Segment const segment{hit.paddr, std::min(hit.size, size)};
        if (access == Access::read || segment.size <= hit.noted) return segment;
        // Of a page that is noted, the leaf is too, but not the pages behind it.
        if (hit.noted != 0 && note_more(iova, segment.size)) return segment;
        return translate_slowly(iova, size, access);
    }

    // The segments of a whole range, merged where they are contiguous, as many as `into` has room
    // for. Stops where an access faults, which is recorded: what lies before is good. REQUIRES: as
    // translate().
    struct Gathered {
        std::size_t segments;
        std::uint64_t bytes;  // in them
        bool faulted;         // the byte behind them
    };
    Gathered gather(IovaRange range, Access access, std::span<Segment> into)
    {
        Iotlb::Entry hit{};
        std::uint64_t const size = range.last - range.start + 1;  // 0: the whole space
        bool const one = size != 0 && !into.empty() && iotlb_.find(range.start, hit) &&
                         hit.size >= size && allows(hit.prot, access) &&
                         (access == Access::read || hit.noted >= size);
        if (!one) return gather_slowly(range, access, into);
        into[0] = {hit.paddr, size};
        return {1, size, false};
    }

    // Whether a write of `size` bytes at `iova` is an interrupt: four bytes where the unit has its
    // MSI window, whatever the tables say. Everything else there faults.
    bool interrupts(Iova iova, std::uint64_t size) const
    {
        return size == 4 && iova.raw() % 4 == 0 && interrupt_window(iova).has_value();
    }

    FaultLog& faults() { return faults_; }
    Iotlb& iotlb() { return iotlb_; }

private:
    friend class Domain;  // detach_endpoints()

    std::optional<IovaRange> interrupt_window(Iova iova) const
    {
        return window_within({iova, iova});
    }
    // The first of the unit's MSI windows that touches `range`.
    std::optional<IovaRange> window_within(IovaRange range) const;
    void switch_to(Domain* domain);
    Gathered gather_slowly(IovaRange range, Access access, std::span<Segment> into);
    Gathered gather_rest(IovaRange range, Access access, std::span<Segment> into,
                         Gathered gathered);
    bool note_more(Iova iova, std::uint64_t size);
    std::optional<Segment> translate_slowly(Iova iova, std::uint64_t size, Access access);
    void record(Iova iova, Access access, FaultReason reason);

    Iommu& iommu_;
    std::string name_;
    std::atomic<Domain*> domain_{nullptr};
    Iotlb iotlb_;
    FaultLog faults_;
};

}  // namespace pinfold::iommu
