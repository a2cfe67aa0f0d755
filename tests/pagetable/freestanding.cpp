// The engine without a hosted library, in every format and with every operation: compiled with
// -ffreestanding -fno-exceptions -fno-rtti, linked without libstdc++, with a TableSource
// of its own in static memory. Returns 10 * the format's number + the step that failed.
#include "pagetable/amdv1.hpp"
#include "pagetable/arm_lpae.hpp"
#include "pagetable/arm_lpae_s2.hpp"
#include "pagetable/arm_v7s.hpp"
#include "pagetable/radix_core.hpp"
#include "pagetable/riscv.hpp"
#include "pagetable/vtdss.hpp"
#include "pagetable/x86_64.hpp"

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

// Of every size that tables have.
template <unsigned PageLg2>
constinit StaticSource<PageLg2, 192> pages;

// All sizes of leaves that the format has.
template <PageTableFormat F>
Shape<F> shape_of(unsigned levels, unsigned width, unsigned concatenated_lg2 = 0)
{
    std::uint64_t sizes = 0;
    for (unsigned level = 0; level < F::kMaxLevels; ++level) sizes |= F::leaf_sizes(level).bitmap();
    Shape<F> shape{levels, width, PageSizes{sizes}};
    shape.concatenated_lg2 = concatenated_lg2;
    shape.partial = Partial::splits;
    shape.overmap = Overmap::replaces;
    shape.tracking = Tracking::on;
    return shape;
}

template <PageTableFormat F, class Source>
class Steps {
public:
    Steps(Source& source, Shape<F> const& shape) : table_{source, shape} {}

    // The number of the first that fails; 0: none.
    int first_that_fails()
    {
        if (!table_.ready()) return 1;
        if (!maps_walks_and_unmaps()) return 2;
        if (!splits_and_joins()) return 3;
        if (!reads_dirty()) return 4;
        if (!unmaps_a_part()) return 5;
        if (!replaces()) return 6;
        if (!says_what_is_refused()) return 7;
        return 0;
    }

private:
    // A leaf of one slot of level 0, and of level 1.
    static constexpr std::uint64_t kPage = std::uint64_t{1} << slot_lg2<F>(0);
    static constexpr std::uint64_t kBlock = std::uint64_t{1} << slot_lg2<F>(1);

    bool map(std::uint64_t iova, std::uint64_t paddr, std::uint64_t size)
    {
        std::uint64_t mapped = 0;
        auto const done = table_.map(Iova{iova}, Paddr{paddr}, size,
                                     {.prot = Prot::read_write, .tracked = true}, mapped, removed_);
        return done && mapped == size;
    }
    // What the sink is told adds up to what is returned.
    std::uint64_t unmap(std::uint64_t iova, std::uint64_t size)
    {
        std::uint64_t told = 0;
        std::uint64_t const bytes =
            table_.unmap(Iova{iova}, size, removed_, [&](Run const& run) { told += run.size; });
        table_.release(removed_);
        return told == bytes ? bytes : ~std::uint64_t{0};
    }
    // Where a leaf of `size` bytes leads; of 0 bytes: there is none.
    bool leads(std::uint64_t iova, std::uint64_t paddr, std::uint64_t size) const
    {
        auto const leaf = table_.walk(Iova{iova});
        if (!leaf) return size == 0;
        return leaf->iova.size() == size &&
               leaf->paddr + (Iova{iova} - leaf->iova.start) == Paddr{paddr};
    }
    std::uint64_t leaves_from(std::uint64_t iova, std::uint64_t size) const
    {
        std::uint64_t count = 0;
        table_.visit({Iova{iova}, Iova{iova + (size - 1)}},
                     [&](auto const&) { return ++count != 0; });
        return count;
    }

    // Across an edge between tables; lines up with no leaf but a page.
    bool maps_walks_and_unmaps()
    {
        std::uint64_t const iova = kBlock - 3 * kPage;
        if (!map(iova, 8 * kPage, 6 * kPage)) return false;
        if (!leads(kBlock + kPage + 8, 12 * kPage + 8, kPage)) return false;
        if (leaves_from(iova, 6 * kPage) != 6) return false;
        return unmap(iova, 6 * kPage) == 6 * kPage && leads(iova, 0, 0);
    }
    bool splits_and_joins()
    {
        if (!map(kBlock, 2 * kBlock, kBlock) || !leads(kBlock, 2 * kBlock, kBlock)) return false;
        if (!table_.split(Iova{kBlock + kPage}, removed_)) return false;
        if (!leads(kBlock + kPage, 2 * kBlock + kPage, kPage)) return false;
        if (table_.join({Iova{kBlock}, Iova{2 * kBlock - 1}}, removed_) != 1) return false;
        table_.release(removed_);
        return leads(kBlock + kPage, 2 * kBlock + kPage, kBlock);
    }
    bool reads_dirty()
    {
        if (!table_.access(Iova{kBlock}, Access::write)) return false;
        if constexpr (TracksDirty<F>) {
            IovaRange const all{Iova{0}, Iova{4 * kBlock - 1}};
            std::uint64_t bytes = 0;
            auto const add = [&](IovaRange leaf) { bytes += leaf.size(); };
            if (table_.read_dirty(all, add) != 1 || bytes != kBlock) return false;
            if (table_.read_and_clear_dirty(all, add, removed_) != 1) return false;
            if (table_.read_dirty(all, add) != 0) return false;
            if (!table_.access(Iova{kBlock}, Access::write)) return false;
            return table_.read_dirty(all, add) == 1;
        }
        return true;
    }
    bool unmaps_a_part()
    {
        if (unmap(kBlock + 2 * kPage, kPage) != kPage) return false;
        if (!leads(kBlock + 2 * kPage, 0, 0)) return false;
        if (!leads(kBlock + 3 * kPage, 2 * kBlock + 3 * kPage, kPage)) return false;
        return unmap(kBlock, 2 * kPage) == 2 * kPage &&
               unmap(kBlock + 3 * kPage, kBlock - 3 * kPage) == kBlock - 3 * kPage;
    }
    // A table by a leaf, and a leaf by a table.
    bool replaces()
    {
        if (!map(kBlock, 3 * kPage, kPage) || !map(kBlock, 2 * kBlock, kBlock)) return false;
        if (!leads(kBlock, 2 * kBlock, kBlock)) return false;
        if (!map(kBlock, 5 * kPage, kPage) || !leads(kBlock, 5 * kPage, kPage)) return false;
        table_.release(removed_);
        return unmap(kBlock, kPage) == kPage;
    }
    bool says_what_is_refused()
    {
        std::uint64_t mapped = 0;
        auto const wraps = table_.map(Iova{0 - kPage}, Paddr{0}, 2 * kPage, {.prot = Prot::read},
                                      mapped, removed_);
        return !wraps && wraps.error() == Errno::overflow && mapped == 0;
    }

    Radix<F, Source> table_;
    Removed removed_;
};

template <PageTableFormat F>
int check(int number, Shape<F> const& shape)
{
    auto& source = pages<table_lg2<F>(0)>;
    int const step =
        Steps<F, std::remove_reference_t<decltype(source)>>{source, shape}.first_that_fails();
    return step == 0 ? 0 : 10 * number + step;
}

using Lpa2Of4K = ArmStage1<ArmWriter{12, true}>;

int first_that_fails()
{
    int const checks[] = {
        check(1, shape_of<Vtdss>(4, 48)),
        check(2, shape_of<X86_64<X86Writer::generic>>(4, 47)),
        check(3, shape_of<X86_64<X86Writer::vtd61>>(5, 56)),
        check(4, shape_of<X86_64<X86Writer::amd61>>(4, 47)),
        check(5, shape_of<Amdv1>(3, 64)),
        check(6, shape_of<Amdv1Of<11>>(6, 56)),
        check(7, shape_of<ArmLpae<12>>(4, 48)),
        check(8, shape_of<ArmLpae<14>>(3, 47)),
        check(9, shape_of<ArmLpae<16>>(3, 52)),
        check(10, shape_of<Lpa2Of4K>(5, 52)),
        check(11, shape_of<ArmStage2<12>>(3, 40, 1)),
        check(12, shape_of<ArmStage2<14>>(3, 48, 1)),
        check(13, shape_of<ArmStage2<16, Fwb::on>>(2, 42)),
        check(14, shape_of<Riscv<>>(3, 38)),
        check(15, shape_of<Riscv<Svpbmt::on>>(5, 56)),
        check(16, shape_of<Riscv<>>(3, 41, 2)),
        check(17, shape_of<ArmV7s<>>(2, 32)),
        check(18, shape_of<ArmV7s<V7sKind::mediatek>>(2, 34)),
    };
    for (int const failed : checks)
        if (failed != 0) return failed;
    return 0;
}

}  // namespace

int main() { return first_that_fails(); }
