#include "host/remote_memory.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <span>

#include "base/page_size.hpp"
#include "base/read_section.hpp"
#include "host/raw_memory.hpp"

namespace pinfold::host {
namespace {

constexpr std::uint64_t kWindow = std::uint64_t{1} << 30;

// Around a window, so that what follows the last byte of one is no place of another, nor memory.
constexpr std::uint64_t kGap = k4K.bytes();

// A window of places: [start, start + kWindow) stands for what is at `vaddr` behind `memory`.
struct Window {
    std::byte* start;
    std::uint64_t vaddr;
    std::atomic<int> memory;  // -1: the process has ended
};

// They only grow in number: frames may stand on them as long as this process lives.
constexpr std::size_t kWindows = 4096;
std::array<Window, kWindows> windows;
std::atomic<std::size_t> window_count{0};
std::mutex growing;

Window const* window_of(std::byte const* place)
{
    std::size_t const count = window_count.load(std::memory_order_acquire);
    auto const all = std::span{windows}.first(count);
    auto const found = std::ranges::find_if(all, [&](Window const& window) {
        return place >= window.start && place < window.start + kWindow;
    });
    return found == all.end() ? nullptr : &*found;
}

std::byte* make_window(std::uint64_t vaddr, int memory)
{
    std::scoped_lock const lock{growing};
    std::size_t const count = window_count.load(std::memory_order_relaxed);
    if (count == kWindows) return nullptr;
    auto& window = windows[count];
    std::byte* const reserved = raw::map_reserved(kGap + kWindow + kGap);
    if (reserved == nullptr) return nullptr;
    window.start = reserved + kGap;
    window.vaddr = vaddr;
    window.memory.store(memory, std::memory_order_relaxed);
    window_count.store(count + 1, std::memory_order_release);
    return window.start;
}

bool copy(long call, std::byte* ours, std::byte const* place, std::size_t size, std::size_t& left)
{
    auto const* const window = window_of(place);
    if (window == nullptr) return false;
    int const memory = window->memory.load(std::memory_order_acquire);
    std::uint64_t at = window->vaddr + static_cast<std::uint64_t>(place - window->start);
    for (left = size; left != 0 && memory >= 0;) {
        long const done = ::syscall(call, memory, ours, left, at);
        if (done <= 0) break;
        ours += done;
        at += static_cast<std::uint64_t>(done);
        left -= static_cast<std::size_t>(done);
    }
    return true;
}

}  // namespace

RemoteMemory::~RemoteMemory()
{
    for (auto& window : std::span{windows}.first(window_count.load(std::memory_order_acquire))) {
        int ours = memory_.get();
        if (ours >= 0) window.memory.compare_exchange_strong(ours, -1);
    }
    wait_for_readers();  // whoever copies has done so before the descriptor goes
}

bool is_remote(std::byte const* place) { return window_of(place) != nullptr; }

std::byte* RemoteMemory::place(Vaddr vaddr)
{
    if (!memory_) return nullptr;
    std::scoped_lock const lock{mutex_};
    std::uint64_t const number = vaddr.raw() / kWindow;
    auto const known = windows_.find(number);
    std::byte* const window =
        known != windows_.end() ? known->second : make_window(number * kWindow, memory_.get());
    if (window == nullptr) return nullptr;
    windows_.insert_or_assign(number, window);
    return window + vaddr.raw() % kWindow;
}

bool copy_from_remote(std::byte* into, std::byte const* place, std::size_t size, std::size_t& left)
{
    return copy(SYS_pread64, into, place, size, left);
}

bool copy_to_remote(std::byte* place, std::byte const* from, std::size_t size, std::size_t& left)
{
    return copy(SYS_pwrite64, const_cast<std::byte*>(from), place, size, left);
}

}  // namespace pinfold::host
