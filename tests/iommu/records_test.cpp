#include "iommu/records.hpp"

#include <gtest/gtest.h>

#include <list>

namespace pinfold::iommu {
namespace {

constexpr IovaRange range(std::uint64_t start, std::uint64_t last)
{
    return {Iova{start}, Iova{last}};
}

// A record for each map, in no order, and every question asked of all of them.
class Model {
public:
    bool map(IovaRange iova)
    {
        for (auto const& record : records_)
            if (record.overlaps(iova)) return false;
        records_.push_back(iova);
        return true;
    }
    std::uint64_t unmap(IovaRange iova)
    {
        for (auto const& record : records_)
            if (record.overlaps(iova) && record.start < iova.start) return 0;
        std::uint64_t bytes = 0;
        for (auto record = records_.begin(); record != records_.end();) {
            bool const goes = record->overlaps(iova);
            if (goes) bytes += record->size();
            record = goes ? records_.erase(record) : std::next(record);
        }
        return bytes;
    }
    std::list<IovaRange> const& records() const { return records_; }

private:
    std::list<IovaRange> records_;
};

// Three records out of all that fit into six places, and every unmap of them.
TEST(Records, every_unmap_of_every_three_records_is_the_models)
{
    constexpr std::uint64_t kPlaces = 6;
    std::vector<IovaRange> ranges;
    for (std::uint64_t start = 0; start < kPlaces; ++start)
        for (std::uint64_t last = start; last < kPlaces; ++last)
            ranges.push_back(range(start, last));
    for (auto const& one : ranges)
        for (auto const& two : ranges)
            for (auto const& three : ranges)
                for (auto const& gone : ranges) {
                    Records records;
                    Model model;
                    for (auto const& iova : {one, two, three}) {
                        auto const done =
                            records.map(iova, Paddr{100 + iova.start.raw()}, Prot::read);
                        ASSERT_EQ(done.has_value(), model.map(iova));
                        ASSERT_TRUE(done || done.error() == Errno::inval);
                    }
                    ASSERT_EQ(records.unmap(gone).bytes, model.unmap(gone));
                    for (std::uint64_t place = 0; place < kPlaces; ++place) {
                        auto const record = records.find(Iova{place});
                        bool expected = false;
                        for (auto const& iova : model.records())
                            if (iova.contains(Iova{place})) {
                                expected = true;
                                ASSERT_TRUE(record);
                                ASSERT_EQ(record->iova, iova);
                                ASSERT_EQ(record->paddr, Paddr{100 + iova.start.raw()});
                            }
                        ASSERT_EQ(record.has_value(), expected);
                    }
                }
}

TEST(Records, what_was_removed_ends_where_the_last_record_ended)
{
    Records records;
    ASSERT_TRUE(records.map(range(0, 9), Paddr{0}, Prot::read));
    ASSERT_TRUE(records.map(range(20, 39), Paddr{0}, Prot::read));
    auto const removed = records.unmap(range(0, 20));
    EXPECT_EQ(removed.bytes, 30);
    EXPECT_EQ(removed.last, Iova{39});
}

TEST(Records, the_whole_space_can_be_one_record)
{
    Records records;
    ASSERT_TRUE(records.map(range(0, ~0ULL - 1), Paddr{0}, Prot::write));
    ASSERT_TRUE(records.map(range(~0ULL, ~0ULL), Paddr{7}, Prot::read));
    EXPECT_EQ(records.find(Iova{~0ULL})->paddr, Paddr{7});
    EXPECT_EQ(records.find(Iova{~0ULL - 1})->prot, Prot::write);
    EXPECT_EQ(records.sizes()[0], 1);
    EXPECT_EQ(records.sizes()[63], 1);
    EXPECT_GT(records.bytes(), 0);
}

}  // namespace
}  // namespace pinfold::iommu
