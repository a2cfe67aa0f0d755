// When what an unmap took out of a tree may become something else: not before the unit has been
// told, and not while an access is under way that may be in it.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "iommu/unit.hpp"

namespace pinfold::iommu {
namespace {

constexpr std::uint64_t kPage = 0x1000;
constexpr std::uint64_t k2MBytes = 0x200000;
constexpr Paddr kForeign{0x1234'5000};

// Of the formats here, paddrs are where they are in a leaf: bits 47 to 12.
bool is_foreign(std::uint64_t& word)
{
    std::uint64_t const now = std::atomic_ref{word}.load();
    return (now << 16 >> 28) == kForeign.raw() / kPage;
}

// Another domain of the same unit, whose tables come from the same memory.
class Neighbour {
public:
    explicit Neighbour(Iommu& iommu) : domain_{iommu.create_domain().value()} { grow(); }
    // Takes one leaf table, with a leaf in its first slot.
    void grow()
    {
        EXPECT_TRUE(domain_->map(Iova{tables_++ * k2MBytes}, kForeign, kPage, Prot::read));
    }
    // Whether a word becomes the neighbour's when it grows for a while.
    bool comes_to_own(std::uint64_t& word)
    {
        for (int i = 0; i < 300 && !is_foreign(word); ++i) {
            grow();
            std::this_thread::sleep_for(std::chrono::microseconds{100});
        }
        return is_foreign(word);
    }

private:
    std::unique_ptr<Domain> domain_;
    std::uint64_t tables_ = 0;
};

template <class R, Model kModel>
struct Machine {
    using Reader = R;
    static Iommu::Options options() { return options_of(kModel); }
};

template <class Machine>
class TableGrace : public testing::Test {};
using Machines =
    testing::Types<Machine<test::VtdReader, Model::vtd>, Machine<test::AmdReader, Model::amdvi>,
                   Machine<test::ArmReader<12>, Model::smmuv3>>;
TYPED_TEST_SUITE(TableGrace, Machines);

// A walk is held in a leaf table that is being unmapped; whether it finds a neighbour's leaf there.
template <class Machine>
bool walk_finds_a_neighbours_leaf(bool grace_period)
{
    auto options = Machine::options();
    options.omit.grace_period = !grace_period;
    Unit unit{options};
    Neighbour neighbour{*unit.iommu};
    EXPECT_TRUE(unit.map(0, 8 * k2MBytes + kPage, k2MBytes));
    std::atomic<bool> unmapped{false};
    std::atomic<bool> synced{false};
    bool found = false;
    std::thread driver;
    {
        ReadSection const section;
        std::uint64_t& word = unit.word<typename Machine::Reader>(0);
        driver = std::thread{[&] {
            Gather gather;
            EXPECT_EQ(unit.domain->unmap(Iova{0}, k2MBytes, gather), k2MBytes);
            unmapped = true;
            unit.domain->sync(gather);
            synced = true;
        }};
        while (!(grace_period ? unmapped : synced)) std::this_thread::yield();
        std::thread{[&] { found = neighbour.comes_to_own(word); }}.join();
    }
    driver.join();
    return found;
}

TYPED_TEST(TableGrace, keeps_a_table_from_becoming_anothers_under_a_walk)
{
    EXPECT_TRUE(walk_finds_a_neighbours_leaf<TypeParam>(false));
    EXPECT_FALSE(walk_finds_a_neighbours_leaf<TypeParam>(true));
}

// A unit beside which a neighbour grows whenever it is told something.
class BusyUnit final : public CommandQueue {
public:
    void submit(Command const&) override
    {
        if (word == nullptr) return;
        neighbour->grow();
        ++told;
        found_foreign = found_foreign || is_foreign(*word);
    }

    Neighbour* neighbour = nullptr;
    std::uint64_t* word = nullptr;  // nullptr: nobody looks
    unsigned told = 0;
    bool found_foreign = false;
};

TYPED_TEST(TableGrace, lasts_until_the_unit_has_let_go_of_the_table)
{
    BusyUnit busy;
    auto options = TypeParam::options();
    options.commands = &busy;
    Unit unit{options};
    Neighbour neighbour{*unit.iommu};
    busy.neighbour = &neighbour;
    ASSERT_TRUE(unit.map(0, 8 * k2MBytes + kPage, k2MBytes));
    std::uint64_t& word = unit.word<typename TypeParam::Reader>(0);
    busy.word = &word;
    Gather gather;
    EXPECT_EQ(unit.domain->unmap(Iova{0}, k2MBytes, gather), k2MBytes);
    EXPECT_FALSE(neighbour.comes_to_own(word)) << "before anybody has been told";
    unit.domain->sync(gather);
    EXPECT_GT(busy.told, 1);
    EXPECT_FALSE(busy.found_foreign);
    EXPECT_TRUE(neighbour.comes_to_own(word)) << "it is free in the end";
}

// The native index counts what is in use, and what readers may be in is.
bool index_shrinks_under_an_access(bool grace_period)
{
    auto options = native_options();
    options.omit.grace_period = !grace_period;
    Unit unit{options};
    EXPECT_TRUE(unit.map(0, 8 * k2MBytes + kPage, 3 * k2MBytes + kPage));
    std::uint64_t left = 0;  // when the mapping has gone, and nobody has been told
    std::atomic<bool> unmapped{false};
    std::atomic<bool> synced{false};
    bool shrunk = false;
    std::thread driver;
    {
        ReadSection const section;
        driver = std::thread{[&] {
            Gather gather;
            EXPECT_NE(unit.domain->unmap(Iova{0}, 3 * k2MBytes + kPage, gather), 0);
            left = unit.domain->table_bytes();
            unmapped = true;
            unit.domain->sync(gather);
            synced = true;
        }};
        while (!(grace_period ? unmapped : synced)) std::this_thread::yield();
        std::this_thread::sleep_for(std::chrono::milliseconds{30});
        shrunk = unit.domain->table_bytes() < left;
    }
    driver.join();
    EXPECT_LT(unit.domain->table_bytes(), left);
    return shrunk;
}

TEST(NativeTableGrace, keeps_what_an_access_may_be_in)
{
    EXPECT_TRUE(index_shrinks_under_an_access(false));
    EXPECT_FALSE(index_shrinks_under_an_access(true));
}

}  // namespace
}  // namespace pinfold::iommu
