#include "preload/own_stack.hpp"

#include <pthread.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstddef>

// The frame pointer leads back, for whoever unwinds.
asm(R"(
    .pushsection .text
    .p2align 4
    .globl pinfold_call_on_stack
    .hidden pinfold_call_on_stack
    .type pinfold_call_on_stack, @function
pinfold_call_on_stack:
    .cfi_startproc
    pushq %rbp
    .cfi_def_cfa_offset 16
    .cfi_offset %rbp, -16
    movq %rsp, %rbp
    .cfi_def_cfa_register %rbp
    movq %rdi, %rsp
    movq %rdx, %rdi
    callq *%rsi
    movq %rbp, %rsp
    popq %rbp
    .cfi_def_cfa %rsp, 8
    ret
    .cfi_endproc
    .size pinfold_call_on_stack, . - pinfold_call_on_stack
    .popsection
)");

extern "C" [[gnu::visibility("hidden")]] void pinfold_call_on_stack(std::byte* top,
                                                                    void (*work)(void*),
                                                                    void* argument);

namespace pinfold::preload::own_stack {
namespace {

// A device that somebody else has written works on it, too. Only what is touched takes memory.
constexpr std::size_t kSize = 1U << 20;
constexpr std::size_t kGuard = 4096;

#define PINFOLD_STACK_TLS [[gnu::tls_model("initial-exec")]] constinit thread_local
PINFOLD_STACK_TLS std::byte* own_top = nullptr;
PINFOLD_STACK_TLS stack_t last_alternate{};
PINFOLD_STACK_TLS bool alternate_known = false;

pthread_key_t key;
bool prepared = false;

bool lies_in(std::byte const* at, std::byte const* start, std::size_t size)
{
    return reinterpret_cast<std::size_t>(at) - reinterpret_cast<std::size_t>(start) < size;
}

void unmap(std::byte* top) { (void)::munmap(top - kSize - kGuard, kSize + kGuard); }

void thread_ends(void* top)
{
    own_top = nullptr;  // destructors of the client's may touch a register yet
    unmap(static_cast<std::byte*>(top));
}

// Not locked, also where the program locks all that will ever be mapped: its account knows nothing
// of it.
std::byte* map()
{
    void* const start = ::mmap(nullptr, kGuard + kSize, PROT_NONE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (start == MAP_FAILED) return nullptr;
    auto* const bottom = static_cast<std::byte*>(start) + kGuard;
    (void)::munlock(start, kGuard + kSize);
    if (::mprotect(bottom, kSize, PROT_READ | PROT_WRITE) == 0 &&
        ::pthread_setspecific(key, bottom + kSize) == 0)
        return bottom + kSize;
    unmap(bottom + kSize);
    return nullptr;
}

std::byte* top_of_this_thread()
{
    if (own_top != nullptr || !prepared) return own_top;
    int const saved = errno;
    own_top = map();
    errno = saved;
    return own_top;
}

stack_t const& alternate_of_this_thread()
{
    if (!alternate_known) {
        int const saved = errno;
        (void)::sigaltstack(nullptr, &last_alternate);
        alternate_known = true;
        errno = saved;
    }
    return last_alternate;
}

bool is_on(stack_t const& alternate, std::byte const* here)
{
    return (static_cast<unsigned>(alternate.ss_flags) & unsigned{SS_DISABLE}) == 0 &&
           lies_in(here, static_cast<std::byte const*>(alternate.ss_sp), alternate.ss_size);
}

struct Task {
    void (*work)(void*);
    void* argument;
};

// The kernel knows by the stack pointer whether the alternate stack is in use. It is, and the stack
// pointer is elsewhere: the next signal would be put over what lies on it.
class Disarmed {
public:
    Disarmed()
    {
        stack_t none{};
        none.ss_flags = SS_DISABLE;
        done_ = ::sigaltstack(&none, &former_) == 0;
    }
    ~Disarmed()
    {
        if (done_) (void)::sigaltstack(&former_, nullptr);
    }
    Disarmed(Disarmed const&) = delete;
    Disarmed& operator=(Disarmed const&) = delete;

private:
    stack_t former_{};
    bool done_;
};

void work_disarmed(void* raw)
{
    auto const& task = *static_cast<Task const*>(raw);
    Disarmed const disarmed;
    task.work(task.argument);
}

}  // namespace

void prepare() { prepared = prepared || ::pthread_key_create(&key, thread_ends) == 0; }

void forget_alternate() { alternate_known = false; }

void call(stack_t const* alternate, void (*work)(void*), void* argument)
{
    auto const* const here = static_cast<std::byte const*>(__builtin_frame_address(0));
    std::byte* const top = top_of_this_thread();
    if (top == nullptr || lies_in(here, top - kSize, kSize)) return work(argument);
    if (!is_on(alternate != nullptr ? *alternate : alternate_of_this_thread(), here))
        return pinfold_call_on_stack(top, work, argument);
    Task task{work, argument};
    pinfold_call_on_stack(top, work_disarmed, &task);
}

}  // namespace pinfold::preload::own_stack
