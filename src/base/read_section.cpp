#include "base/read_section.hpp"

#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cassert>

namespace pinfold {
namespace {

using readers::kDepth;
using readers::kEpoch;
using readers::kFenced;
using readers::Reader;
using readers::self;

pthread_mutex_t waiting = PTHREAD_MUTEX_INITIALIZER;  // one wait at a time; taken before the list's
pthread_mutex_t list = PTHREAD_MUTEX_INITIALIZER;     // never held for long
Reader* first = nullptr;
std::atomic<unsigned> known{0};  // readers in the list
bool prepared = false;
pthread_key_t at_thread_end;

bool membarrier(int command) { return ::syscall(SYS_membarrier, command, 0U, 0) == 0; }

#if defined(__SANITIZE_THREAD__)
constexpr bool kOnlyFences = true;  // it knows nothing of membarrier(2)
#elif defined(__has_feature)
constexpr bool kOnlyFences = __has_feature(thread_sanitizer);
#else
constexpr bool kOnlyFences = false;
#endif

// Holds the list. A signal handler on the same thread must not want it too: see join().
class ListLock {
public:
    ListLock()
    {
        self.has_list = true;
        std::atomic_signal_fence(std::memory_order_seq_cst);
        (void)::pthread_mutex_lock(&list);
    }
    ~ListLock()
    {
        (void)::pthread_mutex_unlock(&list);
        std::atomic_signal_fence(std::memory_order_seq_cst);
        self.has_list = false;
    }
    ListLock(ListLock const&) = delete;
    ListLock& operator=(ListLock const&) = delete;
};

// REQUIRES: the list is locked.
void forget(Reader& reader)
{
    Reader** link = &first;
    while (*link != &reader) link = &(*link)->next;
    *link = reader.next;
    reader.known = false;
    known.fetch_sub(1);
}

void at_end(void* reader)
{
    ListLock const lock;
    forget(*static_cast<Reader*>(reader));
}

// False: there is no key left.
bool prepare()
{
    if (prepared) return true;
    if (::pthread_key_create(&at_thread_end, at_end) != 0) return false;
    prepared = true;
    if (kOnlyFences || !membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED))
        readers::epoch.fetch_or(kFenced);
    return true;
}

// Whether `reader` is in a section that it entered before `epoch`.
bool lags(Reader const& reader, std::uint64_t epoch)
{
    std::uint64_t const at = reader.at.load(std::memory_order_acquire);
    return (at & kDepth) != 0 && (at & ~(kEpoch - 1)) < epoch;
}

void pause_processor()
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

// A section is short, but its thread may have been preempted in it.
template <class Condition>
void wait_while(Condition condition)
{
    constexpr int kSpins = 200;
    constexpr int kYields = 20;
    for (int tries = 0; condition(); ++tries) {
        if (tries < kSpins) {
            pause_processor();
        } else if (tries < kSpins + kYields) {
            (void)::sched_yield();
        } else {
            timespec const short_while{0, 20'000};
            (void)::nanosleep(&short_while, nullptr);
        }
    }
}

bool others() { return known.load() > (self.known ? 1U : 0U) || readers::guests.load() != 0; }

bool any_lags(std::uint64_t epoch)
{
    ListLock const lock;
    for (Reader const* it = first; it != nullptr; it = it->next)
        if (it != &self && lags(*it, epoch)) return true;
    return false;
}

// Whether nothing of the readers is hidden from the one who waits since `epoch`. Those that poll
// fence by themselves. One that has entered a section under `epoch` sees what was taken away, and
// its sections before that have closed. One that entered under the epoch before gets about a
// microsecond for that: it has had a section since the last wait, so it may well be busy.
bool all_show(std::uint64_t epoch)
{
    constexpr int kPauses = 64;
    ListLock const lock;
    int pauses = 0;
    for (Reader const* it = first; it != nullptr; it = it->next) {
        if (it == &self || it->polling) continue;
        for (;; ++pauses) {
            std::uint64_t const entered = it->at.load(std::memory_order_acquire) & ~(kEpoch - 1);
            if (entered >= epoch) break;
            if (entered < epoch - kEpoch || pauses == kPauses) return false;
            pause_processor();
        }
    }
    return true;
}

// REQUIRES: the caller waits alone.
void wait_for_all()
{
    std::uint64_t const now = readers::epoch.fetch_add(kEpoch) + kEpoch;
    std::uint64_t const epoch = now & ~(kEpoch - 1);
    if ((now & kFenced) == 0 && !all_show(epoch)) readers::fence_everywhere();
    wait_while([&] { return any_lags(epoch) || readers::guests.load() != 0; });
}

}  // namespace

namespace readers {

constinit std::atomic<std::uint64_t> epoch{kEpoch};
constinit std::atomic<unsigned> guests{0};
constinit thread_local Reader self;

bool join()
{
    if (self.has_list) return false;
    ListLock const lock;
    if (self.known) return true;
    if (!prepare() || ::pthread_setspecific(at_thread_end, &self) != 0) return false;
    self.next = first;
    first = &self;
    self.known = true;
    known.fetch_add(1);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return true;
}

bool any_other(bool (*what)(Reader const&))
{
    ListLock const lock;
    for (Reader const* it = first; it != nullptr; it = it->next)
        if (it != &self && what(*it)) return true;
    return false;
}

void fence_everywhere()
{
    if ((epoch.load() & kFenced) != 0) return;
    if (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)) return;
    // A filter took the call away from us in mid-run. Readers fence from now on; a store that is
    // under way leaves its processor within microseconds.
    epoch.fetch_or(kFenced);
    timespec const ample{0, 1'000'000};
    (void)::nanosleep(&ample, nullptr);
}

}  // namespace readers

void wait_for_readers()
{
    assert((self.at.load(std::memory_order_relaxed) & kDepth) == (self.polling ? 1U : 0U));
    // A thread that becomes known or a guest after this look sees what was taken away before it.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (!others()) return;

    // A read-modify-write, so that whoever enters under a later epoch has synchronized with this.
    std::uint64_t const before = readers::epoch.fetch_add(0) & ~(kEpoch - 1);
    bool const polling = self.polling;
    if (polling)
        self.at.store(0, std::memory_order_release);  // else two of them would wait for each other
    (void)::pthread_mutex_lock(&waiting);
    // Whoever had the mutex may have begun its wait after the call.
    if ((readers::epoch.load() & ~(kEpoch - 1)) == before) wait_for_all();
    (void)::pthread_mutex_unlock(&waiting);
    if (polling) readers::enter_fenced(readers::epoch.load());
}

PollingReader::PollingReader()
{
    assert(!self.polling && (self.at.load(std::memory_order_relaxed) & kDepth) == 0);
    if (!self.known && !readers::join()) return;
    ListLock const lock;
    self.polling = true;
    readers::enter_fenced(readers::epoch.load());
}

PollingReader::~PollingReader()
{
    ListLock const lock;
    self.at.store(0, std::memory_order_release);
    self.polling = false;
}

PollingReader::Away::Away() { self.at.store(0, std::memory_order_release); }

PollingReader::Away::~Away()
{
    if (self.polling) readers::enter_fenced(readers::epoch.load());
}

void readers_before_fork()
{
    (void)::pthread_mutex_lock(&waiting);
    (void)::pthread_mutex_lock(&list);
}

void readers_after_fork()
{
    (void)::pthread_mutex_unlock(&list);
    (void)::pthread_mutex_unlock(&waiting);
}

// The other threads are not here, and none of their sections is.
void readers_in_child()
{
    first = nullptr;
    known = 0;
    if (self.known) {
        first = &self;
        self.next = nullptr;
        known = 1;
    }
    readers_after_fork();
}

void survive_fork()
{
    (void)::pthread_atfork(readers_before_fork, readers_after_fork, readers_in_child);
}

}  // namespace pinfold
