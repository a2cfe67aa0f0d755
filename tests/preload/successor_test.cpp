// A process that goes on with this one's memory, unseen by it.
#include "preload/successor.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <thread>

#include "base/standstill.hpp"

namespace pinfold::preload {
namespace {

std::atomic<int> children_heard_of{0};

// What the successor says of itself, in memory of both.
struct Said {
    std::atomic<int> settled, lived, process, group, parent_of_it;
};

class SuccessorTest : public testing::Test {
protected:
    SuccessorTest()
        : said{*static_cast<Said*>(::mmap(nullptr, sizeof(Said), PROT_READ | PROT_WRITE,
                                          MAP_SHARED | MAP_ANONYMOUS, -1, 0))}
    {
        children_heard_of = 0;
        struct sigaction action{};
        action.sa_handler = [](int) { ++children_heard_of; };
        (void)::sigaction(SIGCHLD, &action, &before_);
    }
    ~SuccessorTest() override { (void)::sigaction(SIGCHLD, &before_, nullptr); }

    Result<Successor> make()
    {
        return Successor::make([this] { ++said.settled; },
                               [this] {
                                   said.process = ::getpid();
                                   said.group = ::getpgrp();
                                   ++said.lived;
                               });
    }
    bool lives() const
    {
        for (int i = 0; i < 10000 && said.lived == 0; ++i) (void)::usleep(1000);
        return said.lived == 1;
    }

    Said& said;

private:
    struct sigaction before_{};
};

TEST_F(SuccessorTest, begins_when_it_is_told_and_is_nobodys_child)
{
    auto made = make();
    ASSERT_TRUE(made);
    EXPECT_EQ(said.settled, 1);
    EXPECT_EQ(said.lived, 0);
    made->begin();
    EXPECT_TRUE(lives());
    EXPECT_NE(said.process, ::getpid());
    EXPECT_EQ(said.group, said.process) << "no signal of the terminal's reaches it";
    EXPECT_EQ(::waitpid(-1, nullptr, __WALL), -1);
    EXPECT_EQ(errno, ECHILD);
    EXPECT_EQ(children_heard_of, 0);
}

TEST_F(SuccessorTest, begins_unasked_when_its_maker_has_gone)
{
    pid_t const maker = ::fork();
    if (maker == 0) {
        auto const made = make();
        ::_exit(made ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(maker, &status, 0), maker);
    EXPECT_EQ(status, 0);
    EXPECT_TRUE(lives());
}

TEST_F(SuccessorTest, is_as_if_it_had_never_been_when_it_is_dismissed)
{
    for (int i = 0; i < 20; ++i) {
        auto made = make();
        ASSERT_TRUE(made);
        made->dismiss();
    }
    (void)::usleep(20000);
    EXPECT_EQ(said.settled, 20);
    EXPECT_EQ(said.lived, 0);
    EXPECT_EQ(::waitpid(-1, nullptr, __WALL), -1);
    EXPECT_EQ(children_heard_of, 0);
}

TEST_F(SuccessorTest, can_be_made_by_any_thread_while_others_allocate)
{
    std::atomic<bool> stop{false};
    std::thread busy{[&] {
        while (!stop) std::free(std::malloc(1000));
    }};
    std::thread{[&] {
        for (int i = 0; i < 20; ++i) {
            auto made = Successor::make([&] { std::free(std::malloc(2000)); }, [] {});
            ASSERT_TRUE(made);
            made->dismiss();
        }
    }}.join();
    stop = true;
    busy.join();
}

TEST_F(SuccessorTest, is_refused_where_there_are_no_descriptors_and_leaves_none)
{
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    int const next = ::dup(0);
    ::close(next);
    rlimit const tight{static_cast<rlim_t>(next) + 1, before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
    auto const made = make();
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error(), Errno::mfile);
    int const again = ::dup(0);
    ::close(again);
    EXPECT_EQ(again, next);
}

}  // namespace
}  // namespace pinfold::preload
