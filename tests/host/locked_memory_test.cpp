#include "host/locked_memory.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <thread>
#include <vector>

#include "host/lock_source.hpp"
#include "host/support.hpp"

namespace pinfold::host {
namespace {

constexpr std::uint64_t kUnlimited = ~std::uint64_t{0};

TEST(LockedMemory, exactly_the_limit_may_be_charged_and_not_one_page_more)
{
    FixedLockSource source{10 * kPage};
    LockedMemory account{source, k4K};
    EXPECT_FALSE(account.exceeds(10, LockCap::no));
    EXPECT_TRUE(account.exceeds(11, LockCap::no));
    EXPECT_TRUE(account.charge(4, LockCap::no));
    EXPECT_FALSE(account.exceeds(6, LockCap::no));
    EXPECT_TRUE(account.exceeds(7, LockCap::no));
    EXPECT_EQ(account.charge(7, LockCap::no).error(), Errno::nomem);
    EXPECT_EQ(account.charged(), 4U);
    EXPECT_TRUE(account.charge(6, LockCap::no));
    EXPECT_EQ(account.charge(1, LockCap::no).error(), Errno::nomem);
    EXPECT_EQ(account.charged(), 10U);
    EXPECT_EQ(account.limit_pages(), 10U);
}

TEST(LockedMemory, the_limit_is_rounded_down_to_pages)
{
    FixedLockSource source{3 * kPage - 1};
    LockedMemory account{source, k4K};
    EXPECT_EQ(account.limit_pages(), 2U);
    EXPECT_TRUE(account.charge(2, LockCap::no));
    EXPECT_FALSE(account.charge(1, LockCap::no));
}

TEST(LockedMemory, the_capability_lifts_the_limit_and_still_counts)
{
    FixedLockSource source{kPage, LockCap::yes};
    LockedMemory account{source, k4K};
    EXPECT_EQ(account.lock_cap(), LockCap::yes);
    EXPECT_FALSE(account.exceeds(1000, LockCap::yes));
    EXPECT_TRUE(account.charge(1000, LockCap::yes));
    EXPECT_EQ(account.charged(), 1000U);
    EXPECT_TRUE(account.exceeds(1, LockCap::no)) << "what was charged with it counts without it";
}

TEST(LockedMemory, no_limit_is_no_limit)
{
    FixedLockSource source{kUnlimited};
    LockedMemory account{source, k4K};
    EXPECT_FALSE(account.exceeds(std::uint64_t{1} << 40, LockCap::no));
    EXPECT_TRUE(account.charge(std::uint64_t{1} << 40, LockCap::no));
}

TEST(LockedMemory, absurd_amounts_do_not_wrap_around_the_limit)
{
    for (auto const cap : {LockCap::no, LockCap::yes}) {
        FixedLockSource source{100 * kPage};
        LockedMemory account{source, k4K};
        ASSERT_TRUE(account.charge(5, cap));
        EXPECT_EQ(account.exceeds(kUnlimited, cap), cap == LockCap::no);
        EXPECT_FALSE(account.charge(kUnlimited, cap));
        EXPECT_FALSE(account.charge(kUnlimited - 4, cap));
        EXPECT_EQ(account.charged(), 5U);
        EXPECT_EQ(account.needed_bytes(), kUnlimited);
    }
}

TEST(LockedMemory, pages_that_mlock_holds_count_against_the_same_limit)
{
    FixedLockSource source{10 * kPage, LockCap::no, 4 * kPage};
    LockedMemory account{source, k4K};
    EXPECT_FALSE(account.exceeds(6, LockCap::no));
    EXPECT_TRUE(account.exceeds(7, LockCap::no));
    EXPECT_FALSE(account.charge(7, LockCap::no));
    EXPECT_TRUE(account.charge(6, LockCap::no));
    EXPECT_EQ(account.charged(), 6U);
}

TEST(LockedMemory, counts_in_host_pages_whatever_their_size)
{
    FixedLockSource source{1024 * 1024, LockCap::no, kPage};
    LockedMemory account{source, k64K};
    EXPECT_EQ(account.limit_pages(), 16U);
    EXPECT_FALSE(account.charge(16, LockCap::no)) << "a 64K host cannot lock less than 64K";
    EXPECT_TRUE(account.charge(15, LockCap::no));
}

TEST(LockedMemory, knows_the_most_that_was_charged)
{
    FixedLockSource source{kUnlimited};
    LockedMemory account{source, k4K};
    ASSERT_TRUE(account.charge(8, LockCap::no));
    account.uncharge(5);
    ASSERT_TRUE(account.charge(2, LockCap::no));
    EXPECT_EQ(account.charged(), 5U);
    EXPECT_EQ(account.peak(), 8U);
}

// The hint to the user: with this limit all would have passed, with one byte less it would not.
TEST(LockedMemory, the_needed_limit_is_the_least_under_which_all_would_have_passed)
{
    auto const passes = [](std::uint64_t limit, std::uint64_t* needed) {
        FixedLockSource source{limit, LockCap::no, 3 * kPage};
        LockedMemory account{source, k4K};
        bool all = true;
        for (std::uint64_t const pages : {5U, 9U})
            all &= account.charge(pages, LockCap::no).has_value();
        if (all) account.uncharge(7);
        all &= account.charge(all ? 20 : 13, LockCap::no).has_value();
        if (needed != nullptr) *needed = account.needed_bytes();
        return all;
    };
    std::uint64_t needed = 0;
    EXPECT_TRUE(passes(1000 * kPage, &needed));
    EXPECT_EQ(needed, (3 + 5 + 9 - 7 + 20) * kPage);
    EXPECT_TRUE(passes(needed, nullptr));
    EXPECT_FALSE(passes(needed - 1, nullptr));
}

TEST(LockedMemory, a_refused_charge_or_test_counts_as_needed)
{
    FixedLockSource source{10 * kPage};
    LockedMemory account{source, k4K};
    EXPECT_EQ(account.needed_bytes(), 0U);
    ASSERT_TRUE(account.charge(10, LockCap::no));
    EXPECT_EQ(account.needed_bytes(), 10 * kPage);
    EXPECT_TRUE(account.exceeds(1, LockCap::no));
    EXPECT_EQ(account.needed_bytes(), 11 * kPage);
    EXPECT_FALSE(account.charge(2, LockCap::no));
    EXPECT_EQ(account.needed_bytes(), 12 * kPage);
    account.refused(30);
    EXPECT_EQ(account.needed_bytes(), 40 * kPage);
    EXPECT_FALSE(account.exceeds(0, LockCap::no));
    EXPECT_EQ(account.needed_bytes(), 40 * kPage);
}

TEST(LockedMemory, threads_together_reach_the_limit_and_never_pass_it)
{
    constexpr std::uint64_t kLimit = 1000;
    FixedLockSource source{kLimit * kPage};
    LockedMemory account{source, k4K};
    std::atomic<std::uint64_t> taken{0};
    std::atomic<bool> passed{false};
    {
        std::vector<std::jthread> threads;
        for (unsigned t = 0; t < 4; ++t) {
            threads.emplace_back([&, t] {
                for (int i = 0; i < 20000; ++i) {
                    std::uint64_t const pages = 1 + (t + static_cast<unsigned>(i)) % 7;
                    if (account.charge(pages, LockCap::no)) taken += pages;
                    if (account.charged() > kLimit) passed = true;
                    if (i % 3 == 0 && taken.load() > 500) {
                        std::uint64_t mine = taken.load();
                        if (mine >= 3 && taken.compare_exchange_strong(mine, mine - 3)) {
                            account.uncharge(3);
                        }
                    }
                }
            });
        }
    }
    EXPECT_FALSE(passed);
    EXPECT_EQ(account.charged(), taken);
    EXPECT_LE(account.peak(), kLimit);
    while (account.charge(1, LockCap::no)) {
    }
    EXPECT_EQ(account.charged(), kLimit);
}

// OwnLockSource, each time in a child whose limits and user are its own.
class OwnLockSourceTest : public testing::TestWithParam<bool> {
protected:
    // The same as an ordinary user, without CAP_IPC_LOCK, if the test can become one.
    static bool become_user()
    {
        return !GetParam() || ::geteuid() != 0 || ::setresuid(65534, 65534, 65534) == 0;
    }
    static void limit(std::uint64_t bytes)
    {
        rlimit const wanted{bytes, bytes};
        ASSERT_EQ(::setrlimit(RLIMIT_MEMLOCK, &wanted), 0);
    }
};
INSTANTIATE_TEST_SUITE_P(AsMyselfAndAsNobody, OwnLockSourceTest, testing::Bool());

TEST_P(OwnLockSourceTest, sees_the_limit_as_it_is_now)
{
    EXPECT_TRUE(in_child([] {
        OwnLockSource source{LockCap::no};
        limit(5 * kPage + 17);
        bool const first = source.limit_bytes() == 5 * kPage + 17;
        limit(2 * kPage);
        return first && source.limit_bytes() == 2 * kPage;
    }));
}

TEST_P(OwnLockSourceTest, sees_what_mlock_holds_as_it_is_now)
{
    EXPECT_TRUE(in_child([] {
        OwnLockSource source{LockCap::no};
        limit(64 * kPage);
        TestMapping const mapping{8};
        if (!become_user() || source.mlocked_bytes() != 0) return false;
        lock_pages(mapping.page(0), 3);
        if (source.mlocked_bytes() != 3 * kPage) return false;
        unlock_pages(mapping.page(0), 1);
        return source.mlocked_bytes() == 2 * kPage;
    }));
}

TEST_P(OwnLockSourceTest, sees_mlock_under_any_limit)
{
    for (auto const bytes : {std::uint64_t{0}, std::uint64_t{1}, kUnlimited >> 2, kUnlimited}) {
        EXPECT_TRUE(in_child([&] {
            OwnLockSource source{LockCap::no};
            TestMapping const mapping{8};
            limit(64 * kPage);
            lock_pages(mapping.page(0), 3);
            rlimit const wanted{bytes, bytes};
            if (::setrlimit(RLIMIT_MEMLOCK, &wanted) != 0) return true;  // may not raise it
            return become_user() && source.mlocked_bytes() == 3 * kPage;
        })) << bytes;
    }
}

TEST_P(OwnLockSourceTest, charges_share_the_limit_with_mlock)
{
    EXPECT_TRUE(in_child([] {
        OwnLockSource source{LockCap::no};
        LockedMemory account{source, k4K};
        limit(10 * kPage);
        TestMapping const mapping{4};
        if (!become_user() || !account.charge(6, LockCap::no)) return false;
        lock_pages(mapping.page(0), 4);
        return account.exceeds(1, LockCap::no) && !account.charge(1, LockCap::no) &&
               account.needed_bytes() == 11 * kPage;
    }));
}

TEST(OwnLockSourceCap, is_what_the_launcher_had_as_long_as_the_process_has_it)
{
    EXPECT_EQ(OwnLockSource{LockCap::no}.lock_cap(), LockCap::no);
    if (::geteuid() != 0) GTEST_SKIP() << "only root has the capability";
    EXPECT_EQ(OwnLockSource{LockCap::yes}.lock_cap(), LockCap::yes);
    EXPECT_TRUE(in_child([] {
        OwnLockSource source{LockCap::yes};
        return ::setresuid(65534, 65534, 65534) == 0 && source.lock_cap() == LockCap::no;
    }));
}

TEST(OwnLockSource, a_limit_of_the_runs_own_stands_for_RLIMIT_MEMLOCK)
{
    EXPECT_TRUE(in_child([] {
        OwnLockSource source{LockCap::no, 5 * kPage};
        TestMapping const mapping{3};
        lock_pages(mapping.page(0), 2);
        return source.limit_bytes() == 5 * kPage && source.mlocked_bytes() == 2 * kPage;
    }));
}

TEST(LockedMemory, an_excess_is_told_and_leaves_no_mark)
{
    FixedLockSource source{10 * kPage, LockCap::no, 3 * kPage};
    LockedMemory account{source, k4K};
    EXPECT_TRUE(account.charge(4, LockCap::no));
    EXPECT_EQ(account.excess(3, LockCap::no), 0U);
    EXPECT_EQ(account.excess(5, LockCap::no), 2U);
    EXPECT_EQ(account.excess(5, LockCap::yes), 0U);
    EXPECT_EQ(account.excess(kUnlimited, LockCap::no), kUnlimited - 10);
    EXPECT_EQ(account.needed_bytes(), 7 * kPage);
}

TEST(MlockedBytes, counts_what_is_locked_in_the_range_and_nothing_around_it)
{
    TestMapping const mapping{8};
    auto const in = [&](std::size_t first, std::size_t pages) {
        return mlocked_bytes_in({mapping.vaddr(first), mapping.vaddr(first) + (pages * kPage - 1)});
    };
    EXPECT_EQ(in(0, 8), 0U);
    ASSERT_TRUE(lock_pages(mapping.page(2), 3));
    EXPECT_EQ(in(0, 8), 3 * kPage);
    EXPECT_EQ(in(3, 1), kPage);
    EXPECT_EQ(in(0, 2), 0U);
    EXPECT_EQ(in(4, 4), kPage);
    ASSERT_TRUE(unlock_pages(mapping.page(2), 3));
    EXPECT_EQ(in(0, 8), 0U);
}

}  // namespace
}  // namespace pinfold::host
