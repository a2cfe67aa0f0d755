#include "preload/successor.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/unheeding.hpp"
#include "machine/run_names.h"

namespace pinfold::preload {
namespace {

enum class Word : char { ready, begin, end };

void say(UniqueFd const& lifeline, Word word)
{
    (void)::send(lifeline.get(), &word, sizeof word, MSG_NOSIGNAL);
}

// Word::begin also where the other end is closed.
Word hear(UniqueFd const& lifeline)
{
    Word word = Word::begin;
    ssize_t got = -1;
    do {
        got = ::recv(lifeline.get(), &word, sizeof word, 0);
    } while (got < 0 && errno == EINTR);
    return got == sizeof word ? word : Word::begin;
}

void close(UniqueFd& fd) { UniqueFd const gone = std::move(fd); }

class Stack {
public:
    static constexpr std::size_t kSize = std::size_t{1} << 20;

    Stack()
        : base_{::mmap(nullptr, kSize, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0)}
    {
    }
    ~Stack()
    {
        if (*this) (void)::munmap(base_, kSize);
    }
    Stack(Stack const&) = delete;
    Stack& operator=(Stack const&) = delete;

    explicit operator bool() const { return base_ != MAP_FAILED; }
    std::byte* top() const { return static_cast<std::byte*>(base_) + kSize; }

private:
    void* base_;
};

struct Birth {
    std::array<UniqueFd, 2>& ends;
    FunctionRef<void()> settle, live;
    pid_t child = -1;
};

void leave_the_users_sight()
{
    (void)::setsid();
    (void)!::chdir("/");
    (void)::prctl(PR_SET_NAME, PINFOLD_KEEPER);
    int const null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int const fd : {0, 1, 2})
        if (null != fd) (void)::dup3(null, fd, O_CLOEXEC);
    if (null > 2) ::close(null);
}

[[noreturn]] void successor(Birth& birth)
{
    close(birth.ends[0]);
    birth.settle();
    leave_the_users_sight();
    say(birth.ends[1], Word::ready);
    if (hear(birth.ends[1]) == Word::begin) birth.live();
    ::_exit(0);
}

// A process for a moment, in our memory and on this stack, while our thread waits: its child is not
// ours.
int between(void* argument)
{
    auto& birth = *static_cast<Birth*>(argument);
    pid_t const child = ::fork();
    if (child == 0) successor(birth);
    birth.child = child;
    ::_exit(0);
}

}  // namespace

Result<Successor> Successor::make(FunctionRef<void()> settle, FunctionRef<void()> live)
{
    std::array<int, 2> sockets{};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets.data()) != 0)
        return fail(Errno::mfile);
    std::array<UniqueFd, 2> ends{UniqueFd{sockets[0]}, UniqueFd{sockets[1]}};
    Stack const stack;
    if (!stack) return fail(Errno::nomem);
    Birth birth{ends, settle, live};
    {
        Unheeding const unheeding;
        // No signal at its end, so that no handler hears of it. Its descriptors are ours: other
        // threads open and close them until its fork.
        pid_t const mother =
            ::clone(between, stack.top(), CLONE_VM | CLONE_VFORK | CLONE_FILES, &birth);
        if (mother < 0) return fail(Errno::again);
        while (::waitpid(mother, nullptr, static_cast<int>(__WCLONE)) < 0 && errno == EINTR) {
        }
    }
    if (birth.child < 0) return fail(Errno::again);
    close(ends[1]);
    Successor made{std::move(ends[0])};
    if (hear(made.lifeline_) != Word::ready) return fail(Errno::again);
    return made;
}

void Successor::begin() { say(lifeline_, Word::begin); }

void Successor::dismiss()
{
    say(lifeline_, Word::end);
    (void)hear(lifeline_);
}

}  // namespace pinfold::preload
