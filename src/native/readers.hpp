// The threads that look things up, and how a writer waits for them. Each has a word of its own in
// which it says when it looked last, and whether it is still inside; a writer moves the time on and
// waits until every word says later, or outside.
//
// Own epochs, and neither liburcu's nor those of base/read_section.hpp: those are one registry for
// the whole process, and a wait is for all threads in it. Here it is for the threads of one map,
// none of which means no wait, and a polling thread's check is a load and a store.
//
// Thread safety: a Reader belongs to one thread. add(), remove() and wait() by one thread at a
// time.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>

#include "base/result.hpp"

namespace pinfold::native {

// How a thread says that it uses nothing any more.
enum class Reading {
    // It polls: what it looked up is good until it calls quiescent(). The cheapest for both.
    polling,
    // It opens and closes sections, by plain stores. A writer that finds it busy waits for its next
    // section; of one that does not show itself within about a microsecond, or has had no section
    // since the last wait, it makes sure by interrupting the processors that run the program's
    // threads (membarrier(2), about 10 us if there are any). One that is found idle again and again
    // fences its next sections instead, and costs writers nothing meanwhile.
    sections,
    // Sections that cost a locked instruction (about 6 ns), and writers wait for nothing else.
    fenced,
};

class Readers {
public:
    // Two lines of its own: processors fetch them in pairs.
    class alignas(128) Reader {
    public:
        Reading reading() const { return reading_.load(std::memory_order_relaxed); }
        // It polls, and is there.
        bool polls() const
        {
            return reading() == Reading::polling &&
                   (seen_.load(std::memory_order_relaxed) & kInside) != 0;
        }

        // Polling: nothing is used that was looked up before.
        void quiescent() { seen_.store(now() | kInside, std::memory_order_release); }
        // No writer waits for this thread until it is back. A polling thread is there from the
        // start.
        void leave()
        {
            std::uint64_t const seen = seen_.load(std::memory_order_relaxed);
            seen_.store(seen & ~kInside, std::memory_order_release);
        }
        void enter()
        {
            std::uint64_t const inside = now() | kInside;
            seen_.store(inside, std::memory_order_release);
            // A writer's membarrier makes this a fence. So the store is seen by then, or what
            // follows sees that a plain store is not enough any more.
            std::atomic_signal_fence(std::memory_order_seq_cst);
            if (plain_.load(std::memory_order_acquire)) [[likely]]
                return;
            come_back();
            (void)seen_.exchange(inside, std::memory_order_seq_cst);
#ifndef __x86_64__
            std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
        }

    private:
        friend class Readers;
        std::uint64_t now() const { return epoch_->load(std::memory_order_acquire); }
        // It has sections again. A writer that does not know it yet has taken away what it took
        // before the exchange that follows.
        void come_back()
        {
            constexpr unsigned kMany = 64;
            if (reading() != Reading::sections || ++fenced_ != kMany) return;
            fenced_ = 0;
            plain_.store(true, std::memory_order_seq_cst);
        }

        std::atomic<std::uint64_t> seen_{0};  // a time, and kInside
        std::atomic<std::uint64_t> const* epoch_ = nullptr;
        std::atomic<Reading> reading_{Reading::fenced};
        std::atomic<bool> plain_{false};  // a plain store opens a section
        unsigned fenced_ = 0;             // sections since it was found idle; the thread's own
        unsigned idle_ = 0;               // waits that found it so, in a row; the writer's own
    };

    // ENOMEM. `sections` where the kernel has no membarrier(2) becomes `fenced`, at once or when it
    // is taken away.
    Result<Reader*> add(Reading reading);
    void remove(Reader* reader);
    bool empty() const { return readers_.empty(); }

    // Returns once no reader uses what it looked up before the call. `self` is the caller's own,
    // which uses nothing; nullptr: the caller is none of the readers.
    void wait(Reader const* self)
    {
        if (!readers_.empty()) wait_for_all(self);
    }

private:
    // Of a reader's word; times are multiples of kTick.
    static constexpr std::uint64_t kInside = 1;
    static constexpr std::uint64_t kTick = 2;

    void wait_for_all(Reader const* self);
    bool all_plain_show(std::uint64_t now, Reader const* self);
    static bool shows(Reader& reader, std::uint64_t now, unsigned& pauses);
    void fence_everywhere();

    alignas(128) std::atomic<std::uint64_t> epoch_{kTick};
    alignas(128) std::list<Reader> readers_;
};

}  // namespace pinfold::native
