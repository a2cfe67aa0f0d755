// Subject for each format of src/pagetable.
#pragma once

#include "arena.hpp"
#include "pagetable/radix_core.hpp"
#include "subject.hpp"

namespace pinfold::tables {

template <pagetable::PageTableFormat F>
class RadixSubject final : public Subject {
public:
    // `window_bits`: of the IOVAs that are used, if the reader cannot have all.
    RadixSubject(Arena& arena, pagetable::Shape<F> const& shape)
        : arena_{&arena}, shape_{shape}, table_{arena, shape}
    {
    }
    bool ready() const { return table_.ready(); }

    unsigned levels() const override { return table_.levels(); }
    unsigned concatenated_lg2() const override { return shape_.concatenated_lg2; }
    Paddr root() const override { return table_.root(); }
    IovaRange aperture() const override { return table_.aperture(); }
    PageSizes page_sizes() const override { return shape_.page_sizes; }
    unsigned paddr_bits() const override { return shape_.paddr_bits; }
    Prot granted(Prot asked) const override
    {
        Word const attributes = F::attributes(pagetable::Asked{.prot = asked});
        return F::prot(F::make_leaf(Paddr{0}, 0, PageSize::lg2_of(F::kGranuleLg2), attributes), 0);
    }

    std::uint64_t map(Iova iova, Paddr paddr, std::uint64_t size, Prot prot,
                      Tracked tracked) override
    {
        std::uint64_t mapped = 0;
        pagetable::Asked const asked{.prot = prot, .tracked = tracked == Tracked::yes};
        (void)table_.map(iova, paddr, size, asked, mapped, removed_);
        table_.release(removed_);
        return mapped;
    }
    std::uint64_t unmap(Iova iova, std::uint64_t size) override
    {
        std::uint64_t const bytes = table_.unmap(iova, size, removed_);
        table_.release(removed_);
        return bytes;
    }
    std::optional<Leaf> walk(Iova iova) const override
    {
        auto const leaf = table_.walk(iova);
        if (!leaf) return std::nullopt;
        return Leaf{leaf->iova, leaf->paddr, leaf->prot};
    }
    std::vector<Step> path(Iova iova) const override
    {
        std::vector<Step> steps;
        unsigned level = levels() - 1;
        unsigned slots_lg2 = F::slots_lg2(level) + shape_.concatenated_lg2;
        if (iova > covered(level, slots_lg2)) return steps;
        Paddr slot = table_.root() + sizeof(Word) * index(iova, level, slots_lg2);
        for (;;) {
            Word const word = *reinterpret_cast<Word const*>(slot.raw());
            pagetable::Entry const entry = F::entry(word, level);
            bool const table = entry == pagetable::Entry::table && level > 0;
            steps.push_back({slot.raw(), sizeof(Word), level, entry == pagetable::Entry::empty,
                             table, Paddr{0}});
            if (!table) return steps;
            --level;
            Paddr const below = F::table_paddr(word);
            slot = below + sizeof(Word) * index(iova, level, F::slots_lg2(level));
            steps.back().next = slot;
            if (arena_->words(below) == nullptr) return steps;
        }
    }

    bool shows_writes(Iova iova) const override
    {
        if constexpr (pagetable::TracksDirty<F>) {
            if (!hardware_marks()) return false;
            Word const word = *reinterpret_cast<Word const*>(path(iova).back().slot);
            return F::dirty(F::make_dirty(word));
        }
        return false;
    }
    void mark_written(Iova iova) override { (void)table_.access(iova, Access::write); }
    std::vector<IovaRange> take_dirty() override
    {
        std::vector<IovaRange> dirty;
        if constexpr (pagetable::TracksDirty<F>) {
            auto const record = [&](IovaRange range) { dirty.push_back(range); };
            table_.read_and_clear_dirty(table_.aperture(), record, removed_);
            table_.release(removed_);
        }
        return dirty;
    }

private:
    using Word = typename F::Word;

    static Iova covered(unsigned level, unsigned slots_lg2)
    {
        unsigned const bits = pagetable::slot_lg2<F>(level) + slots_lg2;
        return Iova{bits >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1};
    }
    static std::uint64_t index(Iova iova, unsigned level, unsigned slots_lg2)
    {
        return (iova.raw() >> pagetable::slot_lg2<F>(level)) &
               ((std::uint64_t{1} << slots_lg2) - 1);
    }
    bool hardware_marks() const { return shape_.tracking == pagetable::Tracking::on; }

    Arena* arena_;
    pagetable::Shape<F> shape_;
    pagetable::Radix<F, Arena> table_;
    pagetable::Removed removed_;
};

}  // namespace pinfold::tables
