#include "iommu/fault_record.hpp"

namespace pinfold::iommu {
namespace {

bool of_the_device(FaultReason reason)
{
    return reason == FaultReason::bus_master || reason == FaultReason::no_memory;
}

FaultRecord of_vtd(std::uint16_t requester, Fault const& fault)
{
    constexpr std::uint64_t kContextNotPresent = 2;
    constexpr std::uint64_t kBeyondWidth = 4;
    constexpr std::uint64_t kNoWrite = 5;  // a leaf that is not there has no rights
    constexpr std::uint64_t kNoRead = 6;
    constexpr std::uint64_t kFault = 1ULL << 63;
    constexpr std::uint64_t kRead = 1ULL << 62;
    bool const read = fault.access == Access::read;
    std::uint64_t reason = read ? kNoRead : kNoWrite;
    if (fault.reason == FaultReason::blocked) reason = kContextNotPresent;
    if (fault.reason == FaultReason::address_width) reason = kBeyondWidth;
    return {
        {fault.iova.raw() & ~k4K.mask(), kFault | (read ? kRead : 0) | reason << 32 | requester}};
}

FaultRecord of_amd(std::uint16_t requester, DomainTag domain, Fault const& fault)
{
    constexpr std::uint64_t kPageFault = 2ULL << 60;
    constexpr std::uint64_t kPresent = 1ULL << 52;
    constexpr std::uint64_t kWrite = 1ULL << 53;
    constexpr std::uint64_t kPermission = 1ULL << 54;
    std::uint64_t word = kPageFault | static_cast<std::uint64_t>(domain) << 32 | requester;
    if (fault.access == Access::write) word |= kWrite;
    if (fault.reason == FaultReason::no_permission) word |= kPresent | kPermission;
    return {{word, fault.iova.raw()}};
}

// What no stream table entry lets through is aborted without a word.
std::optional<FaultRecord> of_smmu(std::uint16_t requester, Fault const& fault)
{
    constexpr std::uint64_t kTranslation = 0x10;
    constexpr std::uint64_t kPermission = 0x13;
    constexpr std::uint64_t kRead = 1ULL << 35;
    constexpr std::uint64_t kOfInput = 2ULL << 40;
    if (fault.reason == FaultReason::blocked) return std::nullopt;
    bool const forbidden = fault.reason == FaultReason::no_permission;
    return FaultRecord{
        {(forbidden ? kPermission : kTranslation) | static_cast<std::uint64_t>(requester) << 32,
         (fault.access == Access::read ? kRead : 0) | kOfInput, fault.iova.raw()},
        32};
}

FaultRecord of_virtio(std::uint16_t requester, Fault const& fault)
{
    constexpr std::uint64_t kDomain = 1;
    constexpr std::uint64_t kMapping = 2;
    constexpr std::uint64_t kRead = 1;
    constexpr std::uint64_t kWrite = 2;
    constexpr std::uint64_t kAddress = 0x100;
    std::uint64_t const reason = fault.reason == FaultReason::blocked ? kDomain : kMapping;
    std::uint64_t const flags = kAddress | (fault.access == Access::read ? kRead : kWrite);
    return {{reason | flags << 32, requester, fault.iova.raw()}, 24};
}

}  // namespace

std::optional<FaultRecord> fault_record(Model model, std::uint16_t requester, DomainTag domain,
                                        Fault const& fault)
{
    // What lies in the interrupt window is refused on the way, before any table is asked.
    if (of_the_device(fault.reason) || fault.reason == FaultReason::interrupt_window)
        return std::nullopt;
    switch (model) {
        case Model::vtd: return of_vtd(requester, fault);
        case Model::amdvi: return of_amd(requester, domain, fault);
        case Model::smmuv3: return of_smmu(requester, fault);
        case Model::virtio: return of_virtio(requester, fault);
        default: return std::nullopt;
    }
}

}  // namespace pinfold::iommu
