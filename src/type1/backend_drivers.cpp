// What drivers of emulated devices ask for: pages to keep, and bytes to read and write. Rules P-14
// to P-16 and B-6.
#include <algorithm>

#include "type1/backend.hpp"
#include "type1/rollback.hpp"

namespace pinfold::type1 {

Result<> Backend::pin_pages(Group& group, Iova iova, Prot prot, std::span<Paddr> pages,
                            bool can_notify)
{
    PageSize const page = settings_.memory.page_size();
    if (pages.empty() || !page.aligned(iova.raw())) return fail(Errno::inval);
    TRY(check_wrap(iova.raw(), pages.size() << page.lg2()));
    if (version_ != Version::v2) return fail(Errno::acces);
    if (invalid_vaddrs_ != 0) return fail(Errno::busy);
    if (!can_notify) return fail(Errno::inval);

    std::size_t done = 0;
    Rollback undo{[&] { unpin_pages(iova, done); }};
    for (; done < pages.size(); ++done)
        pages[done] = TRY(pin_page(iova + (done << page.lg2()), prot));
    undo.commit();
    group.pinned_page_dirty_scope = true;  // rule B-7
    return {};
}

Result<Paddr> Backend::pin_page(Iova iova, Prot prot)
{
    PageSize const page = settings_.memory.page_size();
    IovaRange const whole{iova, iova + page.mask()};
    Dma* const dma = overlapping(dmas_, whole);
    if (dma == nullptr) return fail(Errno::inval);
    if ((dma->prot & prot) != prot) return fail(Errno::perm);
    if (auto const known = dma->pins.find(iova); known != dma->pins.end()) {
        ++known->second.pins;
        return known->second.page;
    }
    // Only the policy `subpage` has mappings of less than a page, or of parts of pages.
    if (!dma->range.contains(whole)) return fail(Errno::inval);
    Vaddr const vaddr = dma->vaddr + (iova - dma->range.start);
    if (!page.aligned(vaddr.raw())) return fail(Errno::inval);
    return pin_new_page(*dma, iova, vaddr);
}

// The page of the process that mapped, for what it mapped it for.
Result<Paddr> Backend::pin_new_page(Dma& dma, Iova iova, Vaddr vaddr)
{
    auto const intent = allows(dma.prot, Access::write) ? host::Intent::write : host::Intent::read;
    host::Mm::Use const use{*dma.mm};
    if (!use) return fail(Errno::nodev);
    Paddr page;
    TRY(settings_.memory.pin(use.process(), vaddr, intent, {&page, 1}));
    Rollback unpin{[&] { settings_.memory.unpin(page, 1); }};
    bool const reserved = settings_.memory.reserved(page);
    // The zero page, which only 6.1 gives out, is one that a driver can have; a device's is not.
    if (reserved && settings_.kernel > Kernel::v6_1) return fail(Errno::inval);
    if (!dma.mapped) TRY(charge_page(dma, page, use.process()));
    Rollback uncharge{[&] {
        if (!dma.mapped) accounts_.uncharge_page(dma, page);
    }};
    if (dirty_tracking_)
        mark_dirty(dma, iova - dma.range.start, settings_.memory.page_size().bytes());
    dma.pins.try_emplace(iova, ExternalPin{page, 1});
    dma.has_reserved |= reserved;
    uncharge.commit();
    unpin.commit();
    return page;
}

Result<> Backend::charge_page(Dma& dma, Paddr page, host::Process const& process)
{
    auto const charged = accounts_.charge_page(dma, page);
    if (charged || settings_.log == nullptr) return charged;
    host::Task const task = process.task();
    write_line(settings_.log, "vfio_pin_page_external: Task {} ({}) RLIMIT_MEMLOCK ({}) exceeded",
               task.comm.data(), task.pid, dma.mm->locked_memory.limit_bytes());
    return charged;
}

void Backend::unpin_pages(Iova iova, std::uint64_t pages)
{
    if (version_ != Version::v2) return;
    PageSize const page = settings_.memory.page_size();
    for (std::uint64_t i = 0; i < pages; ++i) {
        Iova const at = iova + (i << page.lg2());
        Dma* const dma = overlapping(dmas_, {at, at + page.mask()});
        if (dma == nullptr) return;
        unpin_page(*dma, at);
    }
}

void Backend::unpin_page(Dma& dma, Iova iova)
{
    auto const found = dma.pins.find(iova);
    if (found == dma.pins.end() || --found->second.pins != 0) return;
    Paddr const page = found->second.page;
    dma.pins.erase(found);
    if (!dma.mapped) accounts_.uncharge_page(dma, page);
    settings_.memory.unpin(page, 1);
}

void Backend::drop_pins(Dma& dma)
{
    for (auto const& [iova, pin] : dma.pins) {
        if (!dma.mapped) accounts_.uncharge_page(dma, pin.page);
        settings_.memory.unpin(pin.page, 1);
    }
    dma.pins.clear();
}

Result<> Backend::dma_read(Iova iova, std::span<std::byte> into)
{
    if (invalid_vaddrs_ != 0) return fail(Errno::busy);
    while (!into.empty()) {
        Dma const& dma = *TRY(reachable(iova, Prot::read));
        std::uint64_t const size = std::min<std::uint64_t>(into.size(), dma.range.last - iova + 1);
        host::Mm::Use const use{*dma.mm};
        if (!use) return fail(Errno::perm);
        TRY(use.process().read(dma.vaddr + (iova - dma.range.start), into.first(size)));
        into = into.subspan(size);
        iova = Iova{iova.raw() + size};
    }
    return {};
}

Result<> Backend::dma_write(Iova iova, std::span<std::byte const> from)
{
    if (invalid_vaddrs_ != 0) return fail(Errno::busy);
    while (!from.empty()) {
        Dma& dma = *TRY(reachable(iova, Prot::read_write));
        std::uint64_t const size = std::min<std::uint64_t>(from.size(), dma.range.last - iova + 1);
        std::uint64_t const offset = iova - dma.range.start;
        host::Mm::Use const use{*dma.mm};
        if (!use) return fail(Errno::perm);
        if (dirty_tracking_) mark_dirty(dma, offset, size);
        TRY(use.process().write(dma.vaddr + offset, from.first(size)));
        from = from.subspan(size);
        iova = Iova{iova.raw() + size};
    }
    return {};
}

// The mapping that holds `iova`. EINVAL: none; EPERM: it lacks a right of `prot`.
Result<Dma*> Backend::reachable(Iova iova, Prot prot)
{
    Dma* const dma = overlapping(dmas_, {iova, iova});
    if (dma == nullptr) return fail(Errno::inval);
    if ((dma->prot & prot) != prot) return fail(Errno::perm);
    return dma;
}

}  // namespace pinfold::type1
