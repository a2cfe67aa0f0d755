// The pin and map loop of MAP_DMA: pages are pinned in batches, charged, gathered into chunks that
// are physically consecutive, and mapped chunk by chunk (rules M-6 to M-13, P-1 to P-9).
//
// What it has done so far it undoes when it is destroyed without commit(). Guarded by the
// container's mutex.
#pragma once

#include <cstdint>
#include <span>

#include "host/memory.hpp"
#include "type1/dma.hpp"
#include "type1/domains.hpp"

namespace pinfold::type1 {

// Unmaps, unpins and uncharges all of `dma`; what no domain holds stays pinned (rule U-14).
void unpin_all(Dma& dma, host::Memory& memory, Domains& domains);

class PinLoop {
public:
    struct Limits {
        std::span<Paddr> batch;     // room for the pages of one look-up: P / 8 of them (rule M-7)
        std::uint64_t chunk_pages;  // the most that are mapped at once
    };
    PinLoop(Dma& dma, host::Memory& memory, Domains& domains, Limits limits);
    ~PinLoop();
    PinLoop(PinLoop const&) = delete;
    PinLoop& operator=(PinLoop const&) = delete;

    // The first error in address order: of a look-up, ENOMEM at the limit, of the IOMMU. Within a
    // chunk the IOMMU comes last (rule M-13).
    Result<> run();
    void commit() { committed_ = true; }

private:
    struct Chunk {
        Paddr start{};
        std::uint64_t pages = 0;
    };

    Result<> take(std::span<Paddr const> pages);
    Result<> extend(Chunk run);
    Result<> map_chunk();
    std::uint64_t bytes(std::uint64_t pages) const { return pages << page_size_.lg2(); }

    Dma& dma_;
    host::Memory& memory_;
    Domains& domains_;
    Limits limits_;
    PageSize page_size_;
    std::uint64_t pages_;       // of the whole mapping
    std::uint64_t mapped_ = 0;  // pages from the mapping's start on that every domain holds
    Chunk chunk_;               // pages behind them that are pinned and charged
    bool committed_ = false;
};

}  // namespace pinfold::type1
