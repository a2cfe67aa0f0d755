// What VFIO_IOMMU_GET_INFO writes: the fixed part and the capability chain behind it. Rules I-2 to
// I-15. Since Linux 6.6 each capability is padded to 8 bytes, and the pad of the fixed part counts.
#pragma once

#include <absl/container/inlined_vector.h>

#include <cstddef>
#include <cstdint>

#include "base/kernel.hpp"
#include "type1/requests.hpp"

namespace pinfold::uapi {

// struct vfio_iommu_type1_info with its pad spelled out, so that no byte of it is left to chance.
struct InfoHeader {
    std::uint32_t argsz;
    std::uint32_t flags;
    std::uint64_t iova_pgsizes;
    std::uint32_t cap_offset;
    std::uint32_t pad;
};

using InfoBytes = absl::InlinedVector<std::byte, 256>;

// How many bytes of an InfoHeader are written for a caller with this argsz (rule I-12).
std::size_t header_written(std::uint32_t argsz, Kernel kernel);

// The size of the whole, N of rule I-9.
std::size_t info_size(type1::Info const& info, Kernel kernel);

// The capability chain as it stands behind an InfoHeader.
InfoBytes encode_capabilities(type1::Info const& info, Kernel kernel);

}  // namespace pinfold::uapi
