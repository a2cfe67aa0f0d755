// The program's own signal handlers and masks beside register accesses, and calls made by number.
// Prints what failed; exit status 0 where nothing did.
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/syscall.h>

#include <atomic>
#include <thread>

#include "vfio_client.hpp"

namespace {

sigjmp_buf way_out;
int volatile seen = 0;
void volatile* seen_at = nullptr;

void note(int signal)
{
    seen = signal;
    ::siglongjmp(way_out, 1);
}

void note_where(int signal, siginfo_t* info, void*)
{
    seen_at = info->si_addr;
    note(signal);
}

// A fault of the program's own reaches its handler, and registers work before and after.
bool own_fault_is_seen(Edu const& edu)
{
    static auto* const nothing =
        static_cast<char*>(::mmap(nullptr, kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    edu.registers[1] = 1;
    seen = 0;
    if (sigsetjmp(way_out, 1) == 0) *const_cast<char volatile*>(nothing + 5) = 1;
    edu.registers[1] = 2;
    return seen == SIGSEGV && edu.registers[1] == ~2U;
}

void handlers_of_every_kind(Edu const& edu)
{
    CHECK(::signal(SIGSEGV, note) == SIG_DFL);
    CHECK(own_fault_is_seen(edu));
    CHECK(::sysv_signal(SIGSEGV, note) == note);
    CHECK(own_fault_is_seen(edu));
    // It was for once.
    struct sigaction now{};
    CHECK(::sigaction(SIGSEGV, nullptr, &now) == 0 && now.sa_handler == SIG_DFL);
    CHECK(::ssignal(SIGSEGV, note) == SIG_DFL);
    CHECK(own_fault_is_seen(edu));
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    CHECK(::sigset(SIGSEGV, note) == note);
    CHECK(own_fault_is_seen(edu));
    CHECK(::sigset(SIGUSR1, SIG_HOLD) == SIG_DFL);
    CHECK(::sigset(SIGUSR1, SIG_HOLD) == SIG_HOLD);
    CHECK(::sigset(SIGUSR1, SIG_DFL) == SIG_HOLD);
    // A register answers with the fault blocked, too.
    CHECK(::sighold(SIGSEGV) == 0);
    edu.registers[1] = 3;
    CHECK(edu.registers[1] == ~3U);
    CHECK(::sigrelse(SIGSEGV) == 0);
#pragma GCC diagnostic pop
    CHECK(own_fault_is_seen(edu));
    struct sigaction action{};
    action.sa_sigaction = note_where;
    action.sa_flags = SA_SIGINFO;
    CHECK(::sigaction(SIGSEGV, &action, nullptr) == 0);
    CHECK(own_fault_is_seen(edu));
    CHECK((reinterpret_cast<std::uint64_t>(seen_at) & (kPage - 1)) == 5);
}

// On the alternate stack where the program asked for one, and only there.
void an_alternate_stack_is_used(Edu const& edu)
{
    static char stack[64 << 10];
    stack_t const alternate{.ss_sp = stack, .ss_flags = 0, .ss_size = sizeof stack};
    CHECK(::sigaltstack(&alternate, nullptr) == 0);
    static char volatile* where = nullptr;
    struct sigaction action{};
    action.sa_handler = [](int signal) {
        char here = 0;
        where = &here;
        note(signal);
    };
    action.sa_flags = SA_ONSTACK;
    CHECK(::sigaction(SIGSEGV, &action, nullptr) == 0);
    CHECK(own_fault_is_seen(edu));
    CHECK(where >= stack && where < stack + sizeof stack);
    edu.registers[1] = 77;
    CHECK(edu.registers[1] == ~77U);
    CHECK(::signal(SIGSEGV, SIG_DFL) == action.sa_handler);
}

// A handler's mask holds while it runs; a handler may touch registers.
void handlers_touch_registers(Edu const& edu)
{
    static Edu const* device = nullptr;
    static bool volatile blocked = false;
    device = &edu;
    struct sigaction action{};
    action.sa_handler = [](int) {
        sigset_t mask;
        ::sigprocmask(SIG_SETMASK, nullptr, &mask);
        blocked = ::sigismember(&mask, SIGUSR2) == 1;
        device->registers[1] = 0x44;
        asm volatile("lock incl %0" : "+m"(device->registers[1]));
    };
    ::sigaddset(&action.sa_mask, SIGUSR2);
    CHECK(::sigaction(SIGUSR1, &action, nullptr) == 0);
    CHECK(::raise(SIGUSR1) == 0);
    CHECK(blocked);
    CHECK(edu.registers[1] == ~(~0x44U + 1));
}

void calls_by_number(Edu const& edu)
{
    CHECK(::syscall(SYS_ioctl, edu.container, VFIO_GET_API_VERSION) == VFIO_API_VERSION);
    std::uint32_t ids = 0;
    CHECK(::syscall(SYS_pread64, edu.device, &ids, 4, edu.config_offset()) == 4);
    CHECK(ids == 0x11e81234);
    long const mapped = ::syscall(SYS_mmap, nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED,
                                  edu.device, edu.bar_offset());
    CHECK(mapped > 0);
    auto* const registers = reinterpret_cast<std::uint32_t volatile*>(mapped);
    registers[1] = 9;
    CHECK(registers[1] == ~9U);
    CHECK(::syscall(SYS_munmap, mapped, kPage) == 0);
    long const copy = ::syscall(SYS_dup, edu.container);
    CHECK(::syscall(SYS_ioctl, copy, VFIO_GET_API_VERSION) == VFIO_API_VERSION);
    CHECK(::syscall(SYS_close, copy) == 0);
    CHECK_FAILS(EBADF, ::syscall(SYS_ioctl, copy, VFIO_GET_API_VERSION));
    long const node = ::syscall(SYS_openat, AT_FDCWD, "/dev/vfio/vfio", O_RDWR);
    CHECK(::syscall(SYS_ioctl, node, VFIO_GET_API_VERSION) == VFIO_API_VERSION);
    CHECK(::syscall(SYS_close, node) == 0);
    CHECK(::syscall(SYS_getpid) == ::getpid());
    CHECK_FAILS(ENOSYS, ::syscall(100000, 1, 2, 3));
}

}  // namespace

int main()
{
    // A thread that blocks everything before there is any VFIO file, and then touches a register.
    std::atomic<Edu*> opened{nullptr};
    std::atomic<bool> started{false};
    std::thread early{[&] {
        sigset_t all;
        ::sigfillset(&all);
        (void)::pthread_sigmask(SIG_BLOCK, &all, nullptr);
        started = true;
        while (opened == nullptr) (void)::usleep(1000);
        Edu const& edu = *opened;
        edu.registers[1] = 0x55;
        CHECK(edu.registers[1] == ~0x55U);
    }};
    while (!started) (void)::usleep(1000);
    Edu edu;
    opened = &edu;
    early.join();

    handlers_of_every_kind(edu);
    an_alternate_stack_is_used(edu);
    handlers_touch_registers(edu);
    calls_by_number(edu);
    return finish();
}
