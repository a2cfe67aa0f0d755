// The engine without a hosted library: compiled with -ffreestanding -fno-exceptions -fno-rtti, with
// a TableSource of its own in static memory. Returns the number of the check that failed.
#include "pagetable/amdv1.hpp"
#include "pagetable/arm_v7s.hpp"
#include "pagetable/radix_core.hpp"
#include "pagetable/riscv.hpp"
#include "pagetable/vtdss.hpp"

namespace {

using namespace pinfold;
using namespace pinfold::pagetable;

// Pages of an array, handed out in order and taken back to a stack. One thread.
template <unsigned PageLg2, std::uint64_t Pages>
class StaticSource {
public:
    std::optional<TableBlock> allocate(unsigned lg2)
    {
        std::uint64_t const pages = std::uint64_t{1} << (lg2 - PageLg2);
        if (pages == 1 && free_ != kNone) {
            std::uint64_t const page = free_;
            free_ = infos_[page].link.load(std::memory_order_relaxed);
            return TableBlock{paddr_of(page), false};
        }
        std::uint64_t const start = (used_ + pages - 1) & ~(pages - 1);
        if (start + pages > Pages) return std::nullopt;
        used_ = start + pages;
        return TableBlock{paddr_of(start), true};
    }
    void free(Paddr first, Paddr last, std::uint64_t, unsigned lg2)
    {
        if (lg2 != PageLg2) return;  // a root: the end of this program
        for (std::uint64_t page = page_of(first);;) {
            std::uint64_t const next = infos_[page].link.load(std::memory_order_relaxed);
            infos_[page].link.store(free_, std::memory_order_relaxed);
            free_ = page;
            if (page == page_of(last)) return;
            page = page_of(Paddr{next});
        }
    }
    void* words(Paddr table) const { return inside(table) ? words_of_table(table) : nullptr; }
    void* words_of_table(Paddr table) const
    {
        return const_cast<unsigned char*>(memory_) + (table.raw() - kBase);
    }
    TableInfo* info(Paddr table) const
    {
        return inside(table) ? const_cast<TableInfo*>(infos_) + page_of(table) : nullptr;
    }
    std::uint64_t new_owner() { return ++owners_; }
    unsigned block_lg2() const { return PageLg2; }
    template <class Visit>
    void each(Visit&& visit)
    {
        for (std::uint64_t page = 0; page < used_; ++page) visit(paddr_of(page), infos_[page]);
    }

private:
    static constexpr std::uint64_t kBase = 0x4000'0000;
    static constexpr std::uint64_t kNone = ~std::uint64_t{0};
    static bool inside(Paddr table)
    {
        std::uint64_t const offset = table.raw() - kBase;
        return offset < Pages << PageLg2 && offset % (1U << PageLg2) == 0;
    }
    static Paddr paddr_of(std::uint64_t page) { return Paddr{kBase + (page << PageLg2)}; }
    static std::uint64_t page_of(Paddr table) { return (table.raw() - kBase) >> PageLg2; }

    alignas(16384) unsigned char memory_[Pages << PageLg2] = {};
    TableInfo infos_[Pages];
    std::uint64_t used_ = 0;
    std::uint64_t free_ = kNone;
    std::uint64_t owners_ = 0;
};

constinit StaticSource<12, 32> pages;
constinit StaticSource<10, 64> small_pages;

template <PageTableFormat F, class Source>
bool works(Source& source, Shape<F> const& shape)
{
    Radix<F, Source> table{source, shape};
    if (!table.ready()) return false;
    Removed removed;
    std::uint64_t mapped = 0;
    std::uint64_t const iova = 0x20'0000 - 0x3000;
    auto const done =
        table.map(Iova{iova}, Paddr{0x7000}, 0x6000, {.prot = Prot::read_write}, mapped, removed);
    if (!done || mapped != 0x6000) return false;
    auto const leaf = table.walk(Iova{0x20'1abc});
    if (!leaf || leaf->paddr + (Iova{0x20'1abc} - leaf->iova.start) != Paddr{0xbabc}) return false;
    std::uint64_t bytes = 0;
    table.unmap(Iova{iova}, 0x6000, removed, [&](Run const& run) { bytes += run.size; });
    table.release(removed);
    return bytes == 0x6000 && !table.walk(Iova{iova});
}

}  // namespace

int main()
{
    constexpr PageSizes kX86{0x4020'1000};
    if (!works<Vtdss>(pages, Shape<Vtdss>::fixed(4, kX86))) return 1;
    if (!works<Amdv1>(pages, {3, 64, PageSizes{0xffff'ff7f'ffff'f000}})) return 2;
    if (!works<Riscv<>>(pages, {3, 38, kX86})) return 3;
    if (!works<ArmV7s<>>(small_pages, {2, 32, PageSizes{0x11'1000}})) return 4;
    return 0;
}
