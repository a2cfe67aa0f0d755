#include "type1/pin_loop.hpp"

#include <algorithm>

#include "type1/rollback.hpp"

namespace pinfold::type1 {
namespace {

// Unmaps and uncharges the first `size` bytes of `dma`. A page goes with the last of its bytes that
// the mapping has.
void unmap_head(Dma& dma, std::uint64_t size, Pinning pinning)
{
    if (size == 0) return;
    PageLayout const layout{dma, pinning.memory.page_size()};
    auto const release = [&](Iova iova, Paddr paddr, std::uint64_t bytes) {
        std::uint64_t const offset = iova - dma.range.start;
        std::uint64_t const first = layout.index_of(offset);
        std::uint64_t past = layout.index_of(offset + (bytes - 1)) + 1;
        if (layout.offset_of(past) != offset + bytes) --past;
        if (past == first) return;
        Paddr const page{pinning.memory.page_size().align_down(paddr.raw())};
        pinning.accounts.uncharge(dma, {first, page, past - first});
        pinning.leaving.add(page, past - first);
    };
    pinning.domains.unmap({dma.range.start, dma.range.start + (size - 1)}, release);
}

}  // namespace

void take_out(Dma& dma, Pinning pinning) { unmap_head(dma, dma.range.size(), pinning); }

PinLoop::PinLoop(Dma& dma, host::Process& process, Pinning pinning, Limits limits)
    : dma_{dma},
      process_{process},
      pinning_{pinning},
      limits_{limits},
      page_size_{pinning.memory.page_size()},
      layout_{dma, page_size_}
{
}

PinLoop::~PinLoop()
{
    if (committed_) return;
    unmap_head(dma_, layout_.offset_of(mapped_), pinning_);
    pinning_.leaving.unpin();
    if (chunk_.pages == 0) return;
    pinning_.accounts.uncharge(dma_, {mapped_, chunk_.start, chunk_.pages});
    pinning_.memory.unpin(chunk_.start, chunk_.pages);
}

Result<> PinLoop::run()
{
    auto const intent = allows(dma_.prot, Access::write) ? host::Intent::write : host::Intent::read;
    Vaddr const first = dma_.vaddr - layout_.head();
    while (done() < layout_.pages()) {
        auto const room =
            limits_.batch.first(std::min(limits_.batch.size(), layout_.pages() - done()));
        std::size_t const pinned =
            TRY(pinning_.memory.pin(process_, first + bytes(done()), intent, room));
        TRY(take(room.first(pinned)));
    }
    return map_chunk();
}

// Cuts what one look-up gave into runs. Pages behind an error are let go at once.
Result<> PinLoop::take(std::span<Paddr const> pages)
{
    Rollback let_go{[&] {
        for (Paddr const page : pages) pinning_.memory.unpin(page, 1);
    }};
    while (!pages.empty()) {
        Chunk const run = run_at_front(pages);
        TRY(extend(run));
        pages = pages.subspan(run.pages);
    }
    return {};
}

// Consecutive pages that are all reserved or none (rule M-15).
PinLoop::Chunk PinLoop::run_at_front(std::span<Paddr const> pages) const
{
    std::size_t count = 1;
    while (count < pages.size() && count < limits_.chunk_pages &&
           pages[count].raw() == pages[0].raw() + bytes(count))
        ++count;
    count = pinning_.memory.reserved_alike(pages[0], count);
    return {pages[0], count, pinning_.memory.reserved(pages[0])};
}

// The limit is tested where a page joins its chunk, after the chunk before has been mapped
// (rule M-9).
Result<> PinLoop::extend(Chunk run)
{
    bool const joins = chunk_.pages != 0 && chunk_.reserved == run.reserved &&
                       chunk_.pages + run.pages <= limits_.chunk_pages &&
                       chunk_.start.raw() + bytes(chunk_.pages) == run.start.raw();
    if (!joins) TRY(map_chunk());
    TRY(charge(run));
    chunk_ = {joins ? chunk_.start : run.start, chunk_.pages + run.pages, run.reserved};
    return {};
}

Result<> PinLoop::charge(Chunk run)
{
    if (run.reserved) {
        dma_.has_reserved = true;
        return {};
    }
    auto& account = process_.locked_memory();
    bool const foreign = &account != &dma_.mm->locked_memory;
    auto const charged = foreign && account.exceeds(run.pages, dma_.lock_cap)
                             ? fail(Errno::nomem)
                             : pinning_.accounts.charge(dma_, {done(), run.start, run.pages});
    if (!charged && charged.error() == Errno::nomem) {
        account.refused(layout_.pages() - done());
        write_line(limits_.log, "vfio_pin_pages_remote: RLIMIT_MEMLOCK ({}) exceeded",
                   bytes(account.limit_pages()));
    }
    return charged;
}

Result<> PinLoop::map_chunk()
{
    if (chunk_.pages == 0) return {};
    std::uint64_t const start = layout_.offset_of(mapped_);
    std::uint64_t const end = layout_.offset_of(done());
    Paddr const paddr = chunk_.start + (mapped_ == 0 ? layout_.head() : 0);
    TRY(pinning_.domains.map(dma_.range.start + start, paddr, end - start, dma_.prot));
    mapped_ += chunk_.pages;
    chunk_ = {};
    return {};
}

}  // namespace pinfold::type1
