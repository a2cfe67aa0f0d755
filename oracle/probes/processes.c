// oracle: run fork
// oracle: run exec
// oracle: run socket
// oracle: run owner
// oracle: run close
/* Files of VFIO in several processes: inherited over fork and execve, sent over a socket. Who calls
 * is charged and gives the memory: rules M-22, P-5, P-9, P-10, P-18, G-1. A process here stays
 * until what it mapped is unmapped, or moved. */
#include <sys/socket.h>

#include "probe.h"

enum { kBar = 65536, kBuffer = 0x40000, kCount = 2048 };

static uint64_t g;

/* --- the device --- */

static void transfer(int device, uint64_t source, uint64_t destination, uint64_t direction)
{
    unsigned char volatile* const bar =
        mmap(NULL, kBar, PROT_READ | PROT_WRITE, MAP_SHARED, device, 0);
    need(bar != MAP_FAILED, "BAR");
    *(uint64_t volatile*)(bar + 0x80) = source;
    *(uint64_t volatile*)(bar + 0x88) = destination;
    *(uint64_t volatile*)(bar + 0x90) = kCount;
    *(uint64_t volatile*)(bar + 0x98) = 1 | direction;
    while ((*(uint64_t volatile*)(bar + 0x98) & 1) != 0) usleep(2000);
    munmap((void*)(uintptr_t)bar, kBar);
}

/* The device carries the first page of `memory`, at `iova`, to the second. */
static void carry(char const* rules, int device, struct memory memory, uint64_t iova)
{
    for (unsigned i = 0; i < kCount; ++i) memory.base[i] = (unsigned char)(i * 7 + 1);
    memset(memory.base + g, 0, kCount);
    transfer(device, iova, kBuffer, 0);
    transfer(device, kBuffer, iova + g, 2);
    note(rules, "the device carried %s",
         memcmp(memory.base, memory.base + g, kCount) == 0 ? "all" : "not all");
}

static int started_device(int group)
{
    int const device = open_device(group, kFirst);
    uint16_t const command = 6;
    need(pwrite(device, &command, sizeof command,
                ((off_t)VFIO_PCI_CONFIG_REGION_INDEX << 40) + 4) == sizeof command,
         "COMMAND");
    return device;
}

/* --- taking turns --- */

struct turn {
    int fd; /* of a pair of sockets */
};

static void give(struct turn turn)
{
    fflush(stdout);
    need(write(turn.fd, "x", 1) == 1, "turn");
}

static void await(struct turn turn)
{
    char byte;
    need(read(turn.fd, &byte, 1) == 1, "turn");
}

struct other {
    pid_t pid;
    struct turn turn;
};

/* Runs in another process: child(its turn). */
static struct other start(void (*child)(struct turn turn))
{
    int pair[2];
    need(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
    fflush(stdout);
    pid_t const pid = fork();
    need(pid >= 0, "fork");
    if (pid == 0) {
        close(pair[0]);
        child((struct turn){pair[1]});
        fflush(stdout);
        _exit(0);
    }
    close(pair[1]);
    return (struct other){pid, {pair[0]}};
}

static void finished(struct other other)
{
    fflush(stdout);
    int status = 0;
    need(waitpid(other.pid, &status, 0) == other.pid, "waitpid");
    note("P-10", "the other process ended with %x", status);
    close(other.turn.fd);
}

static void account(char const* rules, char const* who)
{
    note(rules, "%s: locked %ld", who, locked());
}

/* --- what the other process does --- */

static struct place here = {-1, -1};
static int device = -1;

/* Maps memory of its own, has the device reach it, meets its own limit, and takes its mapping away.
 */
static void map_and_carry(char const* who)
{
    struct memory const mine = touched("mine", 4 * g / page());
    account("P-10", who);
    map("P-5 P-10", here.container, kBoth, mine, 0, kIova + 0x10 * g, 2 * g);
    account("P-5 P-10", who);
    carry("P-10 M-17", device, mine, kIova + 0x10 * g);
    map("M-13", here.container, kBoth, mine, 0, kIova + 0x11 * g, g);
    memlock_limit(3 * g);
    map("P-2 P-5", here.container, kBoth, mine, 2 * g, kIova + 0x20 * g, 2 * g);
    map("P-3 P-5", here.container, kBoth, mine, 2 * g, kIova + 0x20 * g, g);
    account("P-5 P-9", who);
    unmap("P-9", here.container, 0, kIova + 0x20 * g, g);
    unmap("P-9", here.container, 0, kIova + 0x10 * g, 2 * g);
    account("P-9", who);
}

static void child_of_fork(struct turn turn)
{
    map_and_carry("child");
    unmap("P-9 P-10", here.container, 0, kIova, 2 * g); /* the parent's */
    account("P-9", "child");
    check("G-1", try_group(kFirst), "open(group)");
    struct memory const kept = touched("kept", 2 * g / page());
    map("P-5", here.container, kBoth, kept, 0, kIova + 0x30 * g, 2 * g);
    account("P-5", "child");
    give(turn);
    await(turn); /* the parent has unmapped it */
    account("P-9", "child");
}

static void begin_here(void)
{
    here = settle(VFIO_TYPE1v2_IOMMU);
    device = started_device(here.group);
    g = granule(here.container);
    if (g < page()) g = page();
    ipc_lock(false);
    memlock_limit(8 * g);
}

static void end_here(void)
{
    close(device);
    leave(here);
}

static void run_fork(void)
{
    begin_here();
    struct memory const mine = touched("parent's", 2 * g / page());
    map("P-5", here.container, kBoth, mine, 0, kIova, 2 * g);
    account("P-5", "parent");
    struct other const other = start(child_of_fork);
    await(other.turn);
    account("P-9 P-10", "parent");
    unmap("P-9", here.container, 0, kIova + 0x30 * g, 2 * g);
    account("P-9", "parent");
    give(other.turn);
    finished(other);
    map("P-5", here.container, kBoth, mine, 0, kIova, 2 * g);
    carry("P-10", device, mine, kIova);
    account("P-5", "parent");
    end_here();
}

/* --- over execve --- */

static void child_that_executes(struct turn turn)
{
    char numbers[4][16];
    int const fds[4] = {here.container, here.group, device, turn.fd};
    for (int i = 0; i < 4; ++i) {
        snprintf(numbers[i], sizeof numbers[i], "%d", fds[i]);
        need(fcntl(fds[i], F_SETFD, 0) == 0, "F_SETFD");
    }
    char* const words[] = {"processes", "after",    numbers[0], numbers[1],
                           numbers[2],  numbers[3], NULL};
    execv("/proc/self/exe", words);
    need(false, "execv");
}

static int after_exec(char** words)
{
    here = (struct place){atoi(words[0]), atoi(words[1])};
    device = atoi(words[2]);
    struct turn const turn = {atoi(words[3])};
    struct vfio_group_status status = {.argsz = sizeof status};
    check("G-3", ioctl(here.group, VFIO_GROUP_GET_STATUS, &status), "GET_STATUS(inherited)");
    note("G-3", "flags %x", status.flags);
    g = granule(here.container);
    if (g < page()) g = page();
    check("C-1", ioctl(here.container, VFIO_GET_API_VERSION), "GET_API_VERSION(inherited)");
    ipc_lock(false); /* which execve gave back */
    map_and_carry("executed");
    unmap("P-9", here.container, 0, kIova, 2 * g);
    give(turn);
    fflush(stdout);
    return 0;
}

static void run_exec(void)
{
    begin_here();
    struct memory const mine = touched("parent's", 2 * g / page());
    map("P-5", here.container, kBoth, mine, 0, kIova, 2 * g);
    struct other const other = start(child_that_executes);
    await(other.turn);
    finished(other);
    account("P-9", "parent");
    end_here();
}

/* --- over a socket --- */

static void send_files(struct turn turn, int const* fds, unsigned count)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(3 * sizeof(int))];
    } control;
    memset(&control, 0, sizeof control);
    struct iovec vector = {"x", 1};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    control.head.cmsg_level = SOL_SOCKET;
    control.head.cmsg_type = SCM_RIGHTS;
    control.head.cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(&control.head), fds, count * sizeof(int));
    fflush(stdout);
    need(sendmsg(turn.fd, &message, 0) == 1, "sendmsg");
}

static void receive_files(struct turn turn, int* fds, unsigned count)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(3 * sizeof(int))];
    } control;
    char byte;
    struct iovec vector = {&byte, 1};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    need(recvmsg(turn.fd, &message, MSG_CMSG_CLOEXEC) == 1, "recvmsg");
    need(control.head.cmsg_type == SCM_RIGHTS &&
             control.head.cmsg_len == CMSG_LEN(count * sizeof(int)),
         "SCM_RIGHTS");
    memcpy(fds, CMSG_DATA(&control.head), count * sizeof(int));
}

/* It has never seen VFIO before. */
static void receiver(struct turn turn)
{
    int fds[3];
    receive_files(turn, fds, 3);
    here = (struct place){fds[0], fds[1]};
    device = fds[2];
    g = granule(here.container);
    if (g < page()) g = page();
    ipc_lock(false);
    memlock_limit(8 * g);
    check("C-9", ioctl(here.container, VFIO_SET_IOMMU, 3ul), "SET_IOMMU(received)");
    struct vfio_device_info info = {.argsz = 16};
    check("V-2", ioctl(device, VFIO_DEVICE_GET_INFO, &info), "DEVICE_GET_INFO(received)");
    map_and_carry("receiver");
    unmap("P-9", here.container, 0, kIova, 2 * g);
    give(turn);
    await(turn); /* the sender has closed its own */
    struct memory const late = touched("late", 2 * g / page());
    map("P-5", here.container, kBoth, late, 0, kIova, 2 * g);
    carry("P-5", device, late, kIova);
    account("P-5", "receiver");
    check("G-1", try_group(kFirst), "open(group)");
    close(device);
    leave(here);
    account("P-9", "receiver");
    give(turn);
}

static void run_socket(void)
{
    struct other const other = start(receiver);
    begin_here();
    struct memory const mine = touched("sender's", 2 * g / page());
    map("P-5", here.container, kBoth, mine, 0, kIova, 2 * g);
    account("P-5", "sender");
    int const fds[3] = {here.container, here.group, device};
    send_files(other.turn, fds, 3);
    await(other.turn);
    account("P-9", "sender");
    end_here();
    give(other.turn);
    await(other.turn);
    finished(other);
    here = settle(VFIO_TYPE1v2_IOMMU); /* the last holder has let go */
    leave(here);
}

/* --- another process gives the vaddr (M-22) --- */

static void new_owner(struct turn turn)
{
    struct memory const mine = touched("new", 3 * g / page());
    memlock_limit(2 * g);
    map("M-22", here.container, kVaddr, mine, 0, kIova, 3 * g);
    account("M-22 P-18", "new");
    memlock_limit(3 * g);
    map("M-22", here.container, kVaddr, mine, 0, kIova, 3 * g);
    account("M-22 P-18", "new");
    give(turn);
    await(turn);
    unmap("P-9 P-18", here.container, 0, kIova, 3 * g);
    account("P-9 P-18", "new");
}

static void run_owner(void)
{
    begin_here();
    struct memory const mine = touched("old", 3 * g / page());
    map("P-5", here.container, kBoth, mine, 0, kIova, 3 * g);
    unmap("U-11", here.container, kVaddr, kIova, 3 * g);
    account("M-22", "old");
    struct other const other = start(new_owner);
    await(other.turn);
    account("M-22 P-18", "old");
    give(other.turn);
    finished(other);
    account("P-9", "old");
    end_here();
}

/* --- who closes last --- */

static void keeper(struct turn turn)
{
    await(turn);
    struct memory const mine = touched("keeper's", 2 * g / page());
    map("P-5", here.container, kBoth, mine, 0, kIova + 0x10 * g, 2 * g);
    carry("P-5", device, mine, kIova + 0x10 * g);
    account("P-5", "keeper");
    close(device);
    leave(here);
    account("P-9", "keeper");
}

/* The parent closes everything first: its mapping lives on until the child does. */
static void run_close(void)
{
    begin_here();
    struct memory const mine = touched("parent's", 2 * g / page());
    map("P-5", here.container, kBoth, mine, 0, kIova, 2 * g);
    struct other const other = start(keeper);
    end_here();
    account("P-9", "parent");
    check("G-1", try_group(kFirst), "open(group)");
    give(other.turn);
    finished(other);
    account("P-9", "parent");
}

int main(int argc, char** argv)
{
    begin();
    if (argc == 6 && strcmp(argv[1], "after") == 0) return after_exec(argv + 2);
    static struct {
        char const* name;
        void (*run)(void);
    } const runs[] = {{"fork", run_fork},
                      {"exec", run_exec},
                      {"socket", run_socket},
                      {"owner", run_owner},
                      {"close", run_close}};
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; ++i)
        if (argc == 2 && strcmp(argv[1], runs[i].name) == 0) runs[i].run();
    return finish();
}
