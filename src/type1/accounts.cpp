#include "type1/accounts.hpp"

#include "type1/rollback.hpp"

namespace pinfold::type1 {

// Whether page `index` of `dma`, which lies at `page`, is one that mapping it costs.
bool Accounts::pays(Dma const& dma, std::uint64_t index, Paddr page) const
{
    if (dma.has_reserved && memory_.reserved(page)) return false;
    return dma.pins.empty() || !dma.pins.contains(iova_of(dma, index));
}

Iova Accounts::iova_of(Dma const& dma, std::uint64_t index) const
{
    return Iova{dma.range.start.raw() - dma.head + (index << memory_.page_size().lg2())};
}

std::uint64_t Accounts::payable(Dma const& dma, DmaPages pages) const
{
    if (!dma.has_reserved && dma.pins.empty()) return pages.count;
    std::uint64_t count = 0;
    for (std::uint64_t i = 0; i < pages.count; ++i)
        count += pays(dma, pages.index + i, page_at(pages, i)) ? 1U : 0U;
    return count;
}

Result<> Accounts::charge(Dma& dma, DmaPages pages)
{
    std::uint64_t count = 0;
    Rollback undo{[&] {
        for (std::uint64_t i = 0; i < count; ++i)
            if (pays(dma, pages.index + i, page_at(pages, i))) unshare(*dma.mm, page_at(pages, i));
    }};
    std::uint64_t cost = payable(dma, pages);
    std::uint64_t const owned = cost;
    if (share_pages_) {
        cost = 0;
        for (; count < pages.count; ++count)
            if (pays(dma, pages.index + count, page_at(pages, count)))
                cost += share(*dma.mm, page_at(pages, count)) ? 1U : 0U;
    }
    TRY(dma.mm->locked_memory.charge(cost, dma.lock_cap));
    undo.commit();
    dma.locked_pages += owned;
    return {};
}

void Accounts::uncharge(Dma& dma, DmaPages pages)
{
    std::uint64_t cost = payable(dma, pages);
    dma.locked_pages -= cost;
    if (share_pages_) {
        cost = 0;
        for (std::uint64_t i = 0; i < pages.count; ++i)
            if (pays(dma, pages.index + i, page_at(pages, i)))
                cost += unshare(*dma.mm, page_at(pages, i)) ? 1U : 0U;
    }
    dma.mm->locked_memory.uncharge(cost);
}

Result<> Accounts::charge_page(Dma& dma, Paddr page)
{
    if (memory_.reserved(page)) return {};
    bool const first = !share_pages_ || share(*dma.mm, page);
    Rollback undo{[&] {
        if (share_pages_) unshare(*dma.mm, page);
    }};
    TRY(dma.mm->locked_memory.charge(first ? 1 : 0, dma.lock_cap));
    undo.commit();
    ++dma.locked_pages;
    return {};
}

void Accounts::uncharge_page(Dma& dma, Paddr page)
{
    if (memory_.reserved(page)) return;
    bool const last = !share_pages_ || unshare(*dma.mm, page);
    dma.mm->locked_memory.uncharge(last ? 1 : 0);
    --dma.locked_pages;
}

Result<> Accounts::move(Dma& dma, std::shared_ptr<host::Mm> const& mm, host::LockCap cap,
                        Pages pages)
{
    std::uint64_t cost = dma.locked_pages;
    std::uint64_t back = dma.locked_pages;
    std::uint64_t moved = 0;
    Rollback undo{[&] {
        if (share_pages_)
            pages([&](Paddr page) {
                if (moved != 0) --moved, unshare(*mm, page);
            });
    }};
    if (share_pages_) {
        cost = 0;
        pages([&](Paddr page) {
            cost += share(*mm, page) ? 1U : 0U;
            ++moved;
        });
    }
    TRY(mm->locked_memory.charge(cost, cap));
    undo.commit();
    if (share_pages_) {
        back = 0;
        pages([&](Paddr page) { back += unshare(*dma.mm, page) ? 1U : 0U; });
    }
    dma.mm->locked_memory.uncharge(back);
    dma.mm = mm;
    dma.lock_cap = cap;
    return {};
}

// True: nobody of this process has shared the page before, so that it must be charged.
bool Accounts::share(host::Mm& mm, Paddr page) { return sharers_[{&mm, page}]++ == 0; }

// True: nobody of this process shares the page any more.
bool Accounts::unshare(host::Mm& mm, Paddr page)
{
    auto const found = sharers_.find({&mm, page});
    if (--found->second != 0) return false;
    sharers_.erase(found);
    return true;
}

Paddr Accounts::page_at(DmaPages pages, std::uint64_t i) const
{
    return pages.start + (i << memory_.page_size().lg2());
}

}  // namespace pinfold::type1
