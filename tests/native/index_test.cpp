#include "native/index.hpp"

#include <gtest/gtest.h>

#include "native/model.hpp"

namespace pinfold::native {
namespace {

constexpr std::uint64_t k2M_ = 0x20'0000;
constexpr std::uint64_t k1G_ = 0x4000'0000;
constexpr std::uint64_t kWindow = std::uint64_t{1} << 48;
constexpr std::uint64_t kTop = ~std::uint64_t{0};

constexpr IovaRange range(std::uint64_t start, std::uint64_t last)
{
    return {Iova{start}, Iova{last}};
}

class IndexTest : public testing::Test {
protected:
    Result<> map(IovaRange iova, Paddr paddr, Prot prot = Prot::read)
    {
        return index.map(iova, Entry::leaf(iova.start, paddr, prot));
    }
    std::uint64_t unmap(IovaRange iova)
    {
        gone.clear();
        std::uint64_t const bytes =
            index.unmap(iova, [&](Mapping const& mapping) { gone.push_back(mapping); });
        index.release();
        return bytes;
    }
    std::unique_ptr<Index> const made = Index::create().value();
    Index& index = *made;
    std::vector<Mapping> gone;
};

TEST_F(IndexTest, a_mapping_is_found_by_each_of_its_addresses_and_by_no_other)
{
    ASSERT_TRUE(map(range(0x1000, 0x3fff), Paddr{0x9000}));
    EXPECT_TRUE(index.entry(Iova{0xfff}).empty());
    EXPECT_TRUE(index.entry(Iova{0x4000}).empty());
    EXPECT_FALSE(index.find(Iova{0x4000}));
    for (std::uint64_t const iova : {0x1000ULL, 0x2345ULL, 0x3fffULL}) {
        auto const found = index.find(Iova{iova});
        ASSERT_TRUE(found);
        EXPECT_EQ(found->iova, range(0x1000, 0x3fff));
        EXPECT_EQ(found->paddr(), Paddr{0x9000});
        EXPECT_EQ(found->prot(), Prot::read);
        EXPECT_EQ(index.entry(Iova{iova}).paddr(Iova{iova}), Paddr{0x8000 + iova});
    }
}

TEST_F(IndexTest, a_visit_ends_when_the_visitor_says_so)
{
    ASSERT_TRUE(map(range(0x1000, 0x1fff), Paddr{0x9000}));
    ASSERT_TRUE(map(range(0x2000, 0x2fff), Paddr{0x5000}));
    for (unsigned const enough : {1U, 2U, 3U}) {
        unsigned shown = 0;
        index.visit(range(0x1000, 0x8fff),
                    [&](Entry, std::uint64_t, std::uint64_t) { return ++shown < enough; });
        EXPECT_EQ(shown, enough);
    }
}

TEST_F(IndexTest, an_overlap_from_any_side_is_EADDRINUSE)
{
    ASSERT_TRUE(map(range(0x1000, 0x3fff), Paddr{0x9000}));
    for (auto const other :
         {range(0x3000, 0x4fff), range(0, 0x1fff), range(0x2000, 0x2fff), range(0, k2M_ - 1),
          range(0, k1G_ - 1), range(0, kWindow - 1), range(0, kTop), range(0x1000, 0x3fff)})
        EXPECT_EQ(map(other, Paddr{0}), fail(Errno::addrinuse));
    EXPECT_TRUE(map(range(0x4000, 0x4fff), Paddr{0}));
    EXPECT_TRUE(map(range(0, 0xfff), Paddr{0}));
}

TEST_F(IndexTest, mappings_go_as_wholes_up_to_the_first_hole_and_are_shown)
{
    ASSERT_TRUE(map(range(0x1000, 0x1fff), Paddr{0x7000}));
    ASSERT_TRUE(map(range(0x2000, 0x4fff), Paddr{0x20000}));
    ASSERT_TRUE(map(range(0x6000, 0x6fff), Paddr{0}));
    EXPECT_EQ(unmap(range(0x3000, 0x3fff)), 0U);
    EXPECT_EQ(unmap(range(0x5000, 0x7fff)), 0U);
    EXPECT_TRUE(gone.empty());
    EXPECT_EQ(unmap(range(0x1000, 0x2fff)), 0x4000U);  // the second reaches beyond
    ASSERT_EQ(gone.size(), 2U);
    EXPECT_EQ(gone[0].iova, range(0x1000, 0x1fff));
    EXPECT_EQ(gone[1].iova, range(0x2000, 0x4fff));
    EXPECT_EQ(gone[1].paddr(), Paddr{0x20000});
    EXPECT_EQ(unmap(range(0x6000, 0x8fff)), 0x1000U);
    EXPECT_EQ(index.sizes(), (std::array<std::uint64_t, 64>{}));
    EXPECT_EQ(index.mappings(), 0U);
}

TEST_F(IndexTest, the_last_byte_of_the_address_space_belongs_to_it)
{
    ASSERT_TRUE(map(range(kTop - 0xfff, kTop), Paddr{0x5000}, Prot::write));
    EXPECT_EQ(index.find(Iova{kTop})->paddr(), Paddr{0x5000});
    EXPECT_EQ(map(range(kTop - 0xfff, kTop), Paddr{0}), fail(Errno::addrinuse));
    EXPECT_EQ(index.first_in(range(0, kTop))->mapping.iova, range(kTop - 0xfff, kTop));
    EXPECT_EQ(unmap(range(kTop - 0xfff, kTop)), 0x1000U);
    EXPECT_FALSE(index.first_in(range(0, kTop)));
}

TEST_F(IndexTest, one_mapping_may_be_all_of_the_address_space)
{
    ASSERT_TRUE(map(range(0, kTop), Paddr{0x5000}));
    for (std::uint64_t const iova : {std::uint64_t{0}, kWindow - 1, kWindow, kTop / 2, kTop})
        EXPECT_EQ(index.find(Iova{iova})->iova, range(0, kTop));
    EXPECT_EQ(index.sizes()[63], 1U);
    EXPECT_EQ(map(range(0x1000, 0x1fff), Paddr{0}), fail(Errno::addrinuse));
    EXPECT_EQ(unmap(range(0, kTop)), 0U) << "0 stands for 2^64";
    EXPECT_EQ(gone.size(), 1U);
    EXPECT_TRUE(index.entry(Iova{kWindow * 5}).empty());
    EXPECT_TRUE(index.entry(Iova{0}).empty());
}

TEST_F(IndexTest, a_narrow_index_knows_one_window)
{
    auto const narrow = Index::create(48).value();
    IovaRange const last = range(kWindow - 0x1000, kWindow - 1);
    ASSERT_TRUE(narrow->map(last, Entry::leaf(last.start, Paddr{0}, Prot::read)));
    EXPECT_TRUE(narrow->find(last.last));
    EXPECT_TRUE(narrow->entry(Iova{kWindow}).empty());
    EXPECT_FALSE(narrow->find(Iova{kTop}));
}

TEST_F(IndexTest, mappings_are_counted_by_size_rounded_down)
{
    ASSERT_TRUE(map(range(0x1000, 0x1fff), Paddr{0}));
    ASSERT_TRUE(map(range(0x2000, 0x4fff), Paddr{0}));
    EXPECT_EQ(index.sizes()[12], 1U);
    EXPECT_EQ(index.sizes()[13], 1U);
}

TEST_F(IndexTest, a_mapping_without_memory_is_there_and_grants_no_access)
{
    ASSERT_TRUE(index.map(range(0, k2M_ - 1), Entry::without_memory(Prot::read_write)));
    EXPECT_FALSE(index.entry(Iova{0x1000}).empty());
    EXPECT_FALSE(index.entry(Iova{0x1000}).allows(Access::read));
    EXPECT_EQ(map(range(0x1000, 0x1fff), Paddr{0}), fail(Errno::addrinuse));
}

TEST_F(IndexTest, a_tag_goes_with_its_mapping_and_both_halves_of_a_cut_have_it)
{
    IovaRange const whole = range(0, 0x3fff);
    ASSERT_TRUE(index.insert(whole, Entry::leaf(whole.start, Paddr{0x8000}, Prot::read), {1, 2}));
    ASSERT_TRUE(index.cut(Iova{0x2000}));
    EXPECT_EQ(index.tag(*index.held_at(Iova{0x1fff})), (Index::Tag{1, 2}));
    EXPECT_EQ(index.tag(*index.held_at(Iova{0x2000})), (Index::Tag{1, 2}));
    EXPECT_EQ(index.held_at(Iova{0x2000})->mapping.paddr(), Paddr{0xa000});
    EXPECT_EQ(index.mappings(), 2U);
}

// What is taken is a few lines for a mapping, whatever its size and wherever its ends are.
TEST_F(IndexTest, a_mapping_takes_memory_by_its_ends_and_not_by_its_size)
{
    std::uint64_t const before = index.bytes_in_use();
    ASSERT_TRUE(map(range(0x1000, 100 * k1G_ + 0x4fff), Paddr{0}));
    EXPECT_LE(index.bytes_in_use() - before, 3 * 64U + 512 * 12);
    EXPECT_NE(unmap(range(0x1000, 0x1fff)), 0U);
    EXPECT_EQ(index.bytes_in_use(), before);
}

// Beside a record, no memory is taken for one mapping in each 2 MiB, unless its distance is large.
TEST_F(IndexTest, a_mapping_alone_in_its_2_MiB_takes_no_line)
{
    for (std::uint64_t block = 0; block < 8; ++block)
        ASSERT_TRUE(map(range(block * k2M_, block * k2M_ + 0xfff), Paddr{block << 40}));
    std::uint64_t const before = index.bytes_in_use();
    IovaRange const alone = range(9 * k2M_ + 0x3000, 9 * k2M_ + 0x7fff);
    ASSERT_TRUE(map(alone, Paddr{0x7fff'ffff'f000}, Prot::write));
    EXPECT_EQ(index.bytes_in_use() - before, 64U);
    EXPECT_EQ(index.find(alone.last)->iova, alone);
    EXPECT_EQ(index.find(alone.last)->paddr(), Paddr{0x7fff'ffff'f000});
    EXPECT_EQ(index.entry(alone.last).paddr(alone.last), Paddr{0x8000'0000'3fff});
    EXPECT_TRUE(index.entry(Iova{alone.start.raw() - 1}).empty());
    EXPECT_TRUE(index.entry(Iova{alone.last.raw() + 1}).empty());
    ASSERT_TRUE(map(range(10 * k2M_, 10 * k2M_ + 0xfff), Paddr{std::uint64_t{1} << 60}));
    EXPECT_EQ(index.bytes_in_use() - before, 3 * 64U);
    EXPECT_EQ(index.find(Iova{10 * k2M_})->paddr(), Paddr{std::uint64_t{1} << 60});
}

// Nor is any taken for one page more in a table of pages, whatever its caller's tag of 32 bits.
TEST_F(IndexTest, a_page_among_others_takes_no_memory_and_keeps_its_tag)
{
    for (std::uint64_t page = 0; page < 10; page += 2)
        ASSERT_TRUE(map(pages(page, page), Paddr{page << 32}));
    index.release();
    std::uint64_t const before = index.bytes_in_use();
    IovaRange const page = pages(100, 100);
    Entry const leaf = Entry::leaf(page.start, Paddr{0x5000}, Prot::write);
    ASSERT_TRUE(index.map_pages(page, leaf, {0, 0xffff'ffff}));
    EXPECT_EQ(index.bytes_in_use(), before);
    EXPECT_EQ(index.find(page.last)->iova, page);
    EXPECT_EQ(index.find(page.last)->entry.raw(), leaf.raw());
    EXPECT_EQ(index.tag(*index.held_at(page.start)), (Index::Tag{0, 0xffff'ffff}));
    EXPECT_EQ(index.remove_pages(page)->tag, (Index::Tag{0, 0xffff'ffff}));

    for (Index::Tag const large : {Index::Tag{1, 0}, Index::Tag{0, 1ULL << 32}}) {
        ASSERT_TRUE(index.map_pages(page, leaf, large));
        EXPECT_EQ(index.bytes_in_use(), before + 64);
        EXPECT_EQ(index.remove_pages(page)->tag, large);
        index.release();
    }
}

TEST_F(IndexTest, memory_of_a_peak_is_given_back_when_nothing_is_mapped)
{
    ASSERT_TRUE(map(range(0, 0xfff), Paddr{0}));
    std::uint64_t const held = index.bytes_held();
    for (std::uint64_t page = 2; page < 200'000; page += 2)
        ASSERT_TRUE(map(pages(page, page + 1), Paddr{0}));
    EXPECT_GT(index.bytes_held(), held + (8U << 20));
    while (auto const each = index.first_in(range(0, kTop))) index.remove(*each);
    index.release();
    EXPECT_LE(index.bytes_held(), held + (4U << 20));
    EXPECT_EQ(index.mappings(), 0U);
    for (std::uint64_t page = 0; page < 100'000; page += 2)
        ASSERT_TRUE(map(pages(page, page), Paddr{page << 20}));
    EXPECT_EQ(index.find(Iova{200 * kPageBytes})->paddr(), Paddr{200 << 20});
}

}  // namespace
}  // namespace pinfold::native
