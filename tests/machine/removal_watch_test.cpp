#include "machine/removal_watch.hpp"

#include <gtest/gtest.h>

#include <condition_variable>
#include <fstream>
#include <mutex>
#include <vector>

#include "support/command.hpp"

namespace pinfold::machine {
namespace {

class RemovalWatchTest : public testing::Test {
protected:
    RemovalWatchTest()
    {
        for (auto const* const file : {"a", "b"}) std::ofstream{directory_ / file}.flush();
    }

    // The names told of, once there are `count`.
    std::vector<std::string> told(std::size_t count)
    {
        std::unique_lock lock{mutex_};
        changed_.wait_for(lock, std::chrono::seconds{10}, [&] { return told_.size() >= count; });
        return told_;
    }
    void write(char const* file) { std::ofstream{directory_ / file} << "1"; }

    test::Scratch scratch_;
    std::filesystem::path const& directory_ = scratch_.path();
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::string> told_;
    RemovalWatch watch_{[this](std::string const& name) {
        std::lock_guard const lock{mutex_};
        if (told_.empty() || told_.back() != name) told_.push_back(name);
        changed_.notify_all();
    }};
};

TEST_F(RemovalWatchTest, tells_which_file_was_written)
{
    ASSERT_TRUE(watch_.add(directory_ / "a", "first"));
    ASSERT_TRUE(watch_.add(directory_ / "b", "second"));
    ASSERT_TRUE(watch_.start());
    write("b");
    EXPECT_EQ(told(1), (std::vector<std::string>{"second"}));
    write("a");
    EXPECT_EQ(told(2), (std::vector<std::string>{"second", "first"}));
}

TEST_F(RemovalWatchTest, a_file_that_is_not_there_is_ENOENT_and_nothing_to_watch_needs_no_thread)
{
    EXPECT_EQ(watch_.add(directory_ / "c", "third").error(), Errno::noent);
    EXPECT_TRUE(watch_.start());
}

}  // namespace
}  // namespace pinfold::machine
