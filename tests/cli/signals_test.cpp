// Signals and job control, with the launcher as a child of the test.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include <chrono>
#include <thread>

#include "cli/command.hpp"

namespace pinfold::cli {
namespace {

using namespace std::chrono_literals;

class Signals : public CommandTest {
protected:
    // Starts `pinfold run -- sh -c SCRIPT`, whose first line of output says that it is ready.
    void start(std::string const& script)
    {
        int ends[2];
        ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
        launcher_ = ::fork();
        if (launcher_ == 0) {
            (void)::dup2(ends[1], STDOUT_FILENO);
            (void)::setpgid(0, 0);
            ::execl(path("pinfold").c_str(), "pinfold", "run", "--", "sh", "-c", script.c_str(),
                    nullptr);
            ::_exit(99);
        }
        ::close(ends[1]);
        output_ = ends[0];
        ASSERT_EQ(line(), "ready");
    }
    void TearDown() override
    {
        if (launcher_ > 0) (void)::kill(-launcher_, SIGKILL);
        if (output_ >= 0) ::close(output_);
    }
    // The next line that the program writes; "" at the end.
    std::string line()
    {
        std::string text;
        char c = 0;
        while (::read(output_, &c, 1) == 1 && c != '\n') text += c;
        return text;
    }
    int status(int flags = 0)
    {
        int status = 0;
        EXPECT_EQ(::waitpid(launcher_, &status, flags), launcher_);
        return status;
    }

    pid_t launcher_ = -1;
    int output_ = -1;
};

TEST_F(Signals, what_is_sent_to_the_launcher_reaches_the_program)
{
    for (int const signal : {SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGINT, SIGQUIT, SIGRTMIN + 3}) {
        start(fmt::format("trap 'echo caught; exit 5' {}; echo ready; while :; do sleep 0.05; done",
                          signal));
        ASSERT_EQ(::kill(launcher_, signal), 0);
        EXPECT_EQ(line(), "caught") << signal;
        int const ended = status();
        EXPECT_TRUE(WIFEXITED(ended) && WEXITSTATUS(ended) == 5) << signal;
        ::close(output_);
    }
}

TEST_F(Signals, the_launcher_dies_of_the_signal_that_the_program_died_of)
{
    for (int const signal : {SIGTERM, SIGKILL, SIGSEGV, SIGABRT, SIGINT, SIGRTMIN}) {
        start(fmt::format("echo ready; kill -{} $$; sleep 10", signal));
        int const ended = status();
        EXPECT_TRUE(WIFSIGNALED(ended)) << signal;
        EXPECT_EQ(WTERMSIG(ended), signal);
        EXPECT_FALSE(WCOREDUMP(ended)) << "one core is enough";
        ::close(output_);
    }
}

TEST_F(Signals, a_launcher_that_is_killed_takes_the_program_with_it)
{
    start("echo ready; exec sleep 60");
    ASSERT_EQ(::kill(launcher_, SIGKILL), 0);
    (void)status();
    // The pipe ends when the last that holds it has gone.
    EXPECT_EQ(line(), "");
}

TEST_F(Signals, what_was_ignored_stays_ignored)
{
    auto const outcome = test::shell(fmt::format(
        "cd {}; trap '' HUP; ./pinfold run -- sh -c 'kill -HUP $$; echo alive'", dir().string()));
    EXPECT_EQ(outcome.out, "alive\n");
}

TEST_F(Signals, the_program_has_the_mask_and_the_dispositions_that_the_launcher_had)
{
    auto const look = "grep -E \"^Sig(Blk|Ign|Cgt)|^ShdPnd\" /proc/self/status";
    auto const without = test::shell(fmt::format("trap \"\" CHLD USR1; {}", look)).out;
    auto const with = test::shell(fmt::format("cd {}; trap \"\" CHLD USR1; ./pinfold run -- {}",
                                              dir().string(), look))
                          .out;
    EXPECT_EQ(with, without);
    EXPECT_NE(with, "");
}

TEST_F(Signals, the_launcher_stops_and_goes_on_with_the_program)
{
    start("echo ready; kill -TSTP $$; echo on; exit 3");
    int const stopped = status(WUNTRACED);
    ASSERT_TRUE(WIFSTOPPED(stopped));
    ASSERT_EQ(::kill(-launcher_, SIGCONT), 0);
    EXPECT_EQ(line(), "on");
    int const ended = status();
    EXPECT_TRUE(WIFEXITED(ended));
    EXPECT_EQ(WEXITSTATUS(ended), 3);
}

TEST_F(Signals, a_signal_while_the_program_stands_still_waits_for_it)
{
    start("trap 'exit 6' TERM; echo ready; kill -TSTP $$; while :; do sleep 0.05; done");
    ASSERT_TRUE(WIFSTOPPED(status(WUNTRACED)));
    ASSERT_EQ(::kill(launcher_, SIGTERM), 0);
    std::this_thread::sleep_for(50ms);
    ASSERT_EQ(::kill(launcher_, SIGCONT), 0);
    int const ended = status();
    EXPECT_TRUE(WIFEXITED(ended));
    EXPECT_EQ(WEXITSTATUS(ended), 6);
}

TEST_F(Signals, a_program_that_is_stopped_alone_can_be_continued_alone)
{
    // Again and again, since the first may come before the stop.
    start(
        "(while kill -CONT $$; do sleep 0.2; done 2>/dev/null) & echo ready; kill -STOP $$; exit "
        "4");
    int const ended = status(WUNTRACED);
    ASSERT_TRUE(WIFEXITED(ended)) << "the launcher must not have stopped";
    EXPECT_EQ(WEXITSTATUS(ended), 4);
}

}  // namespace
}  // namespace pinfold::cli
