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

TEST(Readers, with_sections_fence_from_when_the_barrier_is_taken_away)
{
    pid_t const child = ::fork();
    if (child == 0) ::_exit(after_the_loss());
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    if (WEXITSTATUS(status) == cannot_be_tried) GTEST_SKIP() << "no membarrier(2) or no filters";
    EXPECT_EQ(WEXITSTATUS(status), fences);
}

}  // namespace
}  // namespace pinfold::native
