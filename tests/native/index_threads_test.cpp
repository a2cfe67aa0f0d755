// Readers beside a writer: what they see is old or new, and never anything else.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "base/read_section.hpp"
#include "native/model.hpp"

namespace pinfold::native {
namespace {

constexpr std::uint64_t k2M_ = 512;  // in pages

class Stop {
public:
    bool now() const { return std::chrono::steady_clock::now() > end_; }

private:
    std::chrono::steady_clock::time_point end_ =
        std::chrono::steady_clock::now() + std::chrono::seconds{2};
};

// The paddr tells which mapping it is of: the one with this number, whose pages follow.
constexpr Paddr numbered(std::uint64_t number) { return Paddr{number << 32}; }

// Each round maps some of a block and unmaps it again, so that nodes of all kinds come and go.
// A mapping's number is dead when its unmap has waited for the readers.
TEST(IndexThreads, a_reader_never_uses_what_an_unmap_has_waited_for)
{
    auto const index = Index::create().value();
    std::uint64_t const start = 3 * k2M_ - 4;
    std::atomic<std::uint64_t> last_dead{0};
    std::atomic<std::uint64_t> wrong{0};
    std::atomic<std::uint64_t> found{0};
    std::atomic<bool> stop{false};
    auto const reader = [&] {
        for (std::uint64_t page = 0; !stop; page = (page + 1) % 16) {
            ReadSection const section;
            std::uint64_t const dead = last_dead;
            Iova const iova{(start + page) * kPageBytes};
            Entry const entry = index->entry(iova);
            if (entry.empty()) continue;
            ++found;
            std::uint64_t const number = entry.paddr(iova).raw() >> 32;
            if (number <= dead || number <= last_dead) ++wrong;
            auto const mapping = index->find(iova);
            if (mapping && (!mapping->iova.contains(iova) || mapping->paddr().raw() >> 32 <= dead))
                ++wrong;
        }
    };
    std::thread one{reader};
    std::thread other{reader};
    Stop const deadline;
    for (std::uint64_t number = 1; number < 200'000 && !deadline.now(); number += 8) {
        for (std::uint64_t part = 0; part < 8; ++part) {
            IovaRange const here = pages(start + 2 * part, start + 2 * part + number / 8 % 2);
            ASSERT_TRUE(
                index->map(here, Entry::leaf(here.start, numbered(number + part), Prot::read)));
        }
        for (std::uint64_t part = 0; part < 8; ++part)
            index->remove(*index->held_at(Iova{(start + 2 * part) * kPageBytes}));
        wait_for_readers();
        last_dead = number + 7;
        index->release();
    }
    stop = true;
    one.join();
    other.join();
    EXPECT_EQ(wrong, 0U);
    EXPECT_GT(found, 0U);
}

// A neighbour that is cut, replaced by larger nodes and joined by others stays where it is.
TEST(IndexThreads, a_mapping_that_stays_is_found_while_its_block_is_rebuilt)
{
    auto const index = Index::create().value();
    IovaRange const stays = pages(k2M_ + 100, k2M_ + 199);
    ASSERT_TRUE(index->map(stays, Entry::leaf(stays.start, numbered(1), Prot::read)));
    std::atomic<std::uint64_t> wrong{0};
    std::atomic<bool> stop{false};
    std::thread reader{[&] {
        for (std::uint64_t page = 0; !stop; page = (page + 1) % 100) {
            ReadSection const section;
            Iova const iova = stays.start + page * kPageBytes;
            if (index->entry(iova).paddr(iova) != numbered(1) + page * kPageBytes) ++wrong;
            auto const mapping = index->find(iova);
            if (!mapping || mapping->entry.paddr(iova) != numbered(1) + page * kPageBytes) ++wrong;
        }
    }};
    Stop const deadline;
    for (std::uint64_t round = 0; round < 20'000 && !deadline.now(); ++round) {
        for (std::uint64_t part = 0; part < 6; ++part) {
            std::uint64_t const page = k2M_ + (part < 3 ? part : 200 + part * 400);
            IovaRange const here = pages(page, page);
            ASSERT_TRUE(index->map(here, Entry::leaf(here.start, numbered(2), Prot::read)));
        }
        ASSERT_TRUE(index->cut(stays.start + round % 100 * kPageBytes));
        for (std::uint64_t part = 0; part < 6; ++part) {
            std::uint64_t const page = k2M_ + (part < 3 ? part : 200 + part * 400);
            index->remove(*index->held_at(Iova{page * kPageBytes}));
        }
        wait_for_readers();
        index->release();
    }
    stop = true;
    reader.join();
    EXPECT_EQ(wrong, 0U);
}

}  // namespace
}  // namespace pinfold::native
