#include "host/guarded_copy.hpp"

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <thread>
#include <vector>

#include "host/support.hpp"

namespace pinfold::host {
namespace {

class GuardedCopy : public testing::Test {
protected:
    GuardedCopy() { install_recovery(); }
};

// Three pages, the last of which is gone.
class Cliff {
public:
    Cliff() { mapping_.unmap(2, 1); }
    std::byte* edge() const { return mapping_.page(2); }

private:
    TestMapping mapping_{3};
};

TEST_F(GuardedCopy, copies_what_is_there)
{
    std::vector<std::byte> const from(10000, std::byte{5});
    std::vector<std::byte> to(10001, std::byte{1});
    EXPECT_EQ(guarded_copy(to.data(), from.data(), from.size()), 0U);
    EXPECT_EQ(to[9999], std::byte{5});
    EXPECT_EQ(to[10000], std::byte{1});
}

TEST_F(GuardedCopy, copies_every_length_and_no_byte_more)
{
    std::vector<std::byte> from(1100);
    for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<std::byte>(i * 7 + 1);
    for (std::ptrdiff_t size = 0; size <= 1024; ++size) {
        std::vector<std::byte> to(1100, std::byte{0xee});
        ASSERT_EQ(guarded_copy(to.data() + 1, from.data() + 2, static_cast<std::size_t>(size)), 0U);
        ASSERT_TRUE(std::equal(to.begin() + 1, to.begin() + 1 + size, from.begin() + 2)) << size;
        ASSERT_EQ(to[0], std::byte{0xee});
        ASSERT_EQ(std::ranges::count(to.begin() + 1 + size, to.end(), std::byte{0xee}),
                  std::ssize(to) - 1 - size)
            << size;
    }
}

// Two threads hand a word to and fro: a copy that wrote it twice would bring back an old value, and
// one that wrote it in pieces a mixed one.
TEST_F(GuardedCopy, of_a_word_is_one_access)
{
    alignas(8) std::atomic<std::uint64_t> word{0};
    std::atomic<bool> stop{false};
    std::uint64_t mixed = 0;
    std::thread reader{[&] {
        while (!stop) {
            std::uint64_t const seen = word;
            if (seen != 0 && seen != ~std::uint64_t{0}) ++mixed;
        }
    }};
    for (int i = 0; i < 200'000; ++i) {
        std::uint64_t const value = i % 2 == 0 ? 0 : ~std::uint64_t{0};
        ASSERT_EQ(guarded_copy(&word, &value, 8), 0U);
    }
    stop = true;
    reader.join();
    EXPECT_EQ(mixed, 0U);
}

TEST_F(GuardedCopy, of_nothing_touches_nothing)
{
    EXPECT_EQ(guarded_copy(nullptr, nullptr, 0), 0U);
}

TEST_F(GuardedCopy, says_how_many_bytes_a_missing_source_cost)
{
    Cliff const cliff;
    std::array<std::byte, 64> to{};
    for (std::size_t reach = 0; reach <= 64; ++reach) {
        std::memset(cliff.edge() - reach, 9, reach);
        to.fill(std::byte{1});
        ASSERT_EQ(guarded_copy(to.data(), cliff.edge() - reach, 64), 64 - reach);
        ASSERT_EQ(std::ranges::count(to, std::byte{9}), static_cast<std::ptrdiff_t>(reach));
        ASSERT_TRUE(std::all_of(to.begin() + reach, to.end(),
                                [](std::byte byte) { return byte == std::byte{1}; }));
    }
}

TEST_F(GuardedCopy, says_how_many_bytes_a_missing_target_cost)
{
    Cliff const cliff;
    std::array<std::byte, 64> from{};
    for (std::size_t reach = 0; reach <= 64; ++reach) {
        from.fill(static_cast<std::byte>(reach));
        ASSERT_EQ(guarded_copy(cliff.edge() - reach, from.data(), 64), 64 - reach);
        ASSERT_TRUE(std::all_of(cliff.edge() - reach, cliff.edge(),
                                [&](std::byte byte) { return byte == from[0]; }));
    }
}

TEST_F(GuardedCopy, does_not_write_where_it_may_not)
{
    TestMapping const mapping{1, PROT_READ};
    std::array<std::byte, 8> const from{};
    EXPECT_EQ(guarded_copy(mapping.page(0), from.data(), 8), 8U);
}

TEST_F(GuardedCopy, survives_the_end_of_a_file)
{
    auto const file = memory_file(1);
    TestMapping const mapping{2, PROT_READ | PROT_WRITE, MAP_SHARED, file.get()};
    std::array<std::byte, 16> to{};
    EXPECT_EQ(guarded_copy(to.data(), mapping.page(1) - 6, 16), 10U);
}

TEST_F(GuardedCopy, survives_addresses_that_no_process_has)
{
    std::array<std::byte, 8> to{};
    for (auto const address : {0x0UL, 0x8000'0000'0000UL, 0xffff'8000'0000'0000UL, ~0UL - 7}) {
        EXPECT_EQ(guarded_copy(to.data(), reinterpret_cast<void const*>(address), 8), 8U);
    }
}

TEST_F(GuardedCopy, is_recovered_from_in_any_thread_and_again_and_again)
{
    std::byte byte{};
    for (int i = 0; i < 1000; ++i) ASSERT_EQ(guarded_copy(&byte, nullptr, 1), 1U);
}

// Each of these runs in a fresh process, where install_recovery() has not been called yet.
class GuardedCopyDeathTest : public testing::Test {
protected:
    void SetUp() override
    {
#ifdef __SANITIZE_ADDRESS__
        GTEST_SKIP() << "the sanitizer's own handlers are in the way";
#endif
        GTEST_FLAG_SET(death_test_style, "threadsafe");
    }
    static std::byte* forbidden()
    {
        static TestMapping const mapping{1, PROT_NONE};
        return mapping.page(0);
    }
    static void touch_the_forbidden() { *static_cast<std::byte volatile*>(forbidden()) = {}; }
    static void handle(int signal, void (*handler)(int), int flags)
    {
        struct sigaction action = {};
        action.sa_handler = handler;
        action.sa_flags = flags;
        ::sigaction(signal, &action, nullptr);
    }
};

TEST_F(GuardedCopyDeathTest, a_fault_that_is_not_its_own_kills_as_ever)
{
    EXPECT_EXIT(
        {
            install_recovery();
            touch_the_forbidden();
        },
        testing::KilledBySignal(SIGSEGV), "");
}

TEST_F(GuardedCopyDeathTest, nobody_can_ignore_a_fault)
{
    EXPECT_EXIT(
        {
            handle(SIGSEGV, SIG_IGN, 0);
            install_recovery();
            touch_the_forbidden();
        },
        testing::KilledBySignal(SIGSEGV), "");
}

TEST_F(GuardedCopyDeathTest, a_signal_that_somebody_sends_kills_as_ever)
{
    EXPECT_EXIT(
        {
            install_recovery();
            ::raise(SIGBUS);
            std::_Exit(0);
        },
        testing::KilledBySignal(SIGBUS), "");
}

TEST_F(GuardedCopyDeathTest, a_signal_that_somebody_sends_can_be_ignored)
{
    EXPECT_EXIT(
        {
            handle(SIGSEGV, SIG_IGN, 0);
            install_recovery();
            ::raise(SIGSEGV);
            std::_Exit(7);
        },
        testing::ExitedWithCode(7), "");
}

TEST_F(GuardedCopyDeathTest, an_earlier_handler_gets_what_is_not_a_copys)
{
    EXPECT_EXIT(
        {
            handle(SIGSEGV, [](int signal) { std::_Exit(signal == SIGSEGV ? 3 : 4); }, 0);
            install_recovery();
            std::byte byte{};
            if (guarded_copy(&byte, nullptr, 1) != 1) std::_Exit(5);
            touch_the_forbidden();
        },
        testing::ExitedWithCode(3), "");
}

TEST_F(GuardedCopyDeathTest, an_earlier_handler_with_siginfo_gets_the_address)
{
    EXPECT_EXIT(
        {
            struct sigaction action = {};
            action.sa_flags = SA_SIGINFO;
            action.sa_sigaction = [](int, siginfo_t* info, void*) {
                std::_Exit(info->si_addr == forbidden() ? 3 : 4);
            };
            ::sigaction(SIGSEGV, &action, nullptr);
            install_recovery();
            install_recovery();  // twice is once: it must not become its own earlier handler
            touch_the_forbidden();
        },
        testing::ExitedWithCode(3), "");
}

}  // namespace
}  // namespace pinfold::host
