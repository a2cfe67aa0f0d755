// The guest's first and only program besides the probes: mounts, loads the drivers, gives the
// devices to vfio-pci, runs the jobs of /jobs one after another, and turns the machine off. What it
// says goes to the console as frames, one a line: oracle/README.md describes both formats.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define TRACING "/sys/kernel/tracing/"

static int console = -1;

// ---- frames ------------------------------------------------------------------------------------

static char pending[1 << 16];
static size_t pending_size;

static void flush_frames(void)
{
    for (size_t done = 0; done < pending_size;) {
        ssize_t const wrote = write(console, pending + done, pending_size - done);
        if (wrote < 0 && errno != EINTR) break;  // nobody is left to be told
        if (wrote > 0) done += (size_t)wrote;
    }
    pending_size = 0;
}

static void put(char const* text, size_t size)
{
    while (size > 0) {
        if (pending_size == sizeof pending) flush_frames();
        size_t room = sizeof pending - pending_size;
        if (room > size) room = size;
        memcpy(pending + pending_size, text, room);
        pending_size += room;
        text += room;
        size -= room;
    }
}

static void frame(char kind, char const* text, size_t size)
{
    char const head[] = {'@', kind, ' '};
    put(head, sizeof head);
    put(text, size);
    put("\n", 1);
}

__attribute__((format(printf, 2, 3))) static void framef(char kind, char const* format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    frame(kind, text, strlen(text));
}

static void power_off(void)
{
    flush_frames();
    tcdrain(console);
    reboot(RB_POWER_OFF);
    for (;;) pause();
}

// The run is worth nothing: says why, and ends it.
__attribute__((format(printf, 1, 2), noreturn)) static void give_up(char const* format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    framef('!', "%s", text);
    power_off();
    abort();
}

// ---- lines out of file descriptors -------------------------------------------------------------

struct source {
    int fd;
    char kind;       // of its frames
    char tail_kind;  // of a last line without its end
    size_t size;
    char line[8192];
};

// "... map: IOMMU: iova=0x10000 - 0x11000 paddr=0x5000 size=4096" becomes "map 10000 5000 1000",
// and
// "... unmap: IOMMU: iova=0x10000 - 0x11000 size=4096 unmapped_size=4096" "unmap 10000 1000 1000":
// the console is slow. What looks otherwise stays as it is.
static void trace_frame(char const* line, size_t size)
{
    char text[512];
    snprintf(text, sizeof text, "%.*s", (int)size, line);
    unsigned long iova, paddr, bytes, unmapped;
    char const* const map = strstr(text, " map: ");
    char const* const unmap = strstr(text, " unmap: ");
    if (map &&
        sscanf(map, " map: IOMMU: iova=%lx - 0x%*x paddr=%lx size=%lu", &iova, &paddr, &bytes) == 3)
        framef('T', "map %lx %lx %lx", iova, paddr, bytes);
    else if (unmap && sscanf(unmap, " unmap: IOMMU: iova=%lx - 0x%*x size=%lu unmapped_size=%lu",
                             &iova, &bytes, &unmapped) == 3)
        framef('T', "unmap %lx %lx %lx", iova, bytes, unmapped);
    else
        frame('T', line, size);
}

static void emit_lines(struct source* source)
{
    size_t start = 0;
    for (size_t i = 0; i < source->size; ++i) {
        if (source->line[i] != '\n') continue;
        if (source->kind == 'T')
            trace_frame(source->line + start, i - start);
        else
            frame(source->kind, source->line + start, i - start);
        start = i + 1;
    }
    memmove(source->line, source->line + start, source->size - start);
    source->size -= start;
    if (source->size == sizeof source->line) {
        frame(source->tail_kind, source->line, source->size);
        source->size = 0;
    }
}

// False: the other end is closed.
static bool read_some(struct source* source)
{
    ssize_t const got =
        read(source->fd, source->line + source->size, sizeof source->line - source->size);
    if (got < 0) return errno == EINTR || errno == EAGAIN;
    if (got == 0) return false;
    source->size += (size_t)got;
    emit_lines(source);
    return true;
}

static void close_source(struct source* source)
{
    if (source->fd < 0) return;
    close(source->fd);
    source->fd = -1;
    if (source->size > 0) frame(source->tail_kind, source->line, source->size);
    source->size = 0;
}

// What is left, when nobody writes any more.
static void drain(struct source* source)
{
    if (source->fd < 0) return;
    for (;;) {
        ssize_t const got =
            read(source->fd, source->line + source->size, sizeof source->line - source->size);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        source->size += (size_t)got;
        emit_lines(source);
    }
    close_source(source);
}

// ---- the kernel's log --------------------------------------------------------------------------

static int kmsg = -1;

enum { kWarning = 4, kDebug = 7 };

// Relays what is at least as urgent as `least` (0 is the most urgent).
// Each read gives one record: "level,number,time,flags;text\n KEY=value\n...".
static void drain_kernel_log(unsigned long least)
{
    char record[8192];
    for (;;) {
        ssize_t const got = read(kmsg, record, sizeof record - 1);
        if (got < 0 && errno == EPIPE) {
            framef('K', "4 (lines of the log were lost)");
            continue;
        }
        if (got <= 0) return;
        record[got] = 0;
        char* text = strchr(record, ';');
        if (!text) continue;
        ++text;
        text[strcspn(text, "\n")] = 0;
        unsigned long const level = strtoul(record, NULL, 10) & 7;
        if (level <= least) framef('K', "%lu %s", level, text);
    }
}

// ---- preparing the machine ---------------------------------------------------------------------

static int write_file(char const* path, char const* text)
{
    int const fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    ssize_t const wrote = write(fd, text, strlen(text));
    int const error = wrote < 0 ? -errno : 0;
    close(fd);
    return error;
}

static void must_write(char const* path, char const* text)
{
    int const error = write_file(path, text);
    if (error) give_up("%s: cannot write %s: %s", path, text, strerror(-error));
}

static void mount_or_give_up(char const* type, char const* where)
{
    mkdir(where, 0755);
    if (mount(type, where, type, 0, NULL) != 0 && errno != EBUSY)
        give_up("cannot mount %s: %s", where, strerror(errno));
}

static void open_console(void)
{
    console = open("/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct termios mode;
    if (tcgetattr(console, &mode) == 0) {
        cfmakeraw(&mode);
        cfsetspeed(&mode, B115200);
        tcsetattr(console, TCSANOW, &mode);
    }
}

static void load_modules(void)
{
    // In the order of the list: a module comes after what it needs.
    FILE* const list = fopen("/modules/list", "re");
    if (!list) return;
    char path[256];
    while (fgets(path, sizeof path, list)) {
        path[strcspn(path, "\n")] = 0;
        int const fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) give_up("cannot open %s: %s", path, strerror(errno));
        if (syscall(SYS_finit_module, fd, "", 0) != 0)
            give_up("cannot load %s: %s", path, strerror(errno));
        close(fd);
    }
    fclose(list);
}

static void give_to_vfio(char const* bdf)
{
    char path[256];
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/driver_override", bdf);
    must_write(path, "vfio-pci");
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/driver/unbind", bdf);
    int const error = write_file(path, bdf);
    if (error && error != -ENOENT) give_up("cannot unbind %s: %s", bdf, strerror(-error));
    must_write("/sys/bus/pci/drivers_probe", bdf);
    snprintf(path, sizeof path, "/sys/bus/pci/drivers/vfio-pci/%s", bdf);
    if (access(path, F_OK) != 0) give_up("vfio-pci does not take %s", bdf);
}

static void prepare(void)
{
    mount_or_give_up("devtmpfs", "/dev");
    open_console();
    mount_or_give_up("proc", "/proc");
    mount_or_give_up("sysfs", "/sys");
    mount_or_give_up("tmpfs", "/tmp");
    mkdir("/dev/shm", 01777);
    mount_or_give_up("tmpfs", "/dev/shm");
    mount_or_give_up("tracefs", TRACING);
    write_file("/proc/sys/kernel/printk_devkmsg", "on");
    kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (kmsg < 0) give_up("there is no /dev/kmsg: %s", strerror(errno));
    load_modules();
    must_write("/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "1");
    drain_kernel_log(kWarning);
}

static void say_what_runs(void)
{
    struct utsname name;
    uname(&name);
    framef('U', "%s %s %s", name.release, name.machine, name.version);
}

// ---- jobs --------------------------------------------------------------------------------------

enum { kMaxWords = 256, kMaxSettings = 16 };

struct job {
    char* name;
    char* words[kMaxWords + 1];
    size_t word_count;
    char* stdin_path;
    char* settings[kMaxSettings];  // "path value"
    char* before[kMaxSettings];    // what they were
    size_t setting_count;
    bool trace;
    unsigned seconds;
};

static void read_whole(char const* path, char* text, size_t size)
{
    int const fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, size - 1);
    if (got < 0) give_up("cannot read %s: %s", path, strerror(errno));
    close(fd);
    text[got] = 0;
    text[strcspn(text, "\n")] = 0;
}

static void apply_settings(struct job* job)
{
    for (size_t i = 0; i < job->setting_count; ++i) {
        char* const path = job->settings[i];
        char* const value = strchr(path, ' ');
        if (!value) give_up("setting without a value: %s", path);
        *value = 0;
        char old[256];
        read_whole(path, old, sizeof old);
        job->before[i] = strdup(old);
        must_write(path, value + 1);
    }
}

static void restore_settings(struct job* job)
{
    while (job->setting_count > 0) {
        --job->setting_count;
        must_write(job->settings[job->setting_count], job->before[job->setting_count]);
        free(job->before[job->setting_count]);
    }
}

static void start_tracing(void)
{
    must_write(TRACING "buffer_size_kb", "8192");
    must_write(TRACING "trace", "");
    must_write(TRACING "events/iommu/map/enable", "1");
    must_write(TRACING "events/iommu/unmap/enable", "1");
}

static void stop_tracing(void)
{
    must_write(TRACING "events/iommu/map/enable", "0");
    must_write(TRACING "events/iommu/unmap/enable", "0");
}

static pid_t start(struct job const* job, int out, int err)
{
    pid_t const child = fork();
    if (child != 0) return child;
    setsid();
    int const in = open(job->stdin_path ? job->stdin_path : "/dev/null", O_RDONLY);
    if (in < 0) _exit(126);
    dup2(in, 0);
    dup2(out, 1);
    dup2(err, 2);
    close_range(3, ~0U, 0);
    if (chdir("/tmp") != 0) _exit(126);
    execv(job->words[0], job->words);
    fprintf(stderr, "cannot run %s: %s\n", job->words[0], strerror(errno));
    _exit(127);
}

static void poll_sources(struct source* sources, size_t count, int timeout_ms)
{
    struct pollfd polled[4];
    for (size_t i = 0; i < count; ++i) polled[i] = (struct pollfd){sources[i].fd, POLLIN, 0};
    if (poll(polled, count, timeout_ms) <= 0) return;
    for (size_t i = 0; i < count; ++i)
        if (polled[i].revents && !read_some(&sources[i])) close_source(&sources[i]);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

// Whatever the job left running goes with it: the next one must find every group free. What the
// kernel does not let go of within ten seconds ends the run.
static void reap_everything(void)
{
    double const deadline = now() + 10;
    kill(-1, SIGKILL);
    for (;;) {
        pid_t const gone = waitpid(-1, NULL, WNOHANG);
        if (gone < 0 && errno == ECHILD) return;
        if (gone == 0 && now() > deadline) give_up("a process cannot be killed");
        if (gone == 0) usleep(1000);
    }
}

static void report_end(int status)
{
    if (WIFSIGNALED(status))
        framef('X', "signal %d", WTERMSIG(status));
    else
        framef('X', "exit %d", WEXITSTATUS(status));
}

// Relays what the child says until it has ended. Returns its wait status.
static int relay(struct job const* job, pid_t child, struct source* sources, size_t count)
{
    double const deadline = now() + job->seconds;
    int status = 0;
    bool late = false;
    for (;;) {
        poll_sources(sources, count, 20);
        drain_kernel_log(kDebug);
        flush_frames();
        if (waitpid(child, &status, WNOHANG) == child) break;
        if (late || now() < deadline) continue;
        late = true;
        framef('!', "job %s took more than %u s", job->name, job->seconds);
        kill(-1, SIGKILL);
    }
    reap_everything();
    return status;
}

static void run_job(struct job* job)
{
    int out[2];
    int err[2];
    if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0)
        give_up("no pipe: %s", strerror(errno));
    apply_settings(job);
    if (job->trace) start_tracing();
    drain_kernel_log(kWarning);  // what binding devices had to say
    framef('B', "%s", job->name);
    double const began = now();
    pid_t const child = start(job, out[1], err[1]);
    if (child < 0) give_up("no process: %s", strerror(errno));
    close(out[1]);
    close(err[1]);

    static struct source sources[3];
    sources[0] = (struct source){.fd = out[0], .kind = 'O', .tail_kind = 'o'};
    sources[1] = (struct source){.fd = err[0], .kind = 'E', .tail_kind = 'e'};
    size_t count = 2;
    if (job->trace) {
        int const pipe = open(TRACING "trace_pipe", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (pipe < 0) give_up("no trace_pipe: %s", strerror(errno));
        sources[2] = (struct source){.fd = pipe, .kind = 'T', .tail_kind = 'T'};
        count = 3;
    }
    int const status = relay(job, child, sources, count);
    if (job->trace) stop_tracing();
    for (size_t i = 0; i < count; ++i) drain(&sources[i]);
    drain_kernel_log(kDebug);
    restore_settings(job);
    framef('D', "%.3f", now() - began);
    report_end(status);
    flush_frames();
}

// One line of /jobs. True: the job is complete.
static bool take_line(struct job* job, char* line)
{
    char* rest = strchr(line, ' ');
    if (rest) *rest++ = 0;
    if (strcmp(line, "run") == 0) return true;
    if (strcmp(line, "trace") == 0) {
        job->trace = true;
        return false;
    }
    if (!rest) rest = line + strlen(line);
    if (strcmp(line, "job") == 0)
        job->name = strdup(rest);
    else if (strcmp(line, "word") == 0 && job->word_count < kMaxWords)
        job->words[job->word_count++] = strdup(rest);
    else if (strcmp(line, "stdin") == 0)
        job->stdin_path = strdup(rest);
    else if (strcmp(line, "set") == 0 && job->setting_count < kMaxSettings)
        job->settings[job->setting_count++] = strdup(rest);
    else if (strcmp(line, "seconds") == 0)
        job->seconds = (unsigned)strtoul(rest, NULL, 10);
    else
        give_up("a line of /jobs means nothing: %s %s", line, rest);
    return false;
}

static void run_jobs(void)
{
    FILE* const jobs = fopen("/jobs", "re");
    if (!jobs) give_up("there is no /jobs");
    char* line = NULL;
    size_t room = 0;
    struct job job = {.seconds = 60};
    while (getline(&line, &room, jobs) > 0) {
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, "bind ", 5) == 0) {
            give_to_vfio(line + 5);
            continue;
        }
        if (!take_line(&job, line)) continue;
        run_job(&job);
        job = (struct job){.seconds = 60};
    }
    fclose(jobs);
}

int main(void)
{
    prepare();
    say_what_runs();
    run_jobs();
    frame('Z', "", 0);
    power_off();
}
