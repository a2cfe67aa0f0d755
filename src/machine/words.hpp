// The words that a machine file uses for the values of enumerations; read and written by the same
// tables.
#pragma once

#include <array>
#include <string_view>

#include "host/memory.hpp"
#include "iommu/iommu.hpp"
#include "type1/page_sizes.hpp"

namespace pinfold::machine {

template <class E>
struct Word {
    std::string_view text;
    E value;
};

inline constexpr std::array kFrameWords{
    Word{"contiguous", host::FrameNumbering::contiguous},
    Word{"scattered", host::FrameNumbering::scattered},
};
inline constexpr std::array kModelWords{
    Word{"vtd", iommu::Model::vtd},       Word{"amdvi", iommu::Model::amdvi},
    Word{"smmuv3", iommu::Model::smmuv3}, Word{"virtio", iommu::Model::virtio},
    Word{"native", iommu::Model::native},
};
inline constexpr std::array kPolicyWords{
    Word{"linux", type1::SubpagePolicy::merged},
    Word{"pre-2015", type1::SubpagePolicy::pre_2015},
    Word{"rfc-2015", type1::SubpagePolicy::rfc_2015},
    Word{"subpage", type1::SubpagePolicy::subpage},
};
// As /sys/kernel/iommu_groups/N/reserved_regions says them; the two MSI types look alike there and
// not here.
inline constexpr std::array kReservedWords{
    Word{"direct", iommu::ReservedType::direct},
    Word{"direct-relaxable", iommu::ReservedType::direct_relaxable},
    Word{"reserved", iommu::ReservedType::reserved},
    Word{"msi", iommu::ReservedType::msi},
    Word{"sw-msi", iommu::ReservedType::sw_msi},
};
template <class E, std::size_t N>
constexpr std::string_view word_of(std::array<Word<E>, N> const& words, E value)
{
    for (auto const& word : words)
        if (word.value == value) return word.text;
    return {};
}

}  // namespace pinfold::machine
