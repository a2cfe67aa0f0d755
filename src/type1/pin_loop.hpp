// The pin and map loop of MAP_DMA: pages are pinned in batches, charged, gathered into chunks that
// are physically consecutive, and mapped chunk by chunk (rules M-6 to M-15, P-1 to P-9).
//
// What it has done so far it undoes when it is destroyed without commit(). Guarded by the
// container's mutex.
#pragma once

#include <cstdint>
#include <span>

#include "host/memory.hpp"
#include "type1/accounts.hpp"
#include "type1/dma.hpp"
#include "type1/domains.hpp"
#include "type1/leaving.hpp"
#include "type1/log.hpp"

namespace pinfold::type1 {

// Where pages come from and go to, and who is charged.
struct Pinning {
    host::Memory& memory;
    Domains& domains;
    Accounts& accounts;
    Leaving& leaving;
};

// Unmaps and uncharges all of `dma`, and hands its pages to `leaving`; what no domain holds stays
// pinned (rule U-14). Pages that a driver has pinned stay charged.
void take_out(Dma& dma, Pinning pinning);

// How the host's pages lie under a mapping. The first and the last may be covered in part only.
class PageLayout {
public:
    PageLayout(Dma const& dma, PageSize page)
        : page_{page}, head_{dma.head}, size_{dma.range.size()}
    {
    }
    std::uint64_t head() const { return head_; }  // bytes of the first page before the mapping
    std::uint64_t pages() const { return index_of(size_ - 1) + 1; }
    // The page that the byte at `offset` of the mapping is in.
    std::uint64_t index_of(std::uint64_t offset) const { return (head_ + offset) >> page_.lg2(); }
    // Where page `index` begins, counted from the mapping's start; its end for index == pages().
    std::uint64_t offset_of(std::uint64_t index) const
    {
        if (index == 0) return 0;
        return index == pages() ? size_ : (index << page_.lg2()) - head_;
    }

private:
    PageSize page_;
    std::uint64_t head_, size_;
};

class PinLoop {
public:
    struct Limits {
        std::span<Paddr> batch;     // room for the pages of one look-up: P / 8 of them (rule M-7)
        std::uint64_t chunk_pages;  // the most that are mapped at once
        Log* log = nullptr;
    };
    // `process` is whose memory is looked up, and whose limit holds too if that is not the one that
    // `dma` is charged to (rule P-17).
    PinLoop(Dma& dma, host::Process& process, Pinning pinning, Limits limits);
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
        bool reserved = false;
    };

    std::uint64_t done() const { return mapped_ + chunk_.pages; }
    Chunk run_at_front(std::span<Paddr const> pages) const;
    Result<> take(std::span<Paddr const> pages);
    Result<> extend(Chunk run);
    Result<> charge(Chunk run);
    Result<> map_chunk();
    std::uint64_t bytes(std::uint64_t pages) const { return pages << page_size_.lg2(); }

    Dma& dma_;
    host::Process& process_;
    Pinning pinning_;
    Limits limits_;
    PageSize page_size_;
    PageLayout layout_;
    std::uint64_t mapped_ = 0;  // pages from the mapping's start on that every domain holds
    Chunk chunk_;               // pages behind them that are pinned and charged
    bool committed_ = false;
};

}  // namespace pinfold::type1
