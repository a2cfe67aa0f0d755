// Small stacks: a handler's of 8 KiB, as some runtimes install one for SIGSEGV, and a thread's of
// PTHREAD_STACK_MIN. NVMe commands are given on them, whose work takes more; what lies below the
// stack stays as it is. Prints what failed; exit status 0 where nothing did.
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>

#include "vfio_client.hpp"

namespace {

constexpr std::size_t kSmall = 8192;
constexpr std::size_t kCanary = 64 << 10;
constexpr std::uint8_t kUntouched = 0xa5;

// A stack with memory below it that is not the stack's.
struct Stack {
    std::size_t size;
    std::uint8_t* const canary;

    explicit Stack(std::size_t bytes) : size{bytes}, canary{memory(kCanary + bytes)}
    {
        std::fill_n(canary, kCanary, kUntouched);
    }
    void* start() const { return canary + kCanary; }
    bool kept_to() const
    {
        return std::all_of(canary, canary + kCanary,
                           [](std::uint8_t byte) { return byte == kUntouched; });
    }
};

// The admin queue of an NVMe controller and nothing else: queues of 16 at IOVA 0, data behind them.
class Controller {
public:
    explicit Controller(Edu const& vfio) : vfio_{vfio}
    {
        CHECK(vfio.map(memory_, 0, 8 * kPage) == 0);
        vfio.registers[0x14 / 4] = 0;
        vfio.registers[0x24 / 4] = 15U << 16 | 15U;
        vfio.set(0x28, 0);
        vfio.set(0x30, kPage);
        vfio.registers[0x14 / 4] = 0x460001;
    }

    enum class By { register_write, pwrite };
    // The status of Identify Controller, and of a log page of 512 bytes.
    int identify(By by) { return command({0x06, 0, 0, 0, 1}, by); }
    int error_log(By by) { return command({0x02, 0, 0, 0, 127U << 16 | 1U}, by); }
    // What Identify found.
    bool has_model() const { return memory_[2 * kPage + 24] > ' '; }
    void forget_model() { memory_[2 * kPage + 24] = 0; }

private:
    struct Command {
        std::uint32_t opcode, unused, prp1, prp2, dword10;
    };

    int command(Command const& given, By by)
    {
        std::array<std::uint32_t, 16> words{};
        words[0] = given.opcode;
        words[6] = 2 * kPage;
        words[10] = given.dword10;
        std::memcpy(memory_ + 64U * tail_, words.data(), sizeof words);
        tail_ = (tail_ + 1) % 16;
        ring(0x1000, tail_, by);
        std::uint16_t status = 0;
        std::memcpy(&status, memory_ + kPage + 16U * head_ + 14, sizeof status);
        if ((status & 1U) != phase_) return -1;
        head_ = (head_ + 1) % 16;
        if (head_ == 0) phase_ ^= 1U;
        ring(0x1004, head_, by);
        return status >> 1;
    }
    void ring(unsigned at, std::uint32_t value, By by)
    {
        if (by == By::register_write)
            doorbells_[(at - 0x1000) / 4] = value;
        else
            CHECK(::pwrite(vfio_.device, &value, 4, vfio_.bar_offset() + at) == 4);
    }
    std::uint32_t volatile* map_doorbells() const
    {
        void* const at = ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, vfio_.device,
                                vfio_.bar_offset() + static_cast<off_t>(kPage));
        if (at == MAP_FAILED) must(-1, "mmap doorbells");
        return static_cast<std::uint32_t volatile*>(at);
    }

    Edu const& vfio_;
    std::uint8_t* const memory_ = memory(8 * kPage);
    std::uint32_t volatile* const doorbells_ = map_doorbells();
    std::uint32_t tail_ = 0, head_ = 0;
    unsigned phase_ = 1;
};

Controller* controller = nullptr;
Edu const* device = nullptr;

void give_commands()
{
    for (auto const by : {Controller::By::register_write, Controller::By::pwrite}) {
        controller->forget_model();
        CHECK(controller->identify(by) == 0);
        CHECK(controller->has_model());
        CHECK(controller->error_log(by) == 0);
    }
}

// The interrupt mask: reads of it do not trap, writes do.
constexpr std::size_t kMaskSet = 0x0c / 4, kMaskClear = 0x10 / 4;

// An access by code that ends where its page does: fetching the longest instruction there faults
// inside the engine.
void access_at_the_end_of_code()
{
    static auto* const code = [] {
        constexpr std::array<std::uint8_t, 3> kStoreAndReturn{0x89, 0x37, 0xc3};
        auto* const pages = memory(2 * kPage);
        std::memcpy(pages + kPage - kStoreAndReturn.size(), kStoreAndReturn.data(),
                    kStoreAndReturn.size());
        CHECK(::mprotect(pages, kPage, PROT_READ | PROT_EXEC) == 0);
        CHECK(::mprotect(pages + kPage, kPage, PROT_NONE) == 0);
        return pages + kPage - kStoreAndReturn.size();
    }();
    using Store = void (*)(std::uint32_t volatile* to, std::uint32_t value);
    auto* const store = reinterpret_cast<Store>(code);
    store(&device->registers[kMaskSet], 1);
    CHECK(device->registers[kMaskSet] == 1);
    store(&device->registers[kMaskClear], 1);
    CHECK(device->registers[kMaskSet] == 0);
}

void use(Stack const& stack)
{
    stack_t const alternate{.ss_sp = stack.start(), .ss_flags = 0, .ss_size = stack.size};
    CHECK(::sigaltstack(&alternate, nullptr) == 0);
}

bool is_armed(Stack const& stack)
{
    stack_t now{};
    return ::sigaltstack(nullptr, &now) == 0 && now.ss_sp == stack.start() &&
           (now.ss_flags & SS_DISABLE) == 0;
}

// The trap itself is taken on it.
void a_handler_for_faults_has_a_small_stack()
{
    Stack const stack{kSmall};
    use(stack);
    struct sigaction action{};
    action.sa_flags = SA_ONSTACK | SA_SIGINFO;
    action.sa_sigaction = [](int, siginfo_t*, void*) { ::_exit(3); };
    CHECK(::sigaction(SIGSEGV, &action, nullptr) == 0);
    give_commands();
    access_at_the_end_of_code();
    CHECK(is_armed(stack));
    CHECK(stack.kept_to());
    CHECK(::signal(SIGSEGV, SIG_DFL) != SIG_ERR);
}

// The program's own code runs on it, and gives commands from there; `faults_too`: on the same stack
// as traps are taken.
void a_handler_on_a_small_stack_gives_commands(bool faults_too)
{
    Stack const stack{2 * kSmall};
    use(stack);
    struct sigaction action{};
    action.sa_flags = SA_ONSTACK;
    action.sa_handler = [](int) {
        std::array<char volatile, 512> own{};
        give_commands();
        access_at_the_end_of_code();
        CHECK(std::all_of(own.begin(), own.end(), [](char volatile& byte) { return byte == 0; }));
    };
    CHECK(::sigaction(SIGUSR1, &action, nullptr) == 0);
    if (faults_too) {
        action.sa_handler = [](int) { ::_exit(4); };
        CHECK(::sigaction(SIGSEGV, &action, nullptr) == 0);
    }
    CHECK(::raise(SIGUSR1) == 0);
    CHECK(is_armed(stack));
    CHECK(stack.kept_to());
    CHECK(::signal(SIGSEGV, SIG_DFL) != SIG_ERR);
}

void threads_have_small_stacks()
{
    Stack const stack{static_cast<std::size_t>(PTHREAD_STACK_MIN)};
    pthread_attr_t attributes;
    pthread_t thread;
    for (int i = 0; i < 3; ++i) {
        CHECK(::pthread_attr_init(&attributes) == 0);
        CHECK(::pthread_attr_setstack(&attributes, stack.start(), stack.size) == 0);
        auto* const body = +[](void*) -> void* { return give_commands(), nullptr; };
        CHECK(::pthread_create(&thread, &attributes, body, nullptr) == 0);
        CHECK(::pthread_join(thread, nullptr) == 0);
        CHECK(stack.kept_to());
    }
}

// The memory that a thread's traps took goes with it.
long mapped_kilobytes()
{
    std::FILE* const status = std::fopen("/proc/self/statm", "r");
    long pages = 0;
    CHECK(status != nullptr && std::fscanf(status, "%ld", &pages) == 1);
    (void)std::fclose(status);
    return pages * 4;
}

void many_threads_leave_nothing()
{
    auto* const body = +[](void*) -> void* {
        device->registers[kMaskClear] = 1;
        return nullptr;
    };
    long before = 0;
    for (int i = 0; i < 200; ++i) {
        if (i == 20) before = mapped_kilobytes();
        pthread_t thread;
        CHECK(::pthread_create(&thread, nullptr, body, nullptr) == 0);
        CHECK(::pthread_join(thread, nullptr) == 0);
    }
    CHECK(mapped_kilobytes() - before < 16 << 10);
}

}  // namespace

int main()
{
    Edu const vfio;
    Controller nvme{vfio};
    device = &vfio;
    controller = &nvme;
    give_commands();
    access_at_the_end_of_code();
    a_handler_for_faults_has_a_small_stack();
    a_handler_on_a_small_stack_gives_commands(false);
    a_handler_on_a_small_stack_gives_commands(true);
    threads_have_small_stacks();
    many_threads_leave_nothing();
    return finish();
}
