// Devices that access while somebody maps and unmaps.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "iommu/unit.hpp"

namespace pinfold::iommu {
namespace {

constexpr std::uint64_t kPage = 0x1000;
constexpr std::uint64_t k2MBytes = 0x200000;

// A loaded machine has a device preempted in the middle of an access, and each sync waits for it.
class Deadline {
public:
    bool passed() const { return std::chrono::steady_clock::now() > end_; }

private:
    std::chrono::steady_clock::time_point end_ =
        std::chrono::steady_clock::now() + std::chrono::seconds{3};
};

class Concurrency : public testing::TestWithParam<Model> {
protected:
    Concurrency() : unit{options_of(GetParam())}
    {
        EXPECT_TRUE(unit.endpoint->attach(*unit.domain));
    }
    Unit unit;
};

// The access is held open until the unmap has had ample time to return too early.
TEST_P(Concurrency, sync_waits_for_the_access_that_uses_the_old_translation)
{
    ASSERT_TRUE(unit.map(0, 0x5000, kPage));
    std::atomic<bool> inside{false};
    std::atomic<bool> synced{false};
    bool synced_too_early = false;
    std::thread device{[&] {
        ReadSection const section;
        EXPECT_TRUE(unit.endpoint->translate(Iova{0}, 1, Access::read));
        inside = true;
        std::this_thread::sleep_for(std::chrono::milliseconds{50});
        synced_too_early = synced;
    }};
    while (!inside) std::this_thread::yield();
    EXPECT_EQ(unit.unmap(0, kPage), kPage);
    synced = true;
    device.join();
    EXPECT_FALSE(synced_too_early);
}

TEST_P(Concurrency, every_way_out_of_a_domain_waits_for_the_access_under_way)
{
    auto const elsewhere = unit.iommu->create_domain().value();
    std::unique_ptr<Domain> domain;
    std::function<void()> const ways_out[] = {
        [&] { EXPECT_TRUE(unit.endpoint->attach(*elsewhere)); },
        [&] { unit.endpoint->block(); },
        [&] { domain.reset(); },
    };
    for (auto const& leave : ways_out) {
        domain = unit.iommu->create_domain().value();
        ASSERT_TRUE(domain->map(Iova{0}, Paddr{0x5000}, kPage, Prot::read));
        ASSERT_TRUE(unit.endpoint->attach(*domain));
        std::atomic<bool> inside{false};
        std::atomic<bool> left{false};
        bool left_too_early = false;
        std::thread device{[&] {
            ReadSection const section;
            EXPECT_TRUE(unit.endpoint->translate(Iova{0}, 1, Access::read));
            inside = true;
            std::this_thread::sleep_for(std::chrono::milliseconds{50});
            left_too_early = left;
        }};
        while (!inside) std::this_thread::yield();
        leave();
        left = true;
        device.join();
        EXPECT_FALSE(left_too_early);
    }
}

// Each map call gets a fresh number as its paddr. A number is dead once its unmap has been synced,
// and no access that ends after that may have got it: not from the table, not from the IOTLB, and
// not from a fill that came late.
class Deaths {
public:
    explicit Deaths(Unit& unit) : unit_{unit} {}

    // How many accesses of two devices got a dead number, up to `enough`.
    std::uint64_t wrong(std::uint64_t enough)
    {
        std::thread one{[this] { access(); }};
        std::thread other{[this] { access(); }};
        Deadline const deadline;
        for (std::uint64_t number = 1; number <= kRounds && !deadline.passed() && wrong_ < enough;
             ++number) {
            EXPECT_TRUE(unit_.map(kStart, number * kPages * kPage, kPages * kPage));
            if (number % 8 == 0) std::this_thread::yield();
            EXPECT_EQ(unit_.unmap(kStart, kPages * kPage), kPages * kPage);
            last_dead_ = number;
            if (number % 64 == 0) std::this_thread::sleep_for(std::chrono::microseconds{200});
        }
        stop_ = true;
        one.join();
        other.join();
        return wrong_;
    }

private:
    static constexpr std::uint64_t kRounds = 1'000;
    static constexpr std::uint64_t kPages = 3;
    static constexpr std::uint64_t kStart = k2MBytes - kPage;  // in two tables

    void access()
    {
        std::uint64_t page = 0;
        while (!stop_) {
            page = (page + 1) % kPages;
            ReadSection const section;
            std::uint64_t const dead = last_dead_;
            auto const segment =
                unit_.endpoint->translate(Iova{kStart + page * kPage}, 1, Access::read);
            if (!segment) continue;
            std::uint64_t const number = segment->paddr.raw() / (kPages * kPage);
            bool const right_page = segment->paddr.raw() % (kPages * kPage) == page * kPage;
            // The bytes are moved only now.
            for (int i = 0; i < 50; ++i)
                if (number <= last_dead_) break;
            if (number <= dead || number <= last_dead_ || !right_page) ++wrong_;
        }
    }

    Unit& unit_;
    std::atomic<std::uint64_t> last_dead_{0};
    std::atomic<bool> stop_{false};
    std::atomic<std::uint64_t> wrong_{0};
};

TEST_P(Concurrency, a_dead_translation_is_never_used) { EXPECT_EQ(Deaths{unit}.wrong(1), 0); }

// The test above without what it is about.
TEST_P(Concurrency, a_dead_translation_is_used_if_a_sync_leaves_out_the_grace_period)
{
    auto options = options_of(GetParam());
    options.omit.grace_period = true;
    Unit bad{options};
    ASSERT_TRUE(bad.endpoint->attach(*bad.domain));
    std::uint64_t wrong = 0;
    for (int tries = 0; tries < 10 && wrong == 0; ++tries) wrong = Deaths{bad}.wrong(1);
    EXPECT_GT(wrong, 0);
}

TEST_P(Concurrency, a_dead_translation_is_used_if_a_sync_leaves_out_the_invalidation)
{
    auto options = options_of(GetParam());
    options.omit.invalidation = true;
    Unit bad{options};
    ASSERT_TRUE(bad.endpoint->attach(*bad.domain));
    // On a busy machine the devices may not get to run in one go.
    std::uint64_t wrong = 0;
    for (int tries = 0; tries < 10 && wrong == 0; ++tries) wrong = Deaths{bad}.wrong(1);
    EXPECT_GT(wrong, 0);
}

// Threads that map and unmap side by side, in pages of the same tables and in tables of their own,
// while a device reads: what a thread has mapped, and only that, is found in its places.
TEST_P(Concurrency, several_threads_map_and_unmap_disjoint_ranges)
{
    Unit& shared = unit;
    constexpr std::uint64_t kThreads = 3;
    std::atomic<std::uint64_t> wrong{0};
    std::atomic<bool> stop{false};
    auto const map_and_unmap = [&](std::uint64_t thread) {
        std::uint64_t const paddr = (thread + 1) << 32;
        for (int round = 0; round < 400; ++round) {
            // Every third page of two tables, and a table that is a neighbour's neighbour.
            for (std::uint64_t page = thread; page < 90; page += kThreads)
                wrong += !shared.map(page * 16 * kPage, paddr + page * kPage, kPage);
            wrong += !shared.map((10 + thread) * k2MBytes, paddr + kPage, k2MBytes);
            for (std::uint64_t page = thread; page < 90; page += kThreads) {
                ReadSection const section;
                wrong += shared.domain->iova_to_phys(Iova{page * 16 * kPage}) !=
                         Paddr{paddr + page * kPage};
            }
            Gather gather;
            std::uint64_t gone = 0;
            for (std::uint64_t page = thread; page < 90; page += kThreads)
                gone += shared.domain->unmap(Iova{page * 16 * kPage}, kPage, gather);
            gone += shared.domain->unmap(
                Iova{(10 + thread) * k2MBytes}, k2MBytes, gather,
                [&](iommu::Run const& run) { wrong += run.paddr != Paddr{paddr + kPage}; });
            shared.domain->sync(gather);
            wrong += gone != 30 * kPage + k2MBytes;
        }
    };
    std::thread device{[&] {
        for (std::uint64_t page = 0; !stop; page = (page + 7) % 90) {
            ReadSection const section;
            auto const segment =
                shared.endpoint->translate(Iova{page * 16 * kPage}, 1, Access::read);
            if (segment && segment->paddr.raw() >> 32 != page % kThreads + 1) ++wrong;
        }
    }};
    std::vector<std::thread> threads;
    for (std::uint64_t thread = 0; thread < kThreads; ++thread)
        threads.emplace_back(map_and_unmap, thread);
    for (auto& thread : threads) thread.join();
    stop = true;
    device.join();
    EXPECT_EQ(wrong, 0);
    auto const leaves = shared.domain->leaves();
    for (auto const count : leaves) EXPECT_EQ(count, 0);
}

// Tables come and go under the readers: 2 MiB as 512 leaves, then as one, in turns.
TEST_P(Concurrency, walks_beside_table_changes_find_all_or_nothing)
{
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> wrong{0};
    std::thread walker{[&] {
        for (std::uint64_t iova = 0; !stop; iova = (iova + 7 * kPage) % (2 * k2MBytes)) {
            ReadSection const section;
            auto const leaf = unit.domain->walk(Iova{iova});
            if (!leaf) continue;
            // One mapping is the identity, the other is a page off.
            std::uint64_t const offset = leaf->paddr.raw() - leaf->iova.start.raw();
            if (offset != 4 * k2MBytes && offset != 4 * k2MBytes + kPage) ++wrong;
            if (!leaf->iova.contains(Iova{iova})) ++wrong;
        }
    }};
    Deadline const deadline;
    for (std::uint64_t round = 0; round < 1'000 && !deadline.passed(); ++round) {
        std::uint64_t const paddr = 4 * k2MBytes + round % 2 * kPage;
        ASSERT_TRUE(unit.map(0, paddr, 2 * k2MBytes));
        if (round % 4 == 0 && GetParam() != Model::native) {
            // Page by page leaves empty tables for the next round to map over.
            Gather gather;
            for (std::uint64_t iova = 0; iova < 2 * k2MBytes;) {
                std::uint64_t const bytes = unit.domain->unmap(Iova{iova}, kPage, gather);
                ASSERT_NE(bytes, 0);
                iova += bytes;
            }
            unit.domain->sync(gather);
        } else {
            ASSERT_EQ(unit.unmap(0, 2 * k2MBytes), 2 * k2MBytes);
        }
    }
    stop = true;
    walker.join();
    EXPECT_EQ(wrong, 0);
}

// Between two domains whose tables differ: an access sees one or the other, and the new one only
// once attach() has returned.
TEST_P(Concurrency, an_attach_is_complete_when_it_returns)
{
    auto const other = unit.iommu->create_domain().value();
    ASSERT_TRUE(unit.map(0, 1 * kPage, kPage));
    ASSERT_TRUE(other->map(Iova{0}, Paddr{2 * kPage}, kPage, Prot::read));
    std::atomic<std::uint64_t> wrong{0};
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> settled{0};  // the paddr that accesses must get; 0: either
    std::thread device{[&] {
        while (!stop) {
            ReadSection const section;
            std::uint64_t const before = settled;
            auto const segment = unit.endpoint->translate(Iova{0}, 1, Access::read);
            if (!segment || (before != 0 && before == settled && segment->paddr.raw() != before))
                ++wrong;
        }
    }};
    Deadline const deadline;
    for (std::uint64_t round = 0; round < 1'000 && !deadline.passed(); ++round) {
        settled = 0;
        wait_for_readers();  // whoever saw the old value of `settled` is done
        ASSERT_TRUE(unit.endpoint->attach(round % 2 == 0 ? *other : *unit.domain));
        settled = round % 2 == 0 ? 2 * kPage : kPage;
        std::this_thread::yield();
    }
    stop = true;
    device.join();
    EXPECT_EQ(wrong, 0);
}

std::string_view name_of(Model model)
{
    switch (model) {
        case Model::vtd: return "vtd";
        case Model::amdvi: return "amdvi";
        case Model::smmuv3: return "smmuv3";
        case Model::virtio: return "virtio";
        case Model::native: break;
    }
    return "native";
}

INSTANTIATE_TEST_SUITE_P(Models, Concurrency,
                         testing::Values(Model::vtd, Model::amdvi, Model::smmuv3, Model::virtio,
                                         Model::native),
                         [](auto const& test) { return std::string{name_of(test.param)}; });

// Under a new root the walk is a level longer and finds the same.
TEST(Growth, what_is_mapped_stays_found_while_the_table_grows)
{
    Unit unit{amdvi_options()};
    std::atomic<Domain*> domain{nullptr};
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> wrong{0};
    std::thread walker{[&] {
        while (!stop) {
            ReadSection const section;
            Domain const* const now = domain;
            if (now != nullptr && now->iova_to_phys(Iova{0x5678}) != Paddr{0x9678}) ++wrong;
        }
    }};
    Deadline const deadline;
    for (int round = 0; round < 500 && !deadline.passed(); ++round) {
        auto const fresh = unit.iommu->create_domain().value();
        ASSERT_TRUE(fresh->map(Iova{0x5000}, Paddr{0x9000}, kPage, Prot::read));
        domain = fresh.get();
        for (unsigned const bit : {39U, 48U, 57U})
            ASSERT_TRUE(fresh->map(Iova{1ULL << bit}, Paddr{0}, kPage, Prot::read));
        EXPECT_EQ(fresh->raw_table()->levels, 6);
        domain = nullptr;
        wait_for_readers();
    }
    stop = true;
    walker.join();
    EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace pinfold::iommu
