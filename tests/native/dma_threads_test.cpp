// Devices that access while others map, unmap and harvest.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "native/model.hpp"
#include "pinfold/dma_map.hpp"

namespace pinfold {
namespace {

using namespace std::chrono_literals;
using native::pages;
constexpr std::uint64_t kPage = 4096;

class DmaThreads : public testing::TestWithParam<Reading> {
protected:
    bool polling() const { return GetParam() == Reading::polling; }
    // One round of a device: in a section, or before a quiescent state.
    template <class Use>
    void access(DmaReader const& reader, Use use)
    {
        if (!polling()) {
            DmaSection const section{reader};
            return use();
        }
        use();
        reader.quiescent();
    }
    std::unique_ptr<DmaMap> map = DmaMap::create({}).value();
    alignas(kPage) inline static std::array<std::byte, 64 * kPage> memory{};

    void expect_no_late_write();
};
INSTANTIATE_TEST_SUITE_P(Readings, DmaThreads,
                         testing::Values(Reading::polling, Reading::sections, Reading::fenced),
                         [](auto const& each) -> std::string {
                             if (each.param == Reading::polling) return "polling";
                             return each.param == Reading::sections ? "sections" : "fenced";
                         });

// The access is held open until the call has had ample time to return too early.
TEST_P(DmaThreads, every_call_that_waits_waits_for_the_access_under_way)
{
    std::array<std::uint64_t, 1> bits{};
    auto const waits = [&](auto call) {
        std::atomic<bool> inside{false};
        std::atomic<bool> returned{false};
        bool early = false;
        std::thread device{[&] {
            auto const reader = map->add_reader(GetParam()).value();
            access(reader, [&] {
                EXPECT_NE(reader.translate(Iova{0}, 1, Access::read), nullptr);
                inside = true;
                std::this_thread::sleep_for(30ms);
                early = returned;
            });
            reader.leave();
        }};
        while (!inside) std::this_thread::yield();
        call();
        returned = true;
        device.join();
        EXPECT_FALSE(early);
    };
    auto const owner = map->add_owner({.bytes = kPage, .mappings = 1}).value();
    ASSERT_TRUE(map->map(Iova{0}, memory.data(), kPage, Prot::read));
    waits([&] { EXPECT_TRUE(map->start_dirty_log()); });
    waits([&] { EXPECT_TRUE(map->harvest(pages(0, 0), bits)); });
    waits([&] { map->stop_dirty_log(); });
    waits([&] { EXPECT_EQ(map->unmap(Iova{0}, kPage), kPage); });
    ASSERT_TRUE(map->map(Iova{0}, memory.data(), kPage, Prot::read));
    waits([&] { EXPECT_EQ(map->unmap_all(), kPage); });
    ASSERT_TRUE(map->map(Iova{0}, memory.data(), kPage, Prot::read));
    std::array const ranges{pages(0, 0)};
    waits([&] { EXPECT_EQ(map->unmap(ranges), kPage); });
    ASSERT_TRUE(map->map(Iova{0}, memory.data(), kPage, Prot::read, owner));
    waits([&] { EXPECT_TRUE(map->remove_owner(owner)); });
    ASSERT_TRUE(map->map(Iova{0}, memory.data(), kPage, Prot::read));
    waits([&] {
        DmaBatch batch{*map};
        EXPECT_EQ(batch.unmap(Iova{0}, kPage), kPage);
        batch.wait();
    });
    ASSERT_TRUE(map->map(Iova{0}, memory.data(), kPage, Prot::read));
    waits([&] { EXPECT_EQ(DmaBatch{*map}.unmap(Iova{0}, kPage), kPage); });
    auto const another = map->add_owner({.bytes = kPage, .mappings = 1}).value();
    ASSERT_TRUE(map->map(Iova{0}, memory.data(), kPage, Prot::read, another));
    ASSERT_TRUE(map->map_without_memory(Iova{kPage}, ~std::uint64_t{0} - kPage + 1, Prot::read));
    std::array const all{IovaRange{Iova{0}, Iova{~std::uint64_t{0}}}};
    waits([&] { EXPECT_EQ(map->unmap(all), 0U) << "which stands for 2^64"; });
}

// Roots of the index go back to whoever they came from; readers may be in them until they leave.
TEST_P(DmaThreads, tables_go_back_when_the_access_under_way_is_over_and_no_sooner)
{
    native::FailingMemory tables{~std::uint64_t{0}};
    map = DmaMap::create({.memory = &tables}).value();
    for (std::uint64_t high = 1; high < 7; ++high)
        ASSERT_TRUE(map->map(Iova{high << 56}, memory.data(), kPage, Prot::read));
    std::uint64_t const before = tables.taken();
    std::atomic<bool> inside{false};
    std::uint64_t during = 0;
    std::thread device{[&] {
        auto const reader = map->add_reader(GetParam()).value();
        access(reader, [&] {
            EXPECT_NE(reader.translate(Iova{std::uint64_t{1} << 56}, 1, Access::read), nullptr);
            inside = true;
            std::this_thread::sleep_for(30ms);
            during = tables.taken();
        });
        reader.leave();
    }};
    while (!inside) std::this_thread::yield();
    EXPECT_EQ(map->unmap_all(), 6 * kPage);
    device.join();
    EXPECT_EQ(during, before);
    EXPECT_LT(tables.taken(), before);
    map.reset();  // before its memory
}

// Each waits for the other, at the same time, and both are devices that poll.
TEST_P(DmaThreads, devices_that_unmap_at_the_same_time_do_not_wait_for_each_other_for_ever)
{
    auto const end = std::chrono::steady_clock::now() + 300ms;
    auto const device = [&](std::uint64_t number) {
        auto self = map->add_reader(GetParam()).value();
        for (std::uint64_t round = 0; std::chrono::steady_clock::now() < end; ++round) {
            Iova const iova{(number + 2 * (round % 8)) * kPage};
            self.leave();
            ASSERT_TRUE(map->map(iova, memory.data(), kPage, Prot::read));
            if (polling()) self.enter();
            access(self, [&] { EXPECT_NE(self.translate(iova, 1, Access::read), nullptr); });
            if (round % 2 == 0) {
                ASSERT_EQ(map->unmap(iova, kPage, &self), kPage);
                continue;
            }
            DmaBatch batch{*map, &self};
            ASSERT_EQ(batch.unmap(iova, kPage), kPage);
        }
    };
    std::thread one{device, 0};
    std::thread other{device, 1};
    one.join();
    other.join();
    EXPECT_EQ(map->mappings(), 0U);
}

TEST_P(DmaThreads, a_thread_that_is_a_device_itself_can_unmap)
{
    auto self = map->add_reader(GetParam()).value();
    ASSERT_TRUE(map->map(Iova{0}, memory.data(), kPage, Prot::read));
    access(self, [&] { EXPECT_NE(self.translate(Iova{0}, 1, Access::read), nullptr); });
    EXPECT_EQ(map->unmap(Iova{0}, kPage, &self), kPage);
    access(self, [&] { EXPECT_EQ(self.translate(Iova{0}, 1, Access::read), nullptr); });
}

TEST_P(DmaThreads, a_thread_that_has_left_is_not_waited_for)
{
    auto const reader = map->add_reader(GetParam()).value();
    reader.leave();
    ASSERT_TRUE(map->map(Iova{0}, memory.data(), kPage, Prot::read));
    EXPECT_EQ(map->unmap(Iova{0}, kPage), kPage);
}

// Device threads write their number into whatever they can reach; the program takes a page back,
// clears it, and finds it clear ever after.
void DmaThreads::expect_no_late_write()
{
    constexpr std::uint64_t kPages = 7;
    std::uint64_t const first = 512 - 3;  // two blocks, segments and tables
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> written{0};
    auto const device = [&](DmaReader const& reader) {
        if (polling()) reader.enter();
        for (std::uint64_t page = 0; !stop; page = (page + 1) % kPages)
            access(reader, [&] {
                auto* const bytes =
                    reader.translate(Iova{(first + page) * kPage}, 8, Access::write);
                if (bytes == nullptr) return;
                std::atomic_ref<std::uint64_t>{*reinterpret_cast<std::uint64_t*>(bytes)}.store(
                    1, std::memory_order_relaxed);
                ++written;
            });
        reader.leave();
    };
    std::array const readers{map->add_reader(GetParam()).value(),
                             map->add_reader(GetParam()).value()};
    for (DmaReader const& reader : readers) reader.leave();
    std::thread one{[&] { device(readers[0]); }};
    std::thread other{[&] { device(readers[1]); }};
    std::uint64_t late = 0;
    auto const word = [&](std::uint64_t page) {
        return std::atomic_ref<std::uint64_t>{
            *reinterpret_cast<std::uint64_t*>(&memory[page * kPage])};
    };
    auto const end = std::chrono::steady_clock::now() + 1s;
    for (std::uint64_t round = 0; round < 50'000 && std::chrono::steady_clock::now() < end;
         ++round) {
        for (std::uint64_t page = 0; page < kPages; ++page)
            ASSERT_TRUE(map->map(Iova{(first + page) * kPage}, &memory[page * kPage], kPage,
                                 Prot::read_write));
        std::this_thread::yield();
        if (round % 2 == 0) {
            for (std::uint64_t page = 0; page < kPages; ++page) {
                ASSERT_EQ(map->unmap(Iova{(first + page) * kPage}, kPage), kPage);
                word(page).store(0);
            }
        } else {
            DmaBatch batch{*map};
            for (std::uint64_t page = 0; page < kPages; ++page)
                ASSERT_EQ(batch.unmap(Iova{(first + page) * kPage}, kPage), kPage);
            batch.wait();
            for (std::uint64_t page = 0; page < kPages; ++page) word(page).store(0);
        }
        for (std::uint64_t page = 0; page < kPages; ++page) late += word(page).load();
    }
    stop = true;
    one.join();
    other.join();
    EXPECT_EQ(late, 0U);
    EXPECT_GT(written, 0U);
}

TEST_P(DmaThreads, memory_that_was_unmapped_is_not_written_any_more) { expect_no_late_write(); }

TEST_P(DmaThreads, nor_is_that_of_a_map_of_one_writer)
{
    map = DmaMap::create({.writers = Writers::one}).value();
    expect_no_late_write();
}

// Each page that a device says it has written turns up in one harvest or another, with what was
// written there.
TEST_P(DmaThreads, no_write_is_lost_between_harvests)
{
    constexpr std::uint64_t kPages = 64;
    ASSERT_TRUE(map->map(Iova{0}, memory.data(), kPages * kPage, Prot::read_write));
    ASSERT_TRUE(map->start_dirty_log());
    std::atomic<bool> stop{false};
    auto const word = [&](std::uint64_t page) {
        return std::atomic_ref<std::uint64_t>{
            *reinterpret_cast<std::uint64_t*>(&memory[page * kPage])};
    };
    for (std::uint64_t page = 0; page < kPages; ++page) word(page).store(0);
    std::thread device{[&] {
        auto const reader = map->add_reader(GetParam()).value();
        for (std::uint64_t number = 1; !stop; ++number)
            access(reader, [&] {
                std::uint64_t const page = number * 7 % kPages;
                reader.mark_dirty(Iova{page * kPage}, 8);
                word(page).store(number);
            });
    }};
    std::array<std::uint64_t, kPages> copy{};
    auto const harvest = [&] {
        std::array<std::uint64_t, 1> bits{};
        ASSERT_TRUE(map->harvest(pages(0, kPages - 1), bits));
        for (std::uint64_t page = 0; page < kPages; ++page)
            if ((bits[0] >> page & 1) != 0) copy[page] = word(page).load();
    };
    auto const end = std::chrono::steady_clock::now() + 500ms;
    while (std::chrono::steady_clock::now() < end) harvest();
    stop = true;
    device.join();
    harvest();
    for (std::uint64_t page = 0; page < kPages; ++page) EXPECT_EQ(copy[page], word(page).load());
}

// Some sections, a rest, and some more: what a device is for writers changes all the time.
TEST(DmaThreadsMany, a_device_that_comes_and_goes_writes_nothing_late)
{
    auto const map = DmaMap::create({}).value();
    alignas(kPage) static std::array<std::byte, kPage> memory{};
    std::atomic_ref<std::uint64_t> const word{*reinterpret_cast<std::uint64_t*>(memory.data())};
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> written{0};
    std::thread device{[&] {
        auto const reader = map->add_reader(Reading::sections).value();
        for (std::uint64_t round = 0; !stop; ++round) {
            for (std::uint64_t access = 0; access < 1 + round % 7 * 20; ++access) {
                DmaSection const section{reader};
                auto* const at = reader.translate(Iova{0}, 8, Access::write);
                if (at == nullptr) continue;
                std::atomic_ref{*reinterpret_cast<std::uint64_t*>(at)}.store(
                    1, std::memory_order_relaxed);
                ++written;
            }
            std::this_thread::sleep_for(std::chrono::microseconds{round % 5 * 10});
        }
    }};
    std::uint64_t late = 0;
    auto const end = std::chrono::steady_clock::now() + 1s;
    for (std::uint64_t round = 0; std::chrono::steady_clock::now() < end; ++round) {
        ASSERT_TRUE(map->map(Iova{0}, memory.data(), kPage, Prot::write));
        if (round % 64 == 0) std::this_thread::yield();
        ASSERT_EQ(map->unmap(Iova{0}, kPage), kPage);
        word.store(0);
        late += word.load();
        late += word.load();
    }
    stop = true;
    device.join();
    EXPECT_EQ(late, 0U);
    EXPECT_GT(written, 0U);
}

TEST(DmaThreadsMany, several_threads_map_and_unmap_beside_each_other)
{
    auto const map = DmaMap::create({}).value();
    alignas(kPage) static std::array<std::byte, kPage> memory{};
    auto const client = [&](std::uint64_t number) {
        for (std::uint64_t round = 0; round < 3'000; ++round) {
            Iova const iova{(number + 4 * (round % 100)) * kPage};
            ASSERT_TRUE(map->map(iova, memory.data(), kPage, Prot::read));
            ASSERT_EQ(map->unmap(iova, kPage), kPage);
        }
    };
    std::vector<std::thread> threads;
    for (std::uint64_t number = 0; number < 4; ++number) threads.emplace_back(client, number);
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(map->mappings(), 0U);
}

// The race on the parts that a map is made of, with the wait and without: a device looks up and
// writes no sooner than the program has cleared what it took back, or after 20 ms if that is what
// the program waits for. It may have rested before.
enum class Before { busy, idle };
std::uint64_t late_writes(bool wait, Before before)
{
    auto const index = native::Index::create().value();
    native::Readers readers;
    auto* const reader = readers.add(Reading::sections).value();
    alignas(kPage) static std::array<std::byte, kPage> memory{};
    std::atomic_ref<std::uint64_t> const word{*reinterpret_cast<std::uint64_t*>(memory.data())};
    IovaRange const range = pages(5, 5);
    EXPECT_TRUE(index->map(range, native::Entry::leaf(range.start, Paddr{0}, Prot::write)));
    for (unsigned idle = 0; before == Before::idle && idle < 10; ++idle) readers.wait(nullptr);
    std::atomic<bool> inside{false};
    std::atomic<bool> cleared{false};
    std::thread device{[&] {
        reader->enter();
        if (!index->entry(range.start).empty()) {
            inside = true;
            auto const end = std::chrono::steady_clock::now() + 20ms;
            while (!cleared && !(wait && std::chrono::steady_clock::now() > end))
                std::this_thread::yield();
            word.store(1);
        }
        reader->leave();
    }};
    while (!inside) std::this_thread::yield();
    index->remove(*index->held_at(range.start));
    if (wait) readers.wait(nullptr);
    word.store(0);
    cleared = true;
    device.join();
    return word.load();
}

TEST(DmaThreadsMany, without_the_wait_a_late_write_is_seen_and_with_it_none_is)
{
    for (Before const before : {Before::busy, Before::idle}) {
        EXPECT_EQ(late_writes(false, before), 1U);
        EXPECT_EQ(late_writes(true, before), 0U);
    }
}

// The same with a batch, and what it says meanwhile: the mapping has gone, and something else may
// be mapped there; what a device had looked up is still used.
std::uint64_t late_writes_beside_a_batch(bool wait)
{
    auto const map = DmaMap::create({}).value();
    alignas(kPage) static std::array<std::byte, 2 * kPage> memory{};
    std::atomic_ref<std::uint64_t> const word{*reinterpret_cast<std::uint64_t*>(memory.data())};
    EXPECT_TRUE(map->map(Iova{0}, memory.data(), kPage, Prot::read_write));
    std::atomic<bool> inside{false};
    std::atomic<bool> cleared{false};
    std::thread device{[&] {
        auto const reader = map->add_reader(Reading::sections).value();
        DmaSection const section{reader};
        auto* const at = reader.translate(Iova{0}, 8, Access::write);
        inside = true;
        auto const end = std::chrono::steady_clock::now() + 20ms;
        while (!cleared && !(wait && std::chrono::steady_clock::now() > end))
            std::this_thread::yield();
        EXPECT_NE(reader.translate(Iova{0}, 8, Access::write), at);
        std::atomic_ref{*reinterpret_cast<std::uint64_t*>(at)}.store(1);
    }};
    while (!inside) std::this_thread::yield();
    DmaBatch batch{*map};
    EXPECT_EQ(batch.unmap(Iova{0}, kPage), kPage);
    EXPECT_EQ(batch.unmap(Iova{0}, kPage), 0U);
    EXPECT_TRUE(map->map(Iova{0}, &memory[kPage], kPage, Prot::read));
    if (wait) batch.wait();
    word.store(0);
    cleared = true;
    device.join();
    return word.load();
}

TEST(DmaThreadsMany, a_batch_waits_when_it_is_told_to_and_no_sooner)
{
    EXPECT_EQ(late_writes_beside_a_batch(false), 1U);
    EXPECT_EQ(late_writes_beside_a_batch(true), 0U);
}

}  // namespace
}  // namespace pinfold
