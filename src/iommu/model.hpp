// What iommu.cpp knows of each model of IOMMU: which options it can have, and the domains that it
// makes. One file for each, model_*.cpp.
#pragma once

#include <memory>
#include <optional>

#include "iommu/iommu.hpp"
#include "pagetable/table_memory.hpp"

namespace pinfold::iommu {

struct ModelRules {
    bool (*possible)(Iommu::Options const& options);
    // What follows, of options that are possible.
    std::optional<PageSize> (*table_page)(Iommu::Options const& options);  // nullopt: no tables
    unsigned (*paddr_bits)(Iommu::Options const& options);
    // `memory` is of pages of table_page(), nullptr if there is none.
    Result<std::unique_ptr<Domain>> (*create_domain)(
        Iommu const& iommu, std::shared_ptr<pagetable::TableMemory> memory);
};

extern ModelRules const kVtd;
extern ModelRules const kAmdvi;
extern ModelRules const kSmmuv3;
extern ModelRules const kVirtio;
extern ModelRules const kNative;

}  // namespace pinfold::iommu
