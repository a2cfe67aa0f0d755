#include "type1/pin_loop.hpp"

#include <algorithm>

namespace pinfold::type1 {
namespace {

// Unmaps the first `size` bytes of `dma`, and unpins and uncharges what was there.
void unpin_head(Dma& dma, std::uint64_t size, host::Memory& memory, Domains& domains)
{
    if (size == 0) return;
    auto const release = [&](Paddr paddr, std::uint64_t bytes) {
        std::uint64_t const pages = bytes >> memory.page_size().lg2();
        memory.unpin(paddr, pages);
        dma.owner->locked_memory().uncharge(pages);
        dma.locked_pages -= pages;
    };
    domains.unmap({dma.range.start, dma.range.start + (size - 1)}, release);
}

}  // namespace

void unpin_all(Dma& dma, host::Memory& memory, Domains& domains)
{
    unpin_head(dma, dma.range.size(), memory, domains);
}

PinLoop::PinLoop(Dma& dma, host::Memory& memory, Domains& domains, Limits limits)
    : dma_{dma},
      memory_{memory},
      domains_{domains},
      limits_{limits},
      page_size_{memory.page_size()},
      pages_{dma.range.size() >> page_size_.lg2()}
{
}

PinLoop::~PinLoop()
{
    if (committed_) return;
    unpin_head(dma_, bytes(mapped_), memory_, domains_);
    if (chunk_.pages == 0) return;
    memory_.unpin(chunk_.start, chunk_.pages);
    dma_.owner->locked_memory().uncharge(chunk_.pages);
    dma_.locked_pages -= chunk_.pages;
}

Result<> PinLoop::run()
{
    auto const intent = allows(dma_.prot, Access::write) ? host::Intent::write : host::Intent::read;
    while (mapped_ + chunk_.pages < pages_) {
        std::uint64_t const done = mapped_ + chunk_.pages;
        auto const room = limits_.batch.first(std::min(limits_.batch.size(), pages_ - done));
        std::size_t const pinned =
            TRY(memory_.pin(*dma_.owner, dma_.vaddr + bytes(done), intent, room));
        TRY(take(room.first(pinned)));
    }
    return map_chunk();
}

// Cuts what one look-up gave into consecutive runs. Pages behind an error are let go at once.
Result<> PinLoop::take(std::span<Paddr const> pages)
{
    while (!pages.empty()) {
        std::size_t count = 1;
        while (count < pages.size() && count < limits_.chunk_pages &&
               pages[count].raw() == pages[0].raw() + bytes(count))
            ++count;
        if (auto const taken = extend({pages[0], count}); !taken) {
            for (Paddr const page : pages) memory_.unpin(page, 1);
            return taken;
        }
        pages = pages.subspan(count);
    }
    return {};
}

// The limit is tested where a page joins its chunk, after the chunk before has been mapped
// (rule M-9).
Result<> PinLoop::extend(Chunk run)
{
    bool const joins = chunk_.pages != 0 && chunk_.pages + run.pages <= limits_.chunk_pages &&
                       chunk_.start.raw() + bytes(chunk_.pages) == run.start.raw();
    if (!joins) TRY(map_chunk());
    auto& account = dma_.owner->locked_memory();
    if (auto const charged = account.charge(run.pages, dma_.lock_cap); !charged) {
        account.refused(pages_ - mapped_ - chunk_.pages);
        return charged;
    }
    dma_.locked_pages += run.pages;
    chunk_ = {joins ? chunk_.start : run.start, chunk_.pages + run.pages};
    return {};
}

Result<> PinLoop::map_chunk()
{
    if (chunk_.pages == 0) return {};
    TRY(domains_.map(dma_.range.start + bytes(mapped_), chunk_.start, bytes(chunk_.pages),
                     dma_.prot));
    mapped_ += chunk_.pages;
    chunk_ = {};
    return {};
}

}  // namespace pinfold::type1
