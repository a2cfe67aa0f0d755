// One mapping that a client made with MAP_DMA, and the ordered map of them. Mappings never overlap
// and are never merged. Guarded by the container's mutex.
#pragma once

#include <absl/container/btree_map.h>

#include <cstdint>
#include <memory>

#include "base/prot.hpp"
#include "base/range.hpp"
#include "host/process.hpp"
#include "type1/dirty_bitmap.hpp"
#include "type1/external_pins.hpp"

namespace pinfold::type1 {

struct Dma {
    IovaRange range;
    Vaddr vaddr;
    Prot prot;
    // Bytes of its first host page before it, where it was pinned: a new vaddr moves no pages.
    std::uint64_t head = 0;
    bool vaddr_invalid = false;  // UNMAP with VADDR came, MAP with VADDR has not (rule U-11)
    bool mapped = false;         // in every domain; not so while there is none (rule M-3)
    bool has_reserved = false;   // some page was reserved when it was pinned (rule M-15)

    // Whose memory it is and who is charged for it, for how many pages, and what CAP_IPC_LOCK said
    // at MAP (rule P-4).
    std::shared_ptr<host::Mm> mm;
    host::LockCap lock_cap;
    std::uint64_t locked_pages = 0;

    ExternalPins pins;
    DirtyBitmap dirty;  // empty while tracking is off
};

using Dmas = absl::btree_map<Iova, Dma>;

// The lowest mapping that ends at or above `iova`; end() if there is none.
Dmas::iterator first_ending_from(Dmas& dmas, Iova iova);

// A mapping that overlaps `range`, the lowest; nullptr if there is none.
Dma* overlapping(Dmas& dmas, IovaRange range);

// True if `range` begins or ends inside a mapping; only the two end bytes count (rule U-3).
bool bisects(Dmas& dmas, IovaRange range);

}  // namespace pinfold::type1
