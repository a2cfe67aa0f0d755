// Faults as an IOMMU records them: a bounded log that drops new records when full and counts
// everything. Thread safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string_view>
#include <vector>

#include "base/address.hpp"
#include "base/prot.hpp"

namespace pinfold::iommu {

enum class FaultReason : std::uint8_t {
    blocked,           // no domain attached
    not_mapped,        // no leaf
    no_permission,     // a leaf without the right
    address_width,     // beyond the aperture
    bus_master,        // the function may not master the bus (recorded by pci/)
    no_memory,         // the leaf's paddr names no frame, or the frame's memory has gone
    interrupt_window,  // no interrupt, where interrupts go
};
std::string_view describe(FaultReason reason);

struct Fault {
    Iova iova;
    Access access;
    FaultReason reason;
};

class FaultLog {
public:
    static constexpr std::size_t kCapacity = 64;

    FaultLog() { records_.reserve(kCapacity); }  // a device's access must not run out of memory

    void record(Fault fault);
    std::uint64_t count() const;         // all that ever happened
    std::vector<Fault> records() const;  // the first kCapacity since clear()
    // Since clear() there was no room for one.
    bool overflowed() const;
    void clear();

private:
    mutable std::mutex mutex_;
    std::vector<Fault> records_;
    std::uint64_t count_ = 0;
    bool overflowed_ = false;
};

}  // namespace pinfold::iommu
