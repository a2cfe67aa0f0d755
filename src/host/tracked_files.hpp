// Shared mappings of files whose file system keeps account of dirty pages. Since Linux 6.5 a
// long-term pin for write is refused there: a device's writes would come behind the file system's
// back. Thread safe.
#pragma once

#include "base/range.hpp"

namespace pinfold::host {

// REQUIRES: the pages of `range` are faulted in (else some may be overlooked).
bool maps_tracked_file(VaddrRange range);

}  // namespace pinfold::host
