// Which pages devices wrote to, and how that is harvested. There are two bitmaps (dirty_side.hpp),
// in blocks of a GiB: a harvest makes devices go on in the other one and waits for those that had
// begun, and has the first one to itself then, without a locked instruction per word.
//
// Thread safety: one thread at a time. Devices have the side that is shown to them.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>

#include "base/function_ref.hpp"
#include "base/range.hpp"
#include "base/result.hpp"
#include "native/arena.hpp"
#include "native/dirty_side.hpp"
#include "native/dirty_words.hpp"
#include "native/memory.hpp"

namespace pinfold::native {

class DirtyLog {
public:
    // `shown` is where devices find the side that they write; nullptr: no log is kept. ENOMEM.
    static Result<std::unique_ptr<DirtyLog>> create(Memory& memory, std::atomic<DirtySide*>& shown);
    // REQUIRES: stopped, and no device is left in it.
    ~DirtyLog();
    DirtyLog(DirtyLog const&) = delete;
    DirtyLog& operator=(DirtyLog const&) = delete;

    // Makes room for what is written in `range`: 64 KiB, and some bytes, for each GiB that it
    // touches and that had none. ENOMEM: also where `range` touches more than 15 TiB.
    Result<> cover(IovaRange range);

    void start() { show(active_); }
    void stop() { shown_.store(nullptr, std::memory_order_release); }

    // Sets the bit of each page of `range` that was marked (bit 0 of word 0: the first page), and
    // forgets the marks; other bits stay as they are. `wait` returns when no mark() that began
    // before is under way. REQUIRES: started; whole pages; a bit in `into` for each.
    void harvest(IovaRange range, std::span<std::uint64_t> into, FunctionRef<void()> wait);

private:
    using Half = DirtyHalf;
    using Block = std::array<Half, 2>;  // of each side
    struct Taking;

    DirtyLog(Memory& memory, std::atomic<DirtySide*>& shown)
        : memory_{memory}, shown_{shown}, arena_{memory}
    {
    }

    void show(unsigned side) { shown_.store(sides_[side], std::memory_order_release); }
    Result<> cover_block(std::uint64_t raw);
    Result<DirtySide::Halves*> window_of(DirtySide& side, std::uint64_t raw);
    void drop(DirtySide* side);
    void take(DirtySide const& side, IovaRange range, std::span<std::uint64_t> into);
    void take_block(Half& half, Taking const& taking);
    bool take_64_groups(Half& half, std::size_t word, Taking const& taking);
    static void take_group(Half& half, std::size_t group, Taking const& taking);

    std::array<DirtySide*, 2> sides_{};
    unsigned active_ = 0;  // the side that devices write
    MoveWords const move_words_ = moves_of_words().back();
    Memory& memory_;
    std::atomic<DirtySide*>& shown_;
    Arena<sizeof(Block)> arena_;
};

}  // namespace pinfold::native
