// The words that a machine file uses for the values of enumerations; read and written by the same
// tables.
#pragma once

#include <array>
#include <string_view>

#include "host/memory.hpp"
#include "iommu/iommu.hpp"

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
    Word{"vtd", iommu::Model::vtd},
    Word{"native", iommu::Model::native},
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
inline constexpr std::array<std::string_view, 1> kKernels{"7.3"};

template <class E, std::size_t N>
constexpr std::string_view word_of(std::array<Word<E>, N> const& words, E value)
{
    for (auto const& word : words)
        if (word.value == value) return word.text;
    return {};
}

}  // namespace pinfold::machine
