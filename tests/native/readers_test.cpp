// Readers where membarrier(2) is taken away from a program that has had it.
#include "native/readers.hpp"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstddef>

namespace pinfold::native {
namespace {

// For this thread, for good.
bool forbid_membarrier()
{
    std::array<sock_filter, 4> code{{
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    }};
    sock_fprog const program{static_cast<unsigned short>(code.size()), code.data()};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}

enum Outcome : int { fences, stays_plain, cannot_be_tried };

Outcome after_the_loss()
{
    Readers readers;
    auto* const reader = readers.add(Reading::sections).value();
    auto* const polling = readers.add(Reading::polling).value();
    if (reader->reading() != Reading::sections || !forbid_membarrier()) return cannot_be_tried;
    readers.wait(polling);
    bool const all_fence = reader->reading() == Reading::fenced &&
                           readers.add(Reading::sections).value()->reading() == Reading::fenced;
    readers.remove(reader);
    readers.wait(polling);
    return all_fence && polling->reading() == Reading::polling ? fences : stays_plain;
}

// Whether a wait needs the barrier is seen where it has been taken away: the reader is a fenced one
// from then on.
bool needs_the_barrier(Readers& readers, Readers::Reader const* reader)
{
    readers.wait(nullptr);
    return reader->reading() == Reading::fenced;
}

Outcome after_a_rest(unsigned sections)
{
    Readers readers;
    auto* const reader = readers.add(Reading::sections).value();
    for (unsigned wait = 0; wait < 10; ++wait) readers.wait(nullptr);
    if (reader->reading() != Reading::sections || !forbid_membarrier()) return cannot_be_tried;
    for (unsigned section = 0; section < sections; ++section) {
        if (needs_the_barrier(readers, reader)) return fences;
        reader->enter();
        reader->leave();
    }
    return needs_the_barrier(readers, reader) ? fences : stays_plain;
}

// What `what` says in a process of its own, where membarrier(2) is forbidden.
template <class What>
void expect_in_a_child(Outcome expected, What what)
{
    pid_t const child = ::fork();
    if (child == 0) ::_exit(what());
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    if (WEXITSTATUS(status) == cannot_be_tried) GTEST_SKIP() << "no membarrier(2) or no filters";
    EXPECT_EQ(WEXITSTATUS(status), expected);
}

TEST(Readers, with_sections_fence_from_when_the_barrier_is_taken_away)
{
    expect_in_a_child(fences, after_the_loss);
}

TEST(Readers, that_are_idle_for_long_cost_no_barrier_until_they_are_busy_again)
{
    expect_in_a_child(stays_plain, [] { return after_a_rest(0); });
    expect_in_a_child(stays_plain, [] { return after_a_rest(63); });
    expect_in_a_child(fences, [] { return after_a_rest(200); });
}

}  // namespace
}  // namespace pinfold::native
