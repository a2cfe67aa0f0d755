// The pages of one mapping that device servers have pinned by themselves (vfio_pin_pages()), each
// with the number of its pins; rules P-14 to P-16. Guarded by the container's mutex.
#pragma once

#include <absl/container/btree_map.h>

#include <cstdint>

#include "base/address.hpp"

namespace pinfold::type1 {

struct ExternalPin {
    Paddr page;
    std::uint64_t pins;
};

// By the IOVA of the page.
using ExternalPins = absl::btree_map<Iova, ExternalPin>;

}  // namespace pinfold::type1
