#include "iommu/fault_log.hpp"

namespace pinfold::iommu {

std::string_view describe(FaultReason reason)
{
    switch (reason) {
        case FaultReason::blocked: return "no domain is attached";
        case FaultReason::not_mapped: return "nothing is mapped there";
        case FaultReason::no_permission: return "the mapping does not permit it";
        case FaultReason::address_width: return "the address is beyond the IOMMU's width";
        case FaultReason::bus_master: return "bus mastering is disabled";
        case FaultReason::interrupt_window: return "it is no interrupt, where interrupts go";
        case FaultReason::no_memory: return "the mapping leads to no memory";
    }
    return "unknown";
}

void FaultLog::record(Fault fault)
{
    std::lock_guard const lock{mutex_};
    ++count_;
    if (records_.size() < kCapacity)
        records_.push_back(fault);
    else
        overflowed_ = true;
}

bool FaultLog::overflowed() const
{
    std::lock_guard const lock{mutex_};
    return overflowed_;
}

std::uint64_t FaultLog::count() const
{
    std::lock_guard const lock{mutex_};
    return count_;
}

std::vector<Fault> FaultLog::records() const
{
    std::lock_guard const lock{mutex_};
    return records_;
}

void FaultLog::clear()
{
    std::lock_guard const lock{mutex_};
    records_.clear();
    overflowed_ = false;
}

}  // namespace pinfold::iommu
