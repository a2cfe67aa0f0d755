// Read-side sections, shared by everything that a device's access passes through: page tables,
// IOTLB, frames. An access runs inside a ReadSection; whoever takes a translation or a frame away
// waits for the sections that might still use it.
//
// A section costs a thread two plain stores to a word of its own: the one who waits brings the
// fences, by membarrier(2), and interrupts whoever runs. That is not needed while no other thread
// has ever been a reader, or all that have been poll (PollingReader) or enter their next section
// within about a microsecond, as a busy device does.
//
// Thread safety: any thread, signal handlers too. A thread makes itself known at its first section,
// and is forgotten when it ends. Where the C library cannot promise to tell of its end (ENOMEM), or
// a handler comes at the wrong moment, it is a guest, whose sections are counted in one place and
// cost more.
#pragma once

#include <atomic>
#include <cstdint>

namespace pinfold {

namespace readers {

// A word of a reader: how many sections the thread is in, and the epoch as it entered the outermost
// one. A signal handler leaves it as it found it, so that it needs no lock against its thread.
inline constexpr std::uint64_t kDepth = (1U << 16) - 1;
// In the epoch's word: no membarrier(2) here, so readers bring their own fence.
inline constexpr std::uint64_t kFenced = kDepth + 1;
inline constexpr std::uint64_t kEpoch = kFenced << 1;

struct Reader {
    std::atomic<std::uint64_t> at{0};
    std::atomic<unsigned> busy{0};  // base/standstill.hpp
    bool known = false;             // in the list
    bool has_list = false;
    bool polling = false;  // in a section all the time, but for its quiescent states
    Reader* next = nullptr;
};

extern constinit std::atomic<std::uint64_t> epoch;  // kEpoch times the number of waits begun
extern constinit std::atomic<unsigned> guests;      // sections open of threads that are not known
// A few bytes of the static TLS, reached without a call even from a library that was loaded late.
[[gnu::tls_model("initial-exec")]] extern constinit thread_local Reader self;

// False: this thread's end would not be heard of.
bool join();
// Whether `what` is true of some thread that is known, but for the calling one.
bool any_other(bool (*what)(Reader const&));
// Makes every other thread execute a fence.
void fence_everywhere();

// What the thread loads from here on, it loads after everybody can see that it is inside.
inline void enter_fenced(std::uint64_t now)
{
    self.at.store(now + 1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
}

}  // namespace readers

class ReadSection {
public:
    ReadSection() : self_{readers::self} { enter(); }
    ~ReadSection()
    {
        self_.at.store(self_.at.load(std::memory_order_relaxed) - 1, std::memory_order_release);
        if (guest_) [[unlikely]]
            readers::guests.fetch_sub(1);
    }
    ReadSection(ReadSection const&) = delete;
    ReadSection& operator=(ReadSection const&) = delete;

private:
    void enter()
    {
        std::uint64_t const at = self_.at.load(std::memory_order_relaxed);
        if ((at & readers::kDepth) != 0) {
            self_.at.store(at + 1, std::memory_order_relaxed);
            return;
        }
        if (!self_.known && !readers::join()) [[unlikely]] {
            readers::guests.fetch_add(1);
            std::atomic_thread_fence(std::memory_order_seq_cst);
            guest_ = true;
        }
        // An acquire: whoever enters under a new epoch sees what was taken away before it.
        std::uint64_t const now = readers::epoch.load(std::memory_order_acquire);
        if ((now & readers::kFenced) != 0) [[unlikely]]
            readers::enter_fenced(now);
        else
            self_.at.store(now + 1, std::memory_order_relaxed);
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }

    readers::Reader& self_;
    bool guest_ = false;
};

// Declares that the calling thread is a device that polls: it counts as being inside a section from
// here to the end of this, except at the moments when it says that it holds nothing. Sections
// inside are nearly free, and whoever waits for this thread needs no system call. REQUIRES: made
// and destroyed by the same thread, in no ReadSection, one at a time.
class PollingReader {
public:
    PollingReader();
    ~PollingReader();
    PollingReader(PollingReader const&) = delete;
    PollingReader& operator=(PollingReader const&) = delete;

    // Once per turn of the loop: nothing that was translated before is used any more. REQUIRES: in
    // no ReadSection.
    void quiescent()
    {
        if (!readers::self.polling) return;  // a guest
        std::uint64_t const now = readers::epoch.load(std::memory_order_acquire);
        if (readers::self.at.load(std::memory_order_relaxed) == now + 1) return;
        readers::self.at.store(0, std::memory_order_release);
        readers::enter_fenced(now);
    }

    // Around whatever may block: nobody waits for this thread meanwhile. REQUIRES: in no
    // ReadSection; none is opened in it.
    class Away {
    public:
        Away();
        ~Away();
        Away(Away const&) = delete;
        Away& operator=(Away const&) = delete;
    };
};

// Returns once every ReadSection that was open at the call has closed. Calls that come together
// share one wait. For a PollingReader it is a quiescent state. REQUIRES: the calling thread is in
// no ReadSection.
void wait_for_readers();

// Make sections usable in the children of fork(2): what handlers of pthread_atfork(3) are to call.
// Between the first and the others no thread makes itself known.
void readers_before_fork();
void readers_after_fork();
void readers_in_child();
// Installs such handlers. REQUIRES: called once.
void survive_fork();

}  // namespace pinfold
