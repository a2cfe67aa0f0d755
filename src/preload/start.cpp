// The engine's one export, and the C functions that stand behind the stub's.
#include <cstdlib>
#include <mutex>
#include <new>
#include <optional>

#include "base/read_section.hpp"
#include "preload/abi.h"
#include "preload/blocked_faults.hpp"
#include "preload/engine.hpp"
#include "preload/fd_table.hpp"
#include "preload/log.hpp"
#include "preload/own_stack.hpp"
#include "preload/signals.hpp"
#include "preload/uncancelled.hpp"

namespace {

using pinfold::Vaddr;
namespace blocked_faults = pinfold::preload::blocked_faults;
using pinfold::preload::Engine;
using pinfold::preload::FdTable;
using pinfold::preload::Inside;
using pinfold::preload::Signals;
using pinfold::preload::Uncancelled;

// Lives until the process ends: other threads may be in it to the last.
std::atomic<Engine*> current{nullptr};

Engine& engine() { return *current.load(std::memory_order_acquire); }

Vaddr vaddr_of(void const* address) { return Vaddr{reinterpret_cast<std::uint64_t>(address)}; }

Signals::Verdict on_fault(siginfo_t const& info, ucontext_t& context)
{
    return engine().carry_out_mmio(info, context);
}

// A call of the client's: on the engine's stack, and its handlers come afterwards.
auto entered(auto&& work)
{
    Inside const inside;
    return pinfold::preload::own_stack::run(nullptr, work);
}

// What may run out of memory.
long short_of_memory(auto&& work)
{
    try {
        return work();
    } catch (std::bad_alloc const&) {
        return -ENOMEM;
    }
}

long guarded(auto&& work)
{
    return entered([&]() -> long { return short_of_memory(work); });
}

// What waits until nobody is inside, or for who does.
void outside(auto&& work)
{
    Uncancelled const uncancelled;
    (void)short_of_memory([&] { return work(), 0L; });
}

constexpr pinfold_engine kFunctions{
    .ioctl =
        [](int fd, unsigned long request, unsigned long arg) {
            return entered([=] { return engine().ioctl(fd, request, arg); });
        },
    .pread = [](int fd, void* buffer, size_t size, off_t offset) -> long {
        if (offset < 0) return -EINVAL;
        return entered([=] {
            return engine().pread(fd, vaddr_of(buffer), size, static_cast<std::uint64_t>(offset));
        });
    },
    .pwrite = [](int fd, void const* buffer, size_t size, off_t offset) -> long {
        if (offset < 0) return -EINVAL;
        return entered([=] {
            return engine().pwrite(fd, vaddr_of(buffer), size, static_cast<std::uint64_t>(offset));
        });
    },
    .mmap =
        [](void* address, size_t size, int prot, int flags, int fd, off_t offset) {
            return guarded([=] {
                return engine().mmap(address, size, prot, flags, fd,
                                     static_cast<std::uint64_t>(offset));
            });
        },
    .read =
        [](int fd, void* buffer, size_t size) {
            return entered([=] { return engine().read(fd, vaddr_of(buffer), size); });
        },
    .write =
        [](int fd, void const* buffer, size_t size) {
            return entered([=] { return engine().write(fd, vaddr_of(buffer), size); });
        },
    .readv =
        [](int fd, iovec const* parts, long count, off_t offset, int flags) {
            return entered(
                [=] { return engine().vectors(Engine::Way::in, fd, parts, count, offset, flags); });
        },
    .writev =
        [](int fd, iovec const* parts, long count, off_t offset, int flags) {
            return entered([=] {
                return engine().vectors(Engine::Way::out, fd, parts, count, offset, flags);
            });
        },
    .stand_in = [](int fd) { return engine().stand_in(fd); },
    .opened = [](int fd) { return guarded([&] { return engine().opened(fd); }); },
    .adopt = [](int fd) { return guarded([&] { return engine().adopt(fd); }); },
    .sending = [](int fd,
                  int sent) { guarded([&] { return engine().sending(fd, sent != 0), 0L; }); },
    .share = [] { outside([] { engine().share(); }); },
    .before_exec =
        [](char* held, size_t room) {
            *held = '\0';
            outside([&] { engine().before_exec({held, room}); });
        },
    .exec_failed = [] { outside([] { engine().exec_failed(); }); },
    .before_spawn =
        [](int any_fd, char* held, size_t room) {
            *held = '\0';
            outside([&] { engine().before_spawn(any_fd != 0, {held, room}); });
        },
    .after_spawn = [] { outside([] { engine().after_spawn(); }); },
    .before_vfork = [] { outside([] { engine().before_vfork(); }); },
    .after_vfork = [] { outside([] { engine().after_vfork(); }); },
    .before_borrowed_exec =
        [](char* held, size_t room) {
            outside([&] { engine().before_borrowed_exec({held, room}); });
        },
    .borrowed_exec_failed = [] { outside([] { engine().borrowed_exec_failed(); }); },
    .take_held = [](char const* held) { guarded([held] { return engine().take_held(held), 0L; }); },
    .before_exit = [] { outside([] { engine().before_exit(); }); },
    .before_fork =
        [] {
            outside([] { engine().before_fork(); });
            pinfold::readers_before_fork();
        },
    .after_fork =
        [] {
            pinfold::readers_after_fork();
            outside([] { engine().after_fork(); });
        },
    .in_child =
        [] {
            pinfold::readers_in_child();
            outside([] { engine().become_child(); });
        },
    .closed =
        [](uint32_t file) {
            entered([=] { engine().closed(static_cast<pinfold::uapi::FileId>(file)); });
        },
    .duplicated = [](int fd, int copy) { entered([=] { engine().duplicated(fd, copy); }); },
    .leaving =
        [](void* address, size_t size, pinfold_leaving how) {
            using Leaving = Engine::Leaving;
            auto const kind = how == PINFOLD_UNMAP     ? Leaving::unmap
                              : how == PINFOLD_DISCARD ? Leaving::discard
                                                       : Leaving::punch;
            return guarded([&] { return engine().leaving(address, size, kind); });
        },
    .mremap =
        [](void* address, size_t size, size_t new_size, int flags, void* new_address) {
            return guarded(
                [&] { return engine().mremap(address, size, new_size, flags, new_address); });
        },
    .locking =
        [](void const* address, size_t size, pinfold_locking how) {
            return engine().locking(address, size, how == PINFOLD_MAP_LOCKED);
        },
    .status = [](int fd) { guarded([fd] { return engine().status(fd), 0L; }); },
    .bars = &pinfold::preload::BarMap::span,
    .in_bar = [](void const* start, size_t size) { return engine().in_bar(start, size) ? 1 : 0; },
    .copy_bar =
        [](void* buffer, void* memory, size_t size, int out) {
            return guarded([=] {
                return engine().copy_bar(buffer, {static_cast<std::byte*>(memory), size},
                                         out != 0 ? Engine::Way::out : Engine::Way::in);
            });
        },
    .mprotect =
        [](void* address, size_t size, int prot) {
            return guarded([=] { return engine().mprotect(address, size, prot); });
        },
    .sigaction = [](int signal, struct sigaction const* action,
                    struct sigaction* old) { return Signals::action(signal, action, old); },
    .alternate_changed = [] { pinfold::preload::own_stack::forget_alternate(); },
    .mask = [](int how, sigset_t const* set,
               sigset_t* old) { return Signals::mask(how, set, old); },
    .swap_mask =
        [](sigset_t* set, unsigned* former) {
            auto const named = blocked_faults::in(*set);
            blocked_faults::remove(*set);
            if (former != nullptr) *former = blocked_faults::now();
            return blocked_faults::become(named) ? 1 : 0;
        },
    .restore_mask = [](unsigned blocked) { (void)blocked_faults::become(blocked); },
    .take_kept = [](sigset_t const* wanted, siginfo_t* info) -> int {
        return blocked_faults::take(blocked_faults::in(*wanted), *info) ? 1 : 0;
    },
    .add_kept = [](sigset_t* pending) { blocked_faults::add(*pending, blocked_faults::kept()); },
};

}  // namespace

extern "C" [[gnu::visibility("default")]] pinfold_engine const* pinfold_engine_start(
    std::uint32_t* table, char const* state)
{
    try {
        FdTable::hide_own_descriptors(table);
        pinfold::preload::open_log(state);
        auto made = Engine::create(state, table);
        if (!made) {
            pinfold::preload::log_line(made.error());
            return nullptr;
        }
        current.store(made->release(), std::memory_order_release);
        (void)std::atexit([] { engine().publish(); });
        Signals::start(on_fault);
        return &kFunctions;
    } catch (std::bad_alloc const&) {
        return nullptr;
    }
}
