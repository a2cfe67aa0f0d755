// Every hardware format with a shape to test it in: the one list that the tests over all formats
// run over. A new format is a line here.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "pagetable/amdv1.hpp"
#include "pagetable/arm_lpae.hpp"
#include "pagetable/arm_lpae_s2.hpp"
#include "pagetable/arm_v7s.hpp"
#include "pagetable/radix.hpp"
#include "pagetable/riscv.hpp"
#include "pagetable/vtdss.hpp"
#include "pagetable/x86_64.hpp"

namespace pinfold::test {

using namespace pagetable;

// As many levels as the width needs; `Sizes` of 0: all that the format has.
template <class F, unsigned Levels, unsigned Width, std::uint64_t Sizes = 0, unsigned Side = 0>
struct Case {
    using Format = F;
    static Shape<F> shape()
    {
        std::uint64_t all = 0;
        for (unsigned level = 0; level < F::kMaxLevels; ++level)
            all |= F::leaf_sizes(level).bitmap();
        Shape<F> shape{Levels, Width, PageSizes{Sizes == 0 ? all : Sizes}};
        shape.concatenated_lg2 = Side;
        return shape;
    }
    static constexpr unsigned kPageLg2 = F::slots_lg2(0) + (sizeof(typename F::Word) == 4 ? 2 : 3);
};

using Lpa2Of4K = ArmStage1<ArmWriter{12, true}>;

// AMD's tables as large as they get. Arm's first stage with and without the contiguous hint, its
// second with several tables at the top.
using Cases =
    testing::Types<Case<Vtdss, 3, 39>, Case<Vtdss, 5, 57>, Case<X86_64<X86Writer::generic>, 4, 47>,
                   Case<X86_64<X86Writer::vtd61>, 5, 56>, Case<X86_64<X86Writer::amd61>, 4, 47>,
                   Case<Amdv1, 6, 64, 0xffff'ff7f'ffff'f000>, Case<Amdv1Of<11>, 6, 56>,
                   Case<ArmLpae<12>, 4, 48, 0x4020'1000>, Case<ArmLpae<12>, 4, 48>,
                   Case<ArmLpae<14>, 3, 47>, Case<ArmLpae<16>, 3, 52>, Case<Lpa2Of4K, 5, 52>,
                   Case<ArmStage2<12>, 3, 40, 0, 1>, Case<ArmStage2<14>, 3, 48, 0, 1>,
                   Case<ArmStage2<16, Fwb::on>, 2, 42>, Case<Riscv<>, 3, 38, 0x4020'1000>,
                   Case<Riscv<Svpbmt::on>, 5, 56>, Case<Riscv<>, 3, 41, 0, 2>,
                   Case<ArmV7s<>, 2, 32>, Case<ArmV7s<V7sKind::mediatek>, 2, 34>>;

// A table in memory of its own, whose paddrs any format can hold.
template <class C>
struct OneTable {
    using F = typename C::Format;
    using Word = typename F::Word;

    explicit OneTable(Shape<F> const& with = C::shape())
        : shape{with},
          memory{TableMemory::create({.page = PageSize::lg2_of(C::kPageLg2),
                                      .base = Paddr{0x1000'0000},
                                      .arena_bytes = std::uint64_t{256} << 20})
                     .value()},
          table{RadixTable<F>::create(memory, shape).value()}
    {
    }

    Result<> map(std::uint64_t iova, std::uint64_t paddr, std::uint64_t size,
                 Prot prot = Prot::read_write)
    {
        return table->map(Iova{iova}, Paddr{paddr}, size, {.prot = prot}, mapped, removed);
    }
    std::uint64_t unmap(std::uint64_t iova, std::uint64_t size)
    {
        runs.clear();
        removed.flush = {};
        return table->unmap(Iova{iova}, size, removed,
                            [&](Run const& run) { runs.push_back(run); });
    }
    // What the format makes of rights that are asked for.
    Prot kept(Prot prot) const
    {
        Word const word = F::make_leaf(Paddr{0}, 0, smallest(), F::attributes({.prot = prot}));
        return F::prot(word, 0);
    }
    PageSize smallest() const { return shape.page_sizes.smallest(); }
    // The word that a walk to `iova` ends at.
    Word& word(std::uint64_t iova)
    {
        unsigned level = table->levels() - 1;
        auto* slots = static_cast<Word*>(memory->words(table->root()));
        for (std::uint64_t index = iova >> slot_lg2<F>(level);; --level) {
            Word& here = slots[index];
            if (F::entry(here, level) != Entry::table) return here;
            slots = static_cast<Word*>(memory->words(F::table_paddr(here)));
            index = (iova >> slot_lg2<F>(level - 1)) & ((1U << F::slots_lg2(level - 1)) - 1);
        }
    }

    Shape<F> shape;
    std::shared_ptr<TableMemory> memory;
    std::unique_ptr<RadixTable<F>> table;
    std::uint64_t mapped = 0;
    Removed removed;
    std::vector<Run> runs;
};

// body(level, size) for each size of leaf that a shape has and its levels hold.
template <class F, class Body>
void for_each_size(Shape<F> const& shape, Body body)
{
    for (unsigned level = 0; level < shape.levels; ++level)
        for (std::uint64_t sizes = (F::leaf_sizes(level) & shape.page_sizes).bitmap(); sizes != 0;
             sizes &= sizes - 1) {
            PageSize const size = *PageSize::of(sizes & -sizes);
            if (size.lg2() < shape.width) body(level, size);
        }
}

}  // namespace pinfold::test
