#include "pagetable/words.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "pagetable/arm_lpae.hpp"
#include "pagetable/radix.hpp"

namespace pinfold::pagetable {
namespace {

template <class W>
class WordsOf : public testing::Test {};
using Sizes = testing::Types<std::uint32_t, std::uint64_t>;
TYPED_TEST_SUITE(WordsOf, Sizes);

// Wherever it begins and ends, in whatever steps the processor stores and compares.
TYPED_TEST(WordsOf, a_fill_writes_its_slots_and_no_others_and_is_recognised_to_the_last_word)
{
    using W = TypeParam;
    constexpr W kOther = 0x5a5a'5a5a;
    constexpr W kStep = 0x1000;
    constexpr std::size_t kSlots = 700;
    for (std::size_t start = 0; start < 9; ++start)
        for (std::size_t const count :
             {1UL, 2UL, 7UL, 16UL, 63UL, 127UL, 128UL, 256UL, 512UL, 677UL}) {
            std::vector<W> slots(kSlots, kOther);
            W const first = static_cast<W>(0x8000'0003 - start);
            Words::fill(slots.data() + start, count, first, kStep);
            for (std::size_t i = 0; i < kSlots; ++i) {
                bool const inside = i >= start && i < start + count;
                W const expected = inside ? static_cast<W>(first + (i - start) * kStep) : kOther;
                ASSERT_EQ(slots[i], expected) << start << ' ' << count << ' ' << i;
            }
            ASSERT_TRUE(Words::holds(slots.data() + start, count, first, kStep));
            for (std::size_t const wrong : {std::size_t{0}, count / 2, count - 1}) {
                slots[start + wrong] ^= 0x8000'0000;
                ASSERT_FALSE(Words::holds(slots.data() + start, count, first, kStep));
                slots[start + wrong] ^= 0x8000'0000;
            }
            Words::fill(slots.data() + start, count, W{0}, W{0});
            ASSERT_TRUE(Words::all_zero(slots.data() + start, count));
            slots[start + count - 1] = 1;
            ASSERT_FALSE(Words::all_zero(slots.data() + start, count));
        }
}

// With a granule of 64 KiB, bits 51:48 of an address stand apart from the others: words do not grow
// by the same step there, and one that does leads somewhere else.
TEST(RowsOfLeaves, end_where_an_address_outgrows_its_field)
{
    using F = ArmLpae<16>;
    constexpr std::uint64_t kPage = 0x1'0000;
    constexpr std::uint64_t kEdge = std::uint64_t{1} << 48;
    constexpr std::uint64_t kLeaves = 512;
    auto const memory =
        TableMemory::create({.page = PageSize::lg2_of(16), .base = Paddr{0x1000'0000}}).value();
    auto const table = RadixTable<F>::create(memory, {3, 48, PageSizes{kPage}}).value();
    std::uint64_t mapped = 0;
    Removed removed;
    std::vector<pagetable::Run> runs;
    auto const unmap = [&] {
        runs.clear();
        std::uint64_t const bytes =
            table->unmap(Iova{0}, kLeaves * kPage, removed,
                         [&](pagetable::Run const& run) { runs.push_back(run); });
        EXPECT_EQ(bytes, kLeaves * kPage);
    };
    Paddr const before{kEdge - kLeaves / 2 * kPage};
    ASSERT_TRUE(
        table->map(Iova{0}, before, kLeaves * kPage, {.prot = Prot::read}, mapped, removed));
    unmap();
    ASSERT_EQ(runs.size(), 1);
    EXPECT_EQ(runs[0].paddr, before);
    EXPECT_EQ(runs[0].size, kLeaves * kPage);

    // As if somebody had carried over into the bit above the field.
    ASSERT_TRUE(
        table->map(Iova{0}, before, kLeaves * kPage, {.prot = Prot::read}, mapped, removed));
    Paddr slots = table->root();
    for (int level = 2; level > 0; --level)
        slots = F::table_paddr(*static_cast<Word const*>(memory->words(slots)));
    auto* const words = static_cast<Word*>(memory->words(slots));
    for (std::uint64_t i = kLeaves / 2; i < kLeaves; ++i) words[i] = words[0] + i * kPage;
    unmap();
    ASSERT_EQ(runs.size(), 2);
    EXPECT_EQ(runs[0].size, kLeaves / 2 * kPage);
    EXPECT_EQ(runs[1].paddr, Paddr{0});
}

}  // namespace
}  // namespace pinfold::pagetable
