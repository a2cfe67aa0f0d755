// Several unmaps with one wait. Included by dma_map.hpp.
//
//     pinfold::DmaBatch batch{map};
//     for (auto const& request : queue) request.answer = batch.unmap(request.iova, request.size);
//     batch.wait();  // only now the client may be told
#pragma once

#include "native/dma_map.hpp"

namespace pinfold {

// For whoever has several requests at hand, each with an answer of its own: a wait for a thread
// that reads can take 10 us, and one is enough for all. unmap() takes a mapping away at once: a
// look-up that begins then does not find it, its IOVAs can be mapped anew, and what it was charged
// is given back. But a device may be using what it has looked up before: the memory is the
// devices' until wait() returns, and DmaMap keeps a file mapped so long.
//
// Thread safety: a batch is one thread's; several threads may have one each, and call the map
// beside them. It must not outlive its DmaMap.
class DmaBatch {
public:
    // `self` is the caller's own reader, as for DmaMap::unmap(), and may be nullptr.
    explicit DmaBatch(DmaMap& map, DmaReader* self = nullptr) : map_{&map}, self_{self} {}
    ~DmaBatch() { wait(); }
    DmaBatch(DmaBatch const&) = delete;
    DmaBatch& operator=(DmaBatch const&) = delete;

    // DmaMap::unmap() without the wait; the same errors.
    Result<std::uint64_t> unmap(Iova iova, std::uint64_t size);
    // Returns when no reader uses what was unmapped here any more; at once if another call's wait
    // has been for that already. REQUIRES: the calling thread is in no DmaSection. The batch may be
    // used again.
    void wait();

private:
    DmaMap* map_;
    DmaReader* self_;
};

}  // namespace pinfold
