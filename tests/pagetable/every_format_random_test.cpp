// Random maps, unmaps, splits, joins and devices' accesses in every format, in all three ways to
// unmap a part of a leaf, beside the slow model.
#include <random>

#include "pagetable/cases.hpp"
#include "pagetable/leaf_model.hpp"
#include "support/seed.hpp"

namespace pinfold::test {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr int kSteps = 40;
#else
constexpr int kSteps = 160;
#endif

// The sizes of leaves that fill one slot: what splits leave, and joins make.
template <class F>
PageSizes slot_sizes(Shape<F> const& shape)
{
    std::uint64_t sizes = 0;
    for (unsigned level = 0; level < shape.levels; ++level)
        if (slot_lg2<F>(level) < 64) sizes |= std::uint64_t{1} << slot_lg2<F>(level);
    return PageSizes{sizes} & shape.page_sizes;
}

// Requests near places where tables meet, as large as some leaf or a few pages.
template <class C>
class Requests {
public:
    using F = typename C::Format;
    Requests(std::uint64_t seed, Shape<F> const& shape) : random_{seed}, shape_{shape}
    {
        for_each_size(shape, [&](unsigned, PageSize size) {
            if (size.lg2() <= slot_lg2<F>(1) + 5 && size.lg2() < std::min(shape.paddr_bits, 40U))
                sizes_.push_back(size);
        });
    }

    struct Request {
        std::uint64_t iova, paddr, size;
        Prot prot;
    };
    // At most some hundred leaves.
    Request next()
    {
        std::uint64_t const page = sizes_.front().bytes();
        std::uint64_t const last = ~std::uint64_t{0} >> (64 - shape_.width);
        std::uint64_t const paddrs = std::uint64_t{1} << (std::min(shape_.paddr_bits, 40U) - 1);
        std::uint64_t const unit = sizes_[pick(sizes_.size())].bytes();
        std::uint64_t const edges[] = {
            0, std::uint64_t{1} << std::min(slot_lg2<F>(1) + 2, shape_.width - 1),
            std::uint64_t{1} << std::min(slot_lg2<F>(2), shape_.width - 1), 0 - 4 * unit};
        std::uint64_t const iova =
            (edges[pick(4)] + unit * pick(6) + page * (askew() ? 1 : 0)) & last;
        bool const in_step = pick(3) != 0;
        std::uint64_t size = unit * (1 + pick(5)) + page * (askew() ? pick(40) : 0);
        if (!in_step || iova % unit != 0) size = std::min(size, 300 * page);
        std::uint64_t const paddr = (iova & (paddrs - 1)) + (in_step ? 0 : page);
        return {iova, paddr, size, static_cast<Prot>(1 + pick(3))};
    }
    std::uint64_t pick(std::uint64_t n) { return random_() % n; }

private:
    bool askew() { return pick(3) == 0; }

    std::mt19937_64 random_;
    Shape<F> shape_;
    std::vector<PageSize> sizes_;
};

template <class C>
class Pair {
public:
    using F = typename C::Format;
    static Shape<F> with(Partial partial, Tracking tracking)
    {
        auto shape = C::shape();
        shape.partial = partial;
        shape.tracking = tracking;
        return shape;
    }
    Pair(std::uint64_t seed, Partial partial, Tracking tracking)
        : bench_{with(partial, tracking)},
          model_{bench_.shape.page_sizes, ~std::uint64_t{0} >> (64 - bench_.shape.width), partial,
                 slot_sizes<F>(bench_.shape)},
          requests_{seed, bench_.shape}
    {
    }

    void step()
    {
        auto const request = requests_.next();
        switch (requests_.pick(8)) {
            case 0:
            case 1:
            case 2: return map(request);
            case 3: return split(request.iova + request.size / 2);
            case 4: return join(request);
            case 5: return access(request.iova + request.size / 2);
            default: return unmap(request);
        }
    }
    // All leaves are where the model has them, and there are no others.
    void compare()
    {
        LeafCounts counts{};
        for (auto const& [iova, wanted] : model_.leaves()) {
            for (std::uint64_t const at : {iova, iova + (wanted.bytes - 1)}) {
                auto const leaf = bench_.table->walk(Iova{at});
                ASSERT_TRUE(leaf) << std::hex << at;
                ASSERT_EQ(leaf->iova.start, Iova{iova});
                ASSERT_EQ(leaf->iova.size(), wanted.bytes);
                ASSERT_EQ(leaf->paddr, Paddr{wanted.paddr});
                ASSERT_EQ(leaf->prot, wanted.prot);
            }
            ++counts[static_cast<unsigned>(std::countr_zero(wanted.bytes))];
        }
        ASSERT_EQ(bench_.table->leaves(), counts);
        if constexpr (TracksDirty<F>) compare_dirty();
    }
    void release() { bench_.table->release(bench_.removed); }
    void finish()
    {
        release();
        bench_.table.reset();
        EXPECT_EQ(bench_.memory->pages_in_use(), 0);
    }

private:
    using Request = typename Requests<C>::Request;
    using Word = typename F::Word;
    bool tracks() const { return TracksDirty<F> && bench_.shape.tracking == Tracking::on; }
    PageSize smallest() const { return bench_.shape.page_sizes.smallest(); }

    Word leaf(Prot prot) const
    {
        return F::make_leaf(Paddr{0}, 0, smallest(),
                            F::attributes({.prot = prot, .tracked = tracks()}));
    }
    // Some formats have leaves that are, where nothing else tells that they can be written.
    bool born_dirty(Prot prot) const
    {
        if constexpr (TracksDirty<F>) return F::dirty(leaf(prot));
        return false;
    }
    // Not where a leaf that cannot be written has no place for it.
    bool joined_dirty(Prot prot) const
    {
        if constexpr (TracksDirty<F>) return tracks() && F::dirty(F::make_dirty(leaf(prot)));
        return false;
    }
    void map(Request const& request)
    {
        std::uint64_t expected = 0;
        auto const wanted =
            model_.map(request.iova, request.paddr, request.size, bench_.kept(request.prot),
                       expected, born_dirty(request.prot));
        ASSERT_EQ(bench_.map(request.iova, request.paddr, request.size, request.prot), wanted);
        ASSERT_EQ(bench_.mapped, expected);
    }
    void unmap(Request const& request)
    {
        std::vector<std::uint64_t> wanted;  // iova, paddr and size of each run
        std::uint64_t const bytes = model_.unmap(request.iova, request.size, [&](auto const& leaf) {
            auto const& [iova, what] = leaf;
            std::size_t const n = wanted.size();
            if (n != 0 && wanted[n - 2] + wanted[n - 1] == what.paddr)
                wanted[n - 1] += what.bytes;
            else
                wanted.insert(wanted.end(), {iova, what.paddr, what.bytes});
        });
        ASSERT_EQ(bench_.unmap(request.iova, request.size), bytes);
        std::vector<std::uint64_t> runs;
        for (auto const& run : bench_.runs)
            runs.insert(runs.end(), {run.iova.raw(), run.paddr.raw(), run.size});
        ASSERT_EQ(runs, wanted);
    }
    void split(std::uint64_t iova)
    {
        std::uint64_t const at = smallest().align_down(iova);
        ASSERT_TRUE(bench_.table->split(Iova{at}, bench_.removed));
        model_.split_at(at);
    }
    void join(Request const& request)
    {
        std::uint64_t const last = ~std::uint64_t{0} >> (64 - bench_.shape.width);
        std::uint64_t const end =
            request.size - 1 > last - request.iova ? last : request.iova + (request.size - 1);
        std::uint64_t made = 0;
        for (unsigned level = 1; level < bench_.shape.levels; ++level)
            if ((bench_.shape.page_sizes.bitmap() >> slot_lg2<F>(level) & 1) != 0)
                made += model_.join(request.iova, end, std::uint64_t{1} << slot_lg2<F>(level),
                                    std::uint64_t{1} << slot_lg2<F>(level - 1),
                                    [&](Prot prot) { return joined_dirty(prot); });
        ASSERT_EQ(bench_.table->join({Iova{request.iova}, Iova{end}}, bench_.removed), made);
    }
    void access(std::uint64_t iova)
    {
        auto const leaf = bench_.table->access(Iova{iova}, Access::write);
        auto const wanted = model_.find(iova);
        ASSERT_EQ(leaf.has_value(), wanted != model_.leaves().end());
        if (leaf && allows(leaf->prot, Access::write)) model_.mark(wanted->first);
    }
    void compare_dirty()
    {
        if (!tracks()) return;
        std::vector<std::uint64_t> wanted;
        for (auto const& [iova, leaf] : model_.leaves())
            if (leaf.dirty) wanted.push_back(iova);
        std::vector<std::uint64_t> found;
        auto const note = [&](IovaRange leaf) { found.push_back(leaf.start.raw()); };
        if (requests_.pick(2) == 0) {
            bench_.table->read_dirty(bench_.table->aperture(), note);
        } else {
            bench_.table->read_and_clear_dirty(bench_.table->aperture(), note, bench_.removed);
            model_.clean();
        }
        ASSERT_EQ(found, wanted);
    }

    OneTable<C> bench_;
    LeafModel model_;
    Requests<C> requests_;
};

template <class C>
void agrees(Partial partial, Tracking tracking)
{
    std::uint64_t const seed = test::seed();
    SCOPED_TRACE("PINFOLD_SEED=" + std::to_string(seed));
    std::printf("PINFOLD_SEED=%llu\n", static_cast<unsigned long long>(seed));
    Pair<C> pair{seed, partial, tracking};
    for (int step = 0; step < kSteps; ++step) {
        ASSERT_NO_FATAL_FAILURE(pair.step());
        if (step % 4 == 0) {
            ASSERT_NO_FATAL_FAILURE(pair.compare());
        }
        if (step % 16 == 0) pair.release();
    }
    pair.finish();
}

template <class C>
class EveryFormatRandom : public testing::Test {};
TYPED_TEST_SUITE(EveryFormatRandom, Cases);

TYPED_TEST(EveryFormatRandom, agrees_with_the_model_where_leaves_go_as_a_whole)
{
    agrees<TypeParam>(Partial::takes_all, Tracking::off);
}
TYPED_TEST(EveryFormatRandom, agrees_with_the_model_where_leaves_are_split)
{
    agrees<TypeParam>(Partial::splits, Tracking::off);
}
TYPED_TEST(EveryFormatRandom, agrees_with_the_model_where_a_part_of_a_leaf_is_refused)
{
    agrees<TypeParam>(Partial::refuses, Tracking::off);
}
TYPED_TEST(EveryFormatRandom, agrees_with_the_model_about_what_devices_wrote)
{
    agrees<TypeParam>(Partial::splits, Tracking::on);
}

}  // namespace
}  // namespace pinfold::test
