// Ready-made vectors: calls and their answers, on hosts of 4, 16 and 64 KiB pages over an IOMMU
// with 4 KiB pages. Numbers in the names are those of the vectors.
#include <gtest/gtest.h>

#include <latch>
#include <thread>

#include "base/read_section.hpp"
#include "bench.hpp"

namespace pinfold::type1 {
namespace {

constexpr std::uint64_t kI = 0x10000000;
constexpr std::uint64_t kTop = ~std::uint64_t{0};

class Vectors : public testing::TestWithParam<PageSize> {
protected:
    explicit Vectors(std::uint64_t type = 3, unsigned limit = 65535)
        : bench{{.page = GetParam(),
                 .iommu = {.reserved = {{range_of(0xfee00000, 0xfeefffff),
                                         iommu::ReservedType::msi}}},
                 .dma_entry_limit = limit,
                 .type = type}}
    {
    }
    Vaddr v(std::uint64_t i = 0) const { return buffer.vaddr(i); }
    Bitmap bitmap_at(std::uint64_t& word, std::uint64_t page_size) const
    {
        return {page_size, sizeof word, Vaddr{reinterpret_cast<std::uint64_t>(&word)}};
    }
    Result<> dirty(std::uint64_t iova, std::uint64_t size, std::uint64_t& word)
    {
        return bench.container.dirty_bitmap(bench.process, {Iova{iova}, size, bitmap_at(word, p)});
    }

    std::uint64_t p = GetParam().bytes();
    Bench bench;
    Buffer buffer{16, GetParam()};
};

class VectorsV1 : public Vectors {
protected:
    VectorsV1() : Vectors{1} {}
};
class OneEntry : public Vectors {
protected:
    OneEntry() : Vectors{3, 1} {}
};
class NoEntry : public Vectors {
protected:
    NoEntry() : Vectors{3, 0} {}
};

auto const kHosts = testing::Values(k4K, k16K, k64K);
auto const kName = [](auto const& it) { return std::to_string(it.param.bytes() / 1024) + "K"; };
INSTANTIATE_TEST_SUITE_P(Host, Vectors, kHosts, kName);
INSTANTIATE_TEST_SUITE_P(Host, VectorsV1, kHosts, kName);
INSTANTIATE_TEST_SUITE_P(Host, OneEntry, kHosts, kName);
INSTANTIATE_TEST_SUITE_P(Host, NoEntry, kHosts, kName);

TEST_P(Vectors, v1_to_4_a_map_charges_its_pages_and_any_overlap_is_EEXIST)
{
    EXPECT_TRUE(bench.map(kI, v(), p));
    bench.expect_state({{kI, p, v()}});
    EXPECT_EQ(bench.dma_avail(), 65534U);
    EXPECT_ERRNO(bench.map(kI, v(), p), exist);
    EXPECT_ERRNO(bench.map(kI - p, v(), 2 * p), exist);
    EXPECT_TRUE(bench.map(kI + p, v(), p));
    bench.expect_state({{kI, p, v()}, {kI + p, p, v()}});
}

TEST_P(Vectors, v5_to_8_alignment_comes_before_overlap_and_size_0_is_EINVAL)
{
    EXPECT_TRUE(bench.map(kI, v(), p));
    EXPECT_ERRNO(bench.map(kI + 512, v(), 512), inval);
    EXPECT_ERRNO(bench.map(kI, v() + 512, p), inval);
    EXPECT_ERRNO(bench.map(kI, v(), p + 512), inval);
    EXPECT_ERRNO(bench.map(kI + 512, v(), p), inval);
    EXPECT_ERRNO(bench.map(kI + p, v(), 0), inval);
    EXPECT_EQ(bench.map(kI + p, v(1), 4096).has_value(), p == 4096);
    EXPECT_TRUE(bench.unmap(kI + p, p));
    bench.expect_state({{kI, p, v()}});
}

TEST_P(Vectors, v9_and_11_to_13_a_wrap_beats_alignment_and_flags)
{
    EXPECT_ERRNO(bench.map(kI, v(), p, Prot::none), inval);
    EXPECT_ERRNO(bench.container.map(bench.process, {Iova{kI}, v(), p, Prot::read, true}), inval);
    EXPECT_ERRNO(bench.map(kI, v(), 0 - kI + p), overflow);
    EXPECT_ERRNO(bench.map(kI + 512, v(), 0 - kI), overflow);
    EXPECT_ERRNO(bench.map(kI, v(), 0 - kI + p, Prot::none), overflow);
    EXPECT_ERRNO(bench.map(kI, Vaddr{kTop - 2 * p + 1}, 3 * p), overflow);
    bench.expect_state({});
}

TEST_P(Vectors, v14_to_16_a_new_vaddr_needs_an_invalidated_mapping)
{
    EXPECT_ERRNO(bench.update_vaddr(kI, v(), p), noent);
    EXPECT_TRUE(bench.map(kI, v(), p));
    EXPECT_ERRNO(bench.update_vaddr(kI, v(), p), inval);

    EXPECT_EQ(bench.invalidate_vaddr(kI, p), p);
    EXPECT_ERRNO(bench.update_vaddr(kI, v(), 2 * p), inval);
    EXPECT_TRUE(bench.update_vaddr(kI, v(5), p));
    bench.expect_state({{kI, p, v()}});  // what is pinned stays pinned

    EXPECT_EQ(bench.invalidate_vaddr(kI, p), p);
    EXPECT_ERRNO(bench.invalidate_vaddr(kI, p), inval);
    EXPECT_TRUE(bench.update_vaddr(kI, v(), p));
}

TEST_P(Vectors, v17_and_18_an_unmap_clears_the_mark_and_a_refused_invalidation_leaves_none)
{
    EXPECT_TRUE(bench.map(kI, v(), p));
    EXPECT_EQ(bench.invalidate_vaddr(kI, p), p);
    EXPECT_EQ(bench.unmap(kI, p), p);

    EXPECT_TRUE(bench.map(kI, v(), p));
    EXPECT_TRUE(bench.map(kI + p, v(1), p));
    EXPECT_EQ(bench.invalidate_vaddr(kI + p, p), p);
    EXPECT_ERRNO(bench.invalidate_vaddr(kI, 2 * p), inval);
    EXPECT_ERRNO(bench.update_vaddr(kI, v(), p), inval);
    EXPECT_TRUE(bench.update_vaddr(kI + p, v(1), p));
}

TEST_P(Vectors, v19_a_hole_is_EFAULT_and_leaves_nothing)
{
    buffer.protect(5, PROT_NONE);
    EXPECT_ERRNO(bench.map(kI, v(), 8 * p), fault);
    bench.expect_state({});
    EXPECT_TRUE(bench.map(kI, v(), 4 * p));
    bench.expect_state({{kI, 4 * p, v()}});
}

TEST_P(Vectors, v20_and_21_read_only_memory_takes_a_read_map_only)
{
    buffer.protect(2, PROT_READ);
    EXPECT_TRUE(bench.map(kI, v(2), p, Prot::read));
    EXPECT_ERRNO(bench.map(kI + p, v(2), p), fault);
    EXPECT_TRUE(bench.map(kI + p, v(3), p, Prot::write));
    bench.expect_state({{kI, p, v(2), Prot::read}, {kI + p, p, v(3), Prot::write}});
}

TEST_P(Vectors, v22_the_limit_is_rounded_down_to_pages_and_may_be_reached)
{
    bench.source.limit = 3 * p + 1;
    EXPECT_TRUE(bench.map(kI, v(), 3 * p));
    EXPECT_ERRNO(bench.map(kI + 3 * p, v(), p), nomem);
    EXPECT_EQ(bench.unmap_all(), 3 * p);
    EXPECT_ERRNO(bench.map(kI, v(), 4 * p), nomem);
    bench.expect_state({});
    EXPECT_EQ(bench.process.locked_memory().needed_bytes(), 4 * p);
}

TEST_P(Vectors, v22_CAP_IPC_LOCK_lifts_the_limit_and_still_counts)
{
    bench.source.limit = p;
    bench.source.cap = host::LockCap::yes;
    EXPECT_TRUE(bench.map(kI, v(), 4 * p));
    bench.expect_state({{kI, 4 * p, v()}});
}

TEST_P(Vectors, v23_and_24_a_page_mapped_twice_is_charged_twice_and_a_READ_map_is_charged)
{
    bench.source.limit = 2 * p;
    EXPECT_TRUE(bench.map(kI, v(), p));
    EXPECT_TRUE(bench.map(kI + p, v(), p));
    EXPECT_ERRNO(bench.map(kI + 2 * p, v(), p), nomem);
    bench.expect_state({{kI, p, v()}, {kI + p, p, v()}});
    EXPECT_EQ(bench.unmap_all(), 2 * p);
    bench.source.limit = 0;
    EXPECT_ERRNO(bench.map(kI, v(), p, Prot::read), nomem);
}

TEST_P(Vectors, v25_the_first_error_in_address_order_wins)
{
    bench.source.limit = p;
    EXPECT_ERRNO(bench.map(kI, v(6), 2 * p), nomem);
    buffer.protect(1, PROT_NONE);
    EXPECT_ERRNO(bench.map(kI, v(), 2 * p), fault);
    EXPECT_ERRNO(bench.map(kI, v(6), 2 * p), nomem);
    buffer.protect(8, PROT_NONE);
    EXPECT_ERRNO(bench.map(kI, v(6), 3 * p), nomem);
    bench.expect_state({});
}

TEST_P(OneEntry, v26_a_full_table_is_ENOSPC_after_EEXIST)
{
    EXPECT_TRUE(bench.map(kI, v(), p));
    EXPECT_ERRNO(bench.map(kI + p, v(), p), nospc);
    EXPECT_ERRNO(bench.map(kI, v(), p), exist);
    EXPECT_EQ(bench.unmap(kI, p), p);
    EXPECT_TRUE(bench.map(kI + p, v(), p));
}

TEST_P(NoEntry, v27_a_limit_of_0_is_ENOSPC_before_the_range_is_looked_at)
{
    EXPECT_ERRNO(bench.map(kI, v(), p), nospc);
    EXPECT_ERRNO(bench.map(0xfee00000, v(), p), nospc);
    EXPECT_ERRNO(bench.map(std::uint64_t{1} << 50, v(), p), nospc);
}

TEST_P(Vectors, v28_a_map_must_lie_inside_one_IOVA_range)
{
    EXPECT_ERRNO(bench.map(0xfee00000, v(), p), inval);
    EXPECT_ERRNO(bench.map(0xfee00000 - p, v(), 2 * p), inval);
    EXPECT_ERRNO(bench.map(0xfeefffff + 1 - p, v(), 2 * p), inval);
    EXPECT_ERRNO(bench.map(std::uint64_t{1} << 39, v(), p), inval);
    EXPECT_ERRNO(bench.map((std::uint64_t{1} << 39) - p, v(), 2 * p), inval);
    std::vector<Expected> const fine{{0, p, v()},
                                     {0xfee00000 - p, p, v()},
                                     {0xfef00000, p, v()},
                                     {(std::uint64_t{1} << 39) - p, p, v()}};
    for (Expected const& one : fine) EXPECT_TRUE(bench.map(one.iova, one.vaddr, one.size));
    bench.expect_state(fine);
}

TEST_P(Vectors, v29_an_unmap_that_cuts_a_mapping_is_EINVAL_and_removes_nothing)
{
    EXPECT_TRUE(bench.map(kI, v(), 2 * p));
    EXPECT_ERRNO(bench.unmap(kI, p), inval);
    EXPECT_ERRNO(bench.unmap(kI + p, p), inval);
    EXPECT_ERRNO(bench.unmap(kI - p, 2 * p), inval);
    bench.expect_state({{kI, 2 * p, v()}});
    EXPECT_EQ(bench.unmap(kI - p, 4 * p), 2 * p);
    bench.expect_state({});
}

TEST_P(VectorsV1, v30_an_unmap_takes_whole_mappings_and_stops_at_one_that_begins_below)
{
    auto const fresh = [&] {
        EXPECT_TRUE(bench.unmap_all());
        EXPECT_TRUE(bench.map(kI, v(), 2 * p));
    };
    fresh();
    EXPECT_EQ(bench.unmap(kI, p), 2 * p);
    fresh();
    EXPECT_EQ(bench.unmap(kI + p, p), 0U);
    bench.expect_state({{kI, 2 * p, v()}});
    EXPECT_EQ(bench.unmap(kI - p, 2 * p), 2 * p);
    fresh();
    EXPECT_EQ(bench.unmap(kI - p, 4 * p), 2 * p);
    bench.expect_state({});
}

// Rule U-7.
TEST_P(VectorsV1, an_unmap_that_begins_inside_one_mapping_does_not_reach_the_next)
{
    EXPECT_TRUE(bench.map(0, v(), 2 * p));
    EXPECT_TRUE(bench.map(2 * p, v(2), 2 * p));
    EXPECT_EQ(bench.unmap(p, 3 * p), 0U);
    bench.expect_state({{0, 2 * p, v()}, {2 * p, 2 * p, v(2)}});
    EXPECT_EQ(bench.unmap(0, 3 * p), 4 * p);
    bench.expect_state({});
}

TEST_P(Vectors, v31_to_34_holes_are_fine_and_nothing_else_about_the_range_is)
{
    EXPECT_TRUE(bench.map(kI, v(), p));
    EXPECT_TRUE(bench.map(kI + 2 * p, v(2), p));
    EXPECT_EQ(bench.unmap(kI, 3 * p), 2 * p);
    EXPECT_EQ(bench.unmap(kI, p), 0U);
    EXPECT_ERRNO(bench.unmap(kI, 0), inval);
    EXPECT_ERRNO(bench.unmap(kI + 512, p), inval);
    EXPECT_ERRNO(bench.unmap(kI, p + 512), inval);
    EXPECT_ERRNO(bench.unmap(kI, 0 - kI + p), overflow);
    EXPECT_EQ(bench.unmap(kI, 0 - kI), 0U);  // up to the very top
    bench.expect_state({});
}

TEST_P(Vectors, v35_and_36_ALL_takes_everything_and_no_range)
{
    EXPECT_EQ(bench.unmap_all(), 0U);
    for (std::uint64_t i = 0; i < 3; ++i) EXPECT_TRUE(bench.map(kI + 3 * i * p, v(i), (i + 1) * p));
    EXPECT_ERRNO(
        bench.container.unmap(bench.process, {Iova{0}, p, /*all=*/true, false, std::nullopt}),
        inval);
    EXPECT_ERRNO(
        bench.container.unmap(bench.process, {Iova{p}, 0, /*all=*/true, false, std::nullopt}),
        inval);
    EXPECT_EQ(bench.unmap_all(), 6 * p);
    bench.expect_state({});
}

TEST_P(Vectors, an_unmap_of_many_mappings_waits_for_devices_once)
{
    // A thread that has been a reader is waited for until it ends.
    std::latch known{1};
    std::latch done{1};
    std::jthread const device{[&] {
        {
            ReadSection const section;
        }
        known.count_down();
        done.wait();
    }};
    known.wait();
    auto const waits = [] { return readers::epoch.load() / readers::kEpoch; };
    for (std::uint64_t i = 0; i < 20; ++i) EXPECT_TRUE(bench.map(kI + 2 * i * p, v(i % 3), p));
    auto const before = waits();
    EXPECT_EQ(bench.unmap_all(), 20 * p);
    EXPECT_EQ(waits(), before + 1);
    bench.expect_state({});
    done.count_down();
}

TEST_P(VectorsV1, v35_ALL_works_in_version_1_too)
{
    EXPECT_TRUE(bench.map(kI, v(), 2 * p));
    EXPECT_EQ(bench.unmap_all(), 2 * p);
}

TEST_P(Vectors, v38_and_40_a_dirty_bitmap_needs_tracking_and_the_right_form)
{
    std::uint64_t word = 0;
    EXPECT_TRUE(bench.map(kI, v(), p));
    EXPECT_ERRNO(
        bench.container.unmap(bench.process, {Iova{kI}, p, false, false, bitmap_at(word, p)}),
        inval);
    EXPECT_ERRNO(dirty(kI, p, word), inval);
    EXPECT_TRUE(bench.container.start_dirty_tracking());
    auto const query = [&](std::uint64_t iova, std::uint64_t size, Bitmap bitmap) {
        return bench.container.dirty_bitmap(bench.process, {Iova{iova}, size, bitmap});
    };
    Bitmap const good = bitmap_at(word, p);
    EXPECT_ERRNO(query(kI, p, {2 * p, 8, good.vaddr}), inval);
    EXPECT_ERRNO(query(kI, p, {0, 8, good.vaddr}), inval);
    EXPECT_ERRNO(query(kI, 0, good), inval);
    EXPECT_ERRNO(query(kI, p, {p, 7, good.vaddr}), inval);
    EXPECT_ERRNO(query(kI, p, {p, 0, good.vaddr}), inval);
    EXPECT_ERRNO(query(kI, p, {p, kMostBitmapBytes + 1, good.vaddr}), inval);
    EXPECT_ERRNO(query(kI, 65 * p, good), inval);
    EXPECT_ERRNO(query(kI, p, {p, 8, Vaddr{kTop - 6}}), inval);
    EXPECT_ERRNO(query(kI, p, {p, 8, Vaddr{std::uint64_t{1} << 47}}), inval);
    EXPECT_ERRNO(query(kI + 512, p, good), inval);
    EXPECT_ERRNO(query(kI, p + 512, good), inval);
    EXPECT_ERRNO(query(kI, 0 - kI + p, good), overflow);
    EXPECT_ERRNO(query(kI, p, {p, 8, Vaddr{8}}), fault);
    EXPECT_TRUE(query(kI, p, good));
    EXPECT_EQ(word, 1U);
}

TEST_P(Vectors, v41_the_shift_leaves_stale_bits_that_the_next_query_shows)
{
    EXPECT_TRUE(bench.container.start_dirty_tracking());
    EXPECT_TRUE(bench.map(kI, v(), p));
    EXPECT_TRUE(bench.map(kI + 2 * p, v(), p));
    for (std::uint64_t const want : {0x5U, 0x15U, 0x55U, 0x155U}) {
        std::uint64_t word = 0;
        EXPECT_TRUE(dirty(kI, 4 * p, word));
        EXPECT_EQ(word, want);
    }
    EXPECT_TRUE(bench.container.stop_dirty_tracking());
    EXPECT_TRUE(bench.container.start_dirty_tracking());
    std::uint64_t word = 0;
    EXPECT_TRUE(dirty(kI, 4 * p, word));
    EXPECT_EQ(word, 0x5U);
}

TEST_P(Vectors, v42_and_43_an_unshifted_mapping_overwrites_its_words_and_a_shifted_one_ORs)
{
    EXPECT_TRUE(bench.container.start_dirty_tracking());
    EXPECT_TRUE(bench.map(kI + 2 * p, v(), p));
    EXPECT_TRUE(bench.map(kI, v(), p));
    std::uint64_t word = kTop;
    EXPECT_TRUE(dirty(kI, 4 * p, word));
    EXPECT_EQ(word, 0x5U);

    EXPECT_EQ(bench.unmap_all(), 2 * p);
    EXPECT_TRUE(bench.map(kI + p, v(), p));
    word = 0xf0;
    EXPECT_TRUE(dirty(kI, 4 * p, word));
    EXPECT_EQ(word, 0xf2U);
    word = 0;
    EXPECT_TRUE(dirty(kI, 4 * p, word));
    EXPECT_EQ(word, 0x1e6U);
}

TEST_P(Vectors, v44_to_46_queries_cut_nothing_and_an_unmap_can_carry_one)
{
    EXPECT_TRUE(bench.container.start_dirty_tracking());
    EXPECT_TRUE(bench.container.start_dirty_tracking());
    EXPECT_TRUE(bench.map(kI, v(), 2 * p, Prot::read));
    std::uint64_t word = 0;
    EXPECT_ERRNO(dirty(kI, p, word), inval);
    EXPECT_EQ(
        bench.container.unmap(bench.process, {Iova{kI}, 2 * p, false, false, bitmap_at(word, p)}),
        2 * p);
    EXPECT_EQ(word, 0x3U);
    bench.expect_state({});
    EXPECT_TRUE(bench.container.stop_dirty_tracking());
    EXPECT_TRUE(bench.container.stop_dirty_tracking());
}

// Rule U-9: the walk has removed the first mapping when the second one's bits meet the end of
// memory.
TEST_P(Vectors, a_bitmap_that_faults_half_way_leaves_the_earlier_mappings_removed)
{
    EXPECT_TRUE(bench.container.start_dirty_tracking());
    EXPECT_TRUE(bench.map(kI, v(), p));
    EXPECT_TRUE(bench.map(kI + 64 * p, v(), p));
    Buffer const user{2, k4K};
    user.protect(1, PROT_NONE);
    Bitmap const bitmap{p, 16, user.vaddr(1) - 8};
    EXPECT_ERRNO(bench.container.unmap(bench.process, {Iova{kI}, 65 * p, false, false, bitmap}),
                 fault);
    bench.expect_state({{kI + 64 * p, p, v()}});
}

}  // namespace
}  // namespace pinfold::type1
