#include "plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

namespace pinfold::tables {

namespace {

constexpr std::uint64_t kMark = 0xa500'0000'0000'0001;
constexpr std::uint64_t kPlaceBits = 0x00ff'ffff'ffff'fff8;

constexpr bool is_read(std::uint64_t kind)
{
    return kind == PROBE_READ || kind == PROBE_TRANSLATE_READ;
}

}  // namespace

std::uint64_t marker(Paddr paddr) { return kMark | (paddr.raw() & kPlaceBits); }

std::optional<Paddr> marked(std::uint64_t value)
{
    if ((value & ~kPlaceBits) != kMark) return std::nullopt;
    return Paddr{value & kPlaceBits};
}

Iova Plan::map_window(Paddr paddr)
{
    PageSize const granule = subject_->page_sizes().smallest();
    // A CPU without translation of its own has no addresses above 2^48.
    std::uint64_t const last =
        std::min(subject_->aperture().last.raw(), (std::uint64_t{1} << 48) - 1);
    Iova const iova{granule.align_down(random_below(last))};
    if (subject_->map(iova, paddr, granule.bytes(), Prot::read_write, Tracked::no) !=
        granule.bytes())
        troubles_.push_back("the window could not be mapped");
    avoid({iova, iova + granule.mask()});
    return iova;
}

bool Plan::avoided(IovaRange range) const
{
    return std::ranges::any_of(avoided_,
                               [=](IovaRange avoided) { return avoided.overlaps(range); });
}

PageSize Plan::any_size()
{
    std::vector<PageSize> sizes;
    for (unsigned lg2 = 0; lg2 < 64; ++lg2) {
        PageSize const size = PageSize::lg2_of(lg2);
        // One leaf that takes an eighth of the table leaves too little for the others.
        bool const fits = size.mask() <= subject_->aperture().last.raw() / 8;
        if (subject_->page_sizes().has(size) && fits) sizes.push_back(size);
    }
    return sizes[random_below(sizes.size())];
}

// Half of them in the neighbourhood of another, so that tables fill.
Iova Plan::any_iova(PageSize size)
{
    std::uint64_t const last = subject_->aperture().last.raw();
    if (mappings_.empty() || random_below(2) == 0)
        return Iova{
            size.align_down(last == ~std::uint64_t{0} ? (*random_)() : random_below(last + 1))};
    auto near = mappings_.begin();
    std::advance(near, static_cast<std::ptrdiff_t>(random_below(mappings_.size())));
    unsigned const reach = std::min(size.lg2() + 8, 63U);
    std::uint64_t const base = PageSize::lg2_of(reach).align_down(near->first.raw());
    return Iova{size.align_down(base + random_below(std::uint64_t{1} << reach))};
}

// So that something of the mapping is in RAM; for a reader that translates, now and then anywhere.
Paddr Plan::any_paddr(PageSize size, std::uint64_t bytes)
{
    std::uint64_t const end = std::uint64_t{1} << subject_->paddr_bits();
    if (reader_->translates && random_below(3) == 0 && bytes <= end / 2)
        return Paddr{size.align_down(random_below(end - bytes))};
    std::uint64_t const place = size.align_down(ram_->any_place(*random_).raw());
    std::uint64_t const before = random_below(bytes >> size.lg2()) << size.lg2();
    std::uint64_t const start = place - std::min(place, before);
    return Paddr{start > end - bytes ? 0 : start};
}

void Plan::map_randomly(unsigned mappings)
{
    for (unsigned i = 0; i < mappings; ++i) map_one();
}

// Leaves of one size, mostly; or of a length that needs several sizes.
void Plan::map_one()
{
    PageSize const size = any_size();
    PageSize const granule = subject_->page_sizes().smallest();
    std::uint64_t const most = size.lg2() <= 16 ? 40 : size.lg2() <= 26 ? 5 : 2;
    std::uint64_t const room = std::uint64_t{1} << (subject_->paddr_bits() - size.lg2());
    std::uint64_t bytes = (1 + random_below(std::min(most, room))) << size.lg2();
    Iova iova = any_iova(size);
    Paddr paddr = any_paddr(size, bytes);
    if (size > granule && size.lg2() < 34 && random_below(4) == 0) {
        std::uint64_t const inset =
            random_below(std::min<std::uint64_t>(size.bytes() >> granule.lg2(), 600))
            << granule.lg2();
        iova = iova + inset;
        paddr = paddr + inset;
        bytes -= inset;
    }
    map_at(iova, paddr, bytes, static_cast<Prot>(1 + random_below(3)));
}

void Plan::map_at(Iova iova, Paddr paddr, std::uint64_t bytes, Prot prot)
{
    auto const range = IovaRange::of(iova, bytes);
    if (!range || range->last > subject_->aperture().last) return;
    if (avoided(*range)) return;
    auto const next = mappings_.upper_bound(range->last);
    if (next != mappings_.begin() && std::prev(next)->second.last >= iova) return;

    std::uint64_t const mapped =
        subject_->map(iova, paddr, bytes, prot, static_cast<Tracked>(random_below(2)));
    if (mapped != bytes)
        troubles_.push_back(
            fmt::format("map of {:#x} bytes at {:#x}: {:#x}", bytes, iova.raw(), mapped));
    if (mapped == 0) return;
    ++mapped_ever_;
    mappings_.emplace(iova, Mapping{iova + (mapped - 1), paddr, subject_->granted(prot)});
}

void Plan::unmap_some()
{
    std::vector<Iova> starts;
    for (auto const& [start, mapping] : mappings_)
        if (random_below(6) == 0) starts.push_back(start);
    for (Iova const start : starts) {
        Mapping const mapping = mappings_.at(start);
        std::uint64_t const bytes = mapping.last - start + 1;
        std::uint64_t const gone = subject_->unmap(start, bytes);
        if (gone != bytes)
            troubles_.push_back(
                fmt::format("unmap of {:#x} bytes at {:#x}: {:#x}", bytes, start.raw(), gone));
        mappings_.erase(start);
        if (random_below(2) == 0) map_one();
    }
}

Expected Plan::listed(Iova iova, Access access) const
{
    if (iova > subject_->aperture().last) return {Outcome::beyond, Paddr{0}, 0};
    auto const next = mappings_.upper_bound(iova);
    if (next == mappings_.begin() || std::prev(next)->second.last < iova)
        return {Outcome::hole, Paddr{0}, 0};
    auto const& [start, mapping] = *std::prev(next);
    Paddr const paddr = mapping.paddr + (iova - start);
    return {allows(mapping.prot, access) ? Outcome::reaches : Outcome::denied, paddr, 0};
}

bool Plan::claim(Paddr paddr) { return ram_->free(paddr) && claimed_.insert(paddr).second; }

std::optional<Planned> Plan::probe(Iova iova, std::uint64_t kind)
{
    Access const access = is_read(kind) ? Access::read : Access::write;
    Expected const expected = expect(*subject_, iova, access);
    Planned planned{{iova.raw(), 0, kind}, expected};
    bool const somewhere =
        expected.outcome == Outcome::reaches || expected.outcome == Outcome::denied;
    if (translates(planned.probe) || !somewhere) return planned;
    if (!claim(expected.paddr)) return std::nullopt;
    ram_->write(expected.paddr, marker(expected.paddr));
    planned.probe.value = ~marker(expected.paddr);
    return planned;
}

void Plan::add(std::vector<Planned>& to, Iova iova, std::uint64_t kind)
{
    if (avoided({iova, iova + 7})) return;
    auto const planned = probe(iova, kind);
    if (!planned) return;
    Expected const list = listed(iova, is_read(kind) ? Access::read : Access::write);
    Expected const& walk = planned->expected;
    bool const unmapped = list.outcome == Outcome::hole && walk.outcome == Outcome::beyond;
    if ((list.outcome != walk.outcome && !unmapped) || list.paddr != walk.paddr)
        troubles_.push_back(fmt::format("iova {:#x}: mapped was {}, our own walk says {}",
                                        iova.raw(), describe(list), describe(walk)));
    to.push_back(*planned);
}

void Plan::add_all_kinds(std::vector<Planned>& to, Iova iova)
{
    add(to, iova, PROBE_READ);
    add(to, iova + 8, PROBE_WRITE);
    if (!reader_->translates) return;
    add(to, iova, PROBE_TRANSLATE_READ);
    add(to, iova, PROBE_TRANSLATE_WRITE);
}

// Its ends, what is beside them, and places inside that are in RAM.
void Plan::probe_mapping(std::vector<Planned>& to, Iova start, Mapping const& mapping)
{
    Iova const last{mapping.last.raw() & ~std::uint64_t{15}};
    add_all_kinds(to, start);
    add_all_kinds(to, last);
    if (start.raw() >= 16 && random_below(4) == 0) add_all_kinds(to, start - 16);
    if (mapping.last < subject_->aperture().last && random_below(4) == 0)
        add_all_kinds(to, mapping.last + 1);
    for (int i = 0; i < 2; ++i) {
        PaddrRange const whole{mapping.paddr, mapping.paddr + (mapping.last - start)};
        auto const part = ram_->any_part(*random_, whole);
        if (!part) continue;
        std::uint64_t const inside =
            (part->start - whole.start) + random_below(part->last - part->start + 1);
        add_all_kinds(to, start + (inside & ~std::uint64_t{15}));
    }
}

std::vector<Planned> Plan::probes()
{
    std::vector<Planned> planned;
    for (auto const& [start, mapping] : mappings_) probe_mapping(planned, start, mapping);
    std::size_t const mapped = planned.size();
    PageSize const granule = subject_->page_sizes().smallest();
    for (std::size_t i = 0; i < mapped / 4; ++i) add_all_kinds(planned, any_iova(granule));
    std::ranges::shuffle(planned, *random_);
    return planned;
}

}  // namespace pinfold::tables
