/* Masks that the program sets by other calls than sigprocmask(3), in its threads and in those that
 * the C library starts for it. Each goes to the kernel without SIGSEGV and SIGBUS, which the engine
 * must receive, and the engine remembers what it said of them. */
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <time.h>
#include <ucontext.h>

#include "preload/abi.h"
#include "preload/stub_parts.h"

/* ---- by another name ---- */

int sigrelse(int number)
{
    sigset_t one;
    sigemptyset(&one);
    return sigaddset(&one, number) != 0 ? -1 : sigprocmask(SIG_UNBLOCK, &one, NULL);
}

/* As BSD had it: the first 32 signals, in an integer. */
static int old_mask(int how, int bits)
{
    sigset_t set, old;
    sigemptyset(&set);
    for (int i = 0; i < 32; ++i)
        if (((unsigned)bits >> i & 1U) != 0) sigaddset(&set, i + 1);
    if (sigprocmask(how, &set, &old) != 0) return -1;
    unsigned result = 0;
    for (int i = 0; i < 32; ++i)
        if (sigismember(&old, i + 1) == 1) result |= 1U << i;
    return (int)result;
}

int sigblock(int bits) { return old_mask(SIG_BLOCK, bits); }
int sigsetmask(int bits) { return old_mask(SIG_SETMASK, bits); }

/* The kernel has checked the pointers. Between its work and ours the thread touches no register. */
void pinfold_mask_changed(int how, uint64_t const* words, uint64_t* old)
{
    struct pinfold_engine const* const engine = pinfold_current_engine();
    if (engine == NULL) return;
    sigset_t set, before, ours;
    sigemptyset(&set);
    sigemptyset(&ours);
    sigaddset(&ours, SIGSEGV);
    sigaddset(&ours, SIGBUS);
    if (words != NULL) memcpy(&set, words, sizeof *words);
    sigandset(&set, &set, &ours);
    (void)engine->mask(words != NULL ? how : SIG_BLOCK, words != NULL ? &set : NULL, &before);
    if (words != NULL && how != SIG_UNBLOCK) {
        PINFOLD_NEXT(pthread_sigmask);
        (void)next(SIG_UNBLOCK, &ours, NULL);
    }
    if (old == NULL) return;
    sigandset(&before, &before, &ours);
    uint64_t word = 0;
    memcpy(&word, &before, sizeof word);
    *old |= word;
}

/* ---- calls that wait with a mask ---- */

struct waiting {
    struct pinfold_engine const* engine;
    sigset_t set;
    unsigned former;
};

/* The mask to hand on; `interrupted`: a signal that it lets through has come already. */
static sigset_t const* begin(struct waiting* waiting, sigset_t const* set, bool* interrupted)
{
    *interrupted = false;
    waiting->engine = set != NULL ? pinfold_current_engine() : NULL;
    if (waiting->engine == NULL) return set;
    waiting->set = *set;
    *interrupted = waiting->engine->swap_mask(&waiting->set, &waiting->former) != 0;
    return &waiting->set;
}

static void end(struct waiting const* waiting)
{
    int const saved = errno;
    if (waiting->engine != NULL) waiting->engine->restore_mask(waiting->former);
    errno = saved;
}

static int interrupted_call(void)
{
    errno = EINTR;
    return -1;
}

#define WAIT_WITH(set, call)                                         \
    struct waiting waiting;                                          \
    bool interrupted;                                                \
    sigset_t const* const mask = begin(&waiting, set, &interrupted); \
    int const result = interrupted ? interrupted_call() : (call);    \
    end(&waiting);                                                   \
    return result

int sigsuspend(sigset_t const* set)
{
    PINFOLD_NEXT(sigsuspend);
    WAIT_WITH(set, next(mask));
}

int ppoll(struct pollfd* files, nfds_t count, struct timespec const* timeout, sigset_t const* set)
{
    PINFOLD_NEXT(ppoll);
    WAIT_WITH(set, next(files, count, timeout, mask));
}

int __ppoll_chk(struct pollfd* files, nfds_t count, struct timespec const* timeout,
                sigset_t const* set, size_t room);
int __ppoll_chk(struct pollfd* files, nfds_t count, struct timespec const* timeout,
                sigset_t const* set, size_t room)
{
    if (room / sizeof *files < count) abort(); /* as the C library does */
    return ppoll(files, count, timeout, set);
}

int pselect(int count, fd_set* in, fd_set* out, fd_set* other, struct timespec const* timeout,
            sigset_t const* set)
{
    PINFOLD_NEXT(pselect);
    WAIT_WITH(set, next(count, in, out, other, timeout, mask));
}

int epoll_pwait(int epoll, struct epoll_event* events, int count, int timeout, sigset_t const* set)
{
    PINFOLD_NEXT(epoll_pwait);
    WAIT_WITH(set, next(epoll, events, count, timeout, mask));
}

int epoll_pwait2(int epoll, struct epoll_event* events, int count, struct timespec const* timeout,
                 sigset_t const* set)
{
    PINFOLD_NEXT(epoll_pwait2);
    WAIT_WITH(set, next(epoll, events, count, timeout, mask));
}

/* ---- signals that are taken without a handler ---- */

int sigpending(sigset_t* set)
{
    PINFOLD_NEXT(sigpending);
    int const result = next(set);
    struct pinfold_engine const* const engine = result == 0 ? pinfold_current_engine() : NULL;
    if (engine != NULL) engine->add_kept(set);
    return result;
}

/* What was sent before is kept; what comes later is the kernel's to hand out. Nothing comes in
 * between: for that long they are blocked. */
int sigtimedwait(sigset_t const* set, siginfo_t* info, struct timespec const* timeout)
{
    PINFOLD_NEXT(sigtimedwait);
    struct pinfold_engine const* const engine = pinfold_current_engine();
    bool const faults = sigismember(set, SIGSEGV) == 1 || sigismember(set, SIGBUS) == 1;
    if (engine == NULL || !faults) return next(set, info, timeout);
    int (*change)(int, sigset_t const*, sigset_t*) = NULL;
    *(void**)&change = dlsym(RTLD_NEXT, "pthread_sigmask");
    sigset_t ours, before;
    siginfo_t kept;
    sigemptyset(&ours);
    sigaddset(&ours, SIGSEGV);
    sigaddset(&ours, SIGBUS);
    (void)change(SIG_BLOCK, &ours, &before);
    int result = 0;
    if (engine->take_kept(set, &kept) != 0) {
        result = kept.si_signo;
        if (info != NULL) *info = kept;
    } else {
        result = next(set, info, timeout);
    }
    int const saved = errno;
    (void)change(SIG_SETMASK, &before, NULL);
    errno = saved;
    return result;
}

int sigwaitinfo(sigset_t const* set, siginfo_t* info) { return sigtimedwait(set, info, NULL); }

int sigwait(sigset_t const* set, int* number)
{
    int const saved = errno;
    int result = 0;
    do result = sigtimedwait(set, NULL, NULL);
    while (result < 0 && errno == EINTR);
    int const error = result < 0 ? errno : 0;
    errno = saved;
    if (error == 0) *number = result;
    return error;
}

/* ---- jumps that restore a mask ---- */

/* `buffer`, or a copy of it with a mask that may be installed. */
static struct __jmp_buf_tag* fit(struct __jmp_buf_tag* buffer, struct __jmp_buf_tag* copy)
{
    struct pinfold_engine const* const engine =
        buffer->__mask_was_saved != 0 ? pinfold_current_engine() : NULL;
    if (engine == NULL) return buffer;
    *copy = *buffer;
    (void)engine->swap_mask((sigset_t*)&copy->__saved_mask, NULL);
    return copy;
}

#define JUMP(name)                                                                    \
    static void (*next_##name)(struct __jmp_buf_tag*, int) __attribute__((noreturn)); \
    void name(struct __jmp_buf_tag buffer[1], int value) __attribute__((noreturn));   \
    void name(struct __jmp_buf_tag buffer[1], int value)                              \
    {                                                                                 \
        struct __jmp_buf_tag copy;                                                    \
        if (__builtin_expect(next_##name == NULL, 0)) find_jumps();                   \
        next_##name(fit(buffer, &copy), value);                                       \
    }

static void find_jumps(void);

JUMP(siglongjmp)
JUMP(longjmp)
JUMP(_longjmp)
JUMP(__longjmp_chk)

/* Early: the first jump may be one out of a handler. */
__attribute__((constructor)) static void find_jumps(void)
{
    *(void**)&next_siglongjmp = dlsym(RTLD_NEXT, "siglongjmp");
    *(void**)&next_longjmp = dlsym(RTLD_NEXT, "longjmp");
    *(void**)&next__longjmp = dlsym(RTLD_NEXT, "_longjmp");
    *(void**)&next___longjmp_chk = dlsym(RTLD_NEXT, "__longjmp_chk");
}

int setcontext(ucontext_t const* context)
{
    PINFOLD_NEXT(setcontext);
    struct pinfold_engine const* const engine = pinfold_current_engine();
    if (engine == NULL) return next(context);
    ucontext_t copy = *context; /* its vector state stays where it is */
    (void)engine->swap_mask(&copy.uc_sigmask, NULL);
    return next(&copy);
}

/* ---- threads ---- */

/* What a thread that is about to begin takes over. */
struct beginning {
    void* (*body)(void*);
    void* argument;
};

static void open_up(void)
{
    sigset_t mask;
    PINFOLD_NEXT(pthread_sigmask);
    struct pinfold_engine const* const engine = pinfold_current_engine();
    if (engine == NULL || next(SIG_SETMASK, NULL, &mask) != 0) return;
    (void)engine->swap_mask(&mask, NULL);
    (void)next(SIG_SETMASK, &mask, NULL);
}

static void* begin_thread(void* raw)
{
    struct beginning const beginning = *(struct beginning*)raw;
    free(raw);
    open_up();
    return beginning.body(beginning.argument);
}

/* A thread whose attributes block faults. One that takes its mask from its creator has none. */
static bool blocks_faults(pthread_attr_t const* attributes)
{
    sigset_t set;
    return attributes != NULL && pthread_attr_getsigmask_np(attributes, &set) == 0 &&
           (sigismember(&set, SIGSEGV) == 1 || sigismember(&set, SIGBUS) == 1);
}

int pthread_create(pthread_t* thread, pthread_attr_t const* attributes, void* (*body)(void*),
                   void* argument)
{
    PINFOLD_NEXT(pthread_create);
    if (pinfold_current_engine() == NULL || !blocks_faults(attributes))
        return next(thread, attributes, body, argument);
    struct beginning* const beginning = malloc(sizeof *beginning);
    if (beginning == NULL) return EAGAIN;
    *beginning = (struct beginning){body, argument};
    int const result = next(thread, attributes, begin_thread, beginning);
    if (result != 0) free(beginning);
    return result;
}

/* ---- timers whose notifications are threads, which block everything ---- */

/* Kept for good: a notification may run after its timer has been deleted. One for each function
 * and value, so that a program which makes the same timer again and again takes no more. */
struct notification {
    struct notification* next;
    void (*function)(union sigval);
    union sigval value;
};

static struct notification* notifications;
static pthread_mutex_t notifications_mutex = PTHREAD_MUTEX_INITIALIZER;

static struct notification* notification_of(void (*function)(union sigval), union sigval value)
{
    pthread_mutex_lock(&notifications_mutex);
    struct notification* found = notifications;
    while (found != NULL &&
           (found->function != function || found->value.sival_ptr != value.sival_ptr))
        found = found->next;
    if (found == NULL && (found = malloc(sizeof *found)) != NULL) {
        *found = (struct notification){notifications, function, value};
        notifications = found;
    }
    pthread_mutex_unlock(&notifications_mutex);
    return found;
}

static void notify(union sigval raw)
{
    struct notification const* const notification = raw.sival_ptr;
    open_up();
    notification->function(notification->value);
}

int timer_create(clockid_t clock, struct sigevent* event, timer_t* timer)
{
    PINFOLD_NEXT(timer_create);
    if (event == NULL || event->sigev_notify != SIGEV_THREAD) return next(clock, event, timer);
    struct sigevent own = *event;
    own.sigev_value.sival_ptr = notification_of(event->sigev_notify_function, event->sigev_value);
    own.sigev_notify_function = notify;
    if (own.sigev_value.sival_ptr != NULL) return next(clock, &own, timer);
    errno = EAGAIN;
    return -1;
}
