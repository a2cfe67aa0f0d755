// Open files that go over execve(2), posix_spawn(3), vfork(2) and the end of the process that
// opened them. Prints what failed; exit status 0 where nothing did.
#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <array>
#include <atomic>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "vfio_client.hpp"

extern char** environ;

namespace {

using Direction = Edu::Direction;
using Registers = std::uint32_t volatile*;

constexpr std::uint64_t kIova = 0x100000;
constexpr std::uint64_t kOldIova = 0x800000;
constexpr std::uint8_t kPattern = 0x5a;

char const* self = nullptr;

// The files of an Edu by their numbers, in a program that has inherited them.
struct Inherited {
    int container, group, device;
    Registers registers = nullptr;

    explicit Inherited(char** numbers)
        : container{std::atoi(numbers[0])},
          group{std::atoi(numbers[1])},
          device{std::atoi(numbers[2])}
    {
    }
    void map_registers()
    {
        void* const at =
            ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, device, bar_offset());
        CHECK(at != MAP_FAILED);
        if (at == MAP_FAILED) std::exit(1);
        registers = static_cast<Registers>(at);
    }
    off_t bar_offset() const
    {
        vfio_region_info info{};
        info.argsz = sizeof info;
        info.index = VFIO_PCI_BAR0_REGION_INDEX;
        CHECK(::ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info) == 0);
        return static_cast<off_t>(info.offset);
    }
    void set(unsigned at, std::uint64_t value) const
    {
        *reinterpret_cast<std::uint64_t volatile*>(&registers[at / 4]) = value;
    }
    void transfer(std::uint64_t iova, Direction direction) const
    {
        bool const out = direction == Direction::from_device;
        set(0x80, out ? 0x40000 : iova);
        set(0x88, out ? iova : 0x40000);
        set(0x90, kPage);
        set(0x98, 1 | static_cast<std::uint64_t>(direction));
        while ((registers[0x98 / 4] & 1U) != 0) {
        }
    }
    int map(void* vaddr, std::uint64_t iova) const
    {
        vfio_iommu_type1_dma_map map{};
        map.argsz = sizeof map;
        map.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
        map.vaddr = reinterpret_cast<std::uint64_t>(vaddr);
        map.iova = iova;
        map.size = kPage;
        return ::ioctl(container, VFIO_IOMMU_MAP_DMA, &map);
    }
    long unmap(std::uint64_t iova) const
    {
        vfio_iommu_type1_dma_unmap unmap{};
        unmap.argsz = sizeof unmap;
        unmap.iova = iova;
        unmap.size = kPage;
        return ::ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap) == 0 ? static_cast<long>(unmap.size)
                                                                     : -1;
    }
    void close() const
    {
        if (registers != nullptr) (void)::munmap(const_cast<std::uint32_t*>(registers), kPage);
        for (int const fd : {device, group, container}) CHECK(::close(fd) == 0);
    }
};

int group_status(int fd)
{
    vfio_group_status status{};
    status.argsz = sizeof status;
    return ::ioctl(fd, VFIO_GROUP_GET_STATUS, &status) == 0 ? static_cast<int>(status.flags) : -1;
}

// VmLck of this process, in pages.
long locked()
{
    std::ifstream status{"/proc/self/status"};
    for (std::string line; std::getline(status, line);)
        if (line.starts_with("VmLck:")) return std::stol(line.substr(6)) * 1024 / 4096;
    return -1;
}

bool group_is_free()
{
    pid_t const child = ::fork();
    if (child == 0) ::_exit(::open(group_node().c_str(), O_RDWR) >= 0 ? 0 : 1);
    int status = -1;
    (void)::waitpid(child, &status, 0);
    return status == 0;
}

// For what another process's end does, which nobody waits for.
bool group_becomes_free()
{
    for (int i = 0; i < 1000; ++i) {
        if (group_is_free()) return true;
        (void)::usleep(5000);
    }
    return false;
}

int ended(pid_t child)
{
    int status = -1;
    (void)::waitpid(child, &status, 0);
    return status;
}

// `body` in a child, whose checks count here; it may go on as another program.
template <class Body>
void in_child(Body body, int line)
{
    pid_t const child = ::fork();
    if (child == 0) {
        failures = 0;
        body();
        ::_exit(failures == 0 ? 0 : 1);
    }
    int const status = ended(child);
    ++checks;
    if (status == 0) return;
    ++failures;
    std::printf("FAILED in a child, line %d: status %x\n", line, status);
}
#define IN_CHILD(...) in_child([&] __VA_ARGS__, __LINE__)

void keep_over_exec(Edu const& edu)
{
    for (int const fd : {edu.container, edu.group, edu.device}) CHECK(::fcntl(fd, F_SETFD, 0) == 0);
}

// The words of a command that runs this program as `what` with the files of `edu`.
struct Command {
    std::vector<std::string> words;
    std::vector<char*> arguments;

    Command(std::string const& what, Edu const& edu, std::vector<std::string> const& more = {})
        : words{self, what, std::to_string(edu.container), std::to_string(edu.group),
                std::to_string(edu.device)}
    {
        words.insert(words.end(), more.begin(), more.end());
        for (auto& word : words) arguments.push_back(word.data());
        arguments.push_back(nullptr);
    }
    [[noreturn]] void execute() const
    {
        (void)::execv(self, arguments.data());
        std::perror(self);
        ::_exit(127);
    }
    std::string text() const
    {
        std::string all;
        for (auto const& word : words) all += word + ' ';
        return all;
    }
};

// ---- a program that executes itself ----

bool fired(int event)
{
    pollfd wait{.fd = event, .events = POLLIN, .revents = 0};
    return ::poll(&wait, 1, 1000) == 1;
}

void a_program_that_executes_itself_goes_on()
{
    IN_CHILD({
        Edu edu;
        int const event = ::eventfd(0, 0);
        keep_over_exec(edu);
        auto* const old = memory(kPage);
        std::memset(old, kPattern, kPage);
        CHECK(edu.map(old, kOldIova, kPage) == 0);
        CHECK(enable_msi(edu.device, event) == 0);
        edu.registers[1] = 0x21;
        if (failures == 0) Command{"whole", edu, {std::to_string(event)}}.execute();
    });
    CHECK(group_becomes_free());
}

// What the program before had, and what is new.
int whole(char** numbers)
{
    Inherited edu{numbers};
    int const event = std::atoi(numbers[3]);
    std::uint32_t ids = 0;
    CHECK(::pread(edu.device, &ids, 4, off_t{VFIO_PCI_CONFIG_REGION_INDEX} << 40) == 4);
    CHECK(ids == 0x11e81234);
    CHECK(group_status(edu.group) == (VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET));
    CHECK(::ioctl(edu.container, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU) == 1);
    edu.map_registers();
    CHECK(edu.registers[1] == ~0x21U);
    CHECK_FAILS(EBUSY, ::open(group_node().c_str(), O_RDWR));

    // The old program's page, which nobody can touch any more, by way of the device.
    CHECK(locked() == 0);
    auto* const own = memory(kPage);
    CHECK(edu.map(own, kIova) == 0);
    CHECK(locked() == 1);
    edu.transfer(kOldIova, Direction::to_device);
    edu.transfer(kIova, Direction::from_device);
    CHECK(own[0] == kPattern && own[kPage - 1] == kPattern);
    CHECK_FAILS(EEXIST, edu.map(own, kOldIova));
    CHECK(edu.unmap(kOldIova) == static_cast<long>(kPage));
    CHECK(locked() == 1);  // that page was the old program's to pay for
    CHECK(edu.unmap(kIova) == static_cast<long>(kPage));
    CHECK(locked() == 0);

    edu.registers[0x60 / 4] = 1;
    CHECK(fired(event));
    // A device file of its own, and a child.
    int const again = ::ioctl(edu.group, VFIO_GROUP_GET_DEVICE_FD, kBdf);
    CHECK(again >= 0);
    IN_CHILD({
        edu.registers[1] = 0x33;
        CHECK(edu.registers[1] == ~0x33U);
    });
    CHECK(edu.registers[1] == ~0x33U);
    CHECK(::close(again) == 0);
    edu.close();
    CHECK(group_is_free());
    // Everything anew.
    Edu fresh;
    CHECK(fresh.registers[1] != ~0x33U);
    fresh.close();
    return failures == 0 ? 0 : 1;
}

// What is marked FD_CLOEXEC ends; also where another file goes on.
void what_is_closed_on_exec_is_closed()
{
    IN_CHILD({
        Edu edu;
        for (int const fd : {edu.container, edu.group, edu.device})
            CHECK(::fcntl(fd, F_SETFD, FD_CLOEXEC) == 0);
        Command{"nothing", edu}.execute();
    });
    CHECK(group_is_free());
    IN_CHILD({
        Edu edu;
        keep_over_exec(edu);
        CHECK(::fcntl(edu.device, F_SETFD, FD_CLOEXEC) == 0);
        CHECK(::fcntl(edu.group, F_SETFD, FD_CLOEXEC) == 0);
        Command{"container", edu}.execute();
    });
    CHECK(group_becomes_free());
}

int has_nothing(char** numbers)
{
    Inherited const edu{numbers};
    CHECK_FAILS(EBADF, ::ioctl(edu.container, VFIO_GET_API_VERSION));
    CHECK_FAILS(EBADF, ::close(edu.device));
    CHECK(group_is_free());
    return failures == 0 ? 0 : 1;
}

int has_the_container(char** numbers)
{
    Inherited const edu{numbers};
    CHECK_FAILS(EBADF, ::close(edu.device));
    CHECK_FAILS(EBADF, ::close(edu.group));
    CHECK(group_is_free());
    CHECK(::ioctl(edu.container, VFIO_GET_API_VERSION) == VFIO_API_VERSION);
    // Its last group has left it, and with it what it was.
    CHECK_FAILS(EINVAL, ::ioctl(edu.container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
    CHECK(::close(edu.container) == 0);
    return failures == 0 ? 0 : 1;
}

// ---- an exec that fails ----

void still_works(Edu const& edu)
{
    auto* const own = memory(kPage);
    CHECK(edu.map(own, kIova, kPage) == 0);
    std::memset(own, 7, kPage);
    edu.transfer(kIova, kPage, Direction::to_device);
    std::memset(own, 0, kPage);
    edu.transfer(kIova, kPage, Direction::from_device);
    CHECK(own[0] == 7 && own[kPage - 1] == 7);
    CHECK(edu.unmap(kIova, kPage) == static_cast<long>(kPage));
    int const event = ::eventfd(0, EFD_CLOEXEC);
    CHECK(enable_msi(edu.device, event) == 0);
    edu.registers[0x60 / 4] = 1;
    CHECK(fired(event));
    (void)::close(event);
    (void)::munmap(own, kPage);
}

int open_descriptors()
{
    int count = 0;
    DIR* const directory = ::opendir("/proc/self/fd");
    while (::readdir(directory) != nullptr) ++count;
    (void)::closedir(directory);
    return count;
}

void an_exec_that_fails_leaves_everything_as_it_was()
{
    char directory[] = "/tmp/exec-XXXXXX";
    CHECK(::mkdtemp(directory) != nullptr);
    std::string const plain = std::string{directory} + "/plain";
    std::string const garbage = std::string{directory} + "/garbage";
    std::ofstream{plain} << "exit 0\n";
    std::ofstream{garbage} << "exit 0\n";
    CHECK(::chmod(garbage.c_str(), 0755) == 0);
    Edu edu;
    keep_over_exec(edu);
    still_works(edu);
    char* const arguments[] = {const_cast<char*>("x"), nullptr};
    int before = 0;
    for (int i = 0; i < 4; ++i) {
        CHECK_FAILS(ENOENT, ::execv("/nowhere/at/all", arguments));
        CHECK_FAILS(ENOENT, ::execvp("no-such-program-anywhere", arguments));
        CHECK_FAILS(EACCES, ::execv(plain.c_str(), arguments));
        CHECK_FAILS(EACCES, ::execv("/", arguments));
        CHECK_FAILS(ENOEXEC, ::execv(garbage.c_str(), arguments));
        CHECK_FAILS(EFAULT, ::execve(self, reinterpret_cast<char**>(8), environ));
        still_works(edu);
        if (i == 0) before = open_descriptors();
    }
    CHECK(open_descriptors() == before);
    CHECK_FAILS(ECHILD, ::waitpid(-1, nullptr, WNOHANG));
    // As a shell would run it.
    IN_CHILD({
        (void)::execvp(garbage.c_str(), arguments);
        ::_exit(9);
    });
    edu.close();
    CHECK(group_is_free());
    (void)::unlink(plain.c_str());
    (void)::unlink(garbage.c_str());
    (void)::rmdir(directory);
}

// ---- with threads ----

void threads_that_use_the_files_do_not_matter(bool from_main)
{
    IN_CHILD({
        Edu edu;
        keep_over_exec(edu);
        auto* const old = memory(kPage);
        std::memset(old, kPattern, kPage);
        CHECK(edu.map(old, kOldIova, kPage) == 0);
        edu.registers[1] = 0x21;
        std::atomic<int> running{0};
        auto const start = [&](auto body) {
            std::thread{[&running, body] {
                ++running;
                for (;;) body();
            }}.detach();
        };
        start([&] { (void)::ioctl(edu.container, VFIO_GET_API_VERSION); });
        start([&] { (void)edu.registers[0]; });
        start([&, own = memory(kPage)] {
            (void)edu.map(own, 0x2000000, kPage);
            (void)edu.unmap(0x2000000, kPage);
        });
        start([&] { std::free(std::malloc(300)); });
        while (running < 4) (void)::usleep(1000);
        // What a thread has mapped when it is killed stays.
        Command const command{"threads", edu};
        if (from_main) command.execute();
        std::thread{[&] { command.execute(); }}.join();
    });
    CHECK(group_becomes_free());
}

int after_threads(char** numbers)
{
    Inherited edu{numbers};
    edu.map_registers();
    CHECK(edu.registers[1] == ~0x21U);
    auto* const own = memory(kPage);
    CHECK(edu.map(own, kIova) == 0);
    edu.transfer(kOldIova, Direction::to_device);
    edu.transfer(kIova, Direction::from_device);
    CHECK(own[0] == kPattern && own[kPage - 1] == kPattern);
    edu.close();
    CHECK(group_is_free());
    return failures == 0 ? 0 : 1;
}

// ---- many times ----

void a_program_executes_itself_over_and_over(int times)
{
    IN_CHILD({
        Edu edu;
        keep_over_exec(edu);
        edu.registers[1] = static_cast<std::uint32_t>(times);
        Command{"over", edu, {std::to_string(times)}}.execute();
    });
    CHECK(group_becomes_free());
}

int over_and_over(char** numbers)
{
    Inherited edu{numbers};
    auto const left = static_cast<std::uint32_t>(std::atoi(numbers[3]));
    edu.map_registers();
    CHECK(edu.registers[1] == ~left);
    edu.registers[1] = left - 1;
    if (failures != 0 || left == 0) return failures == 0 ? 0 : 1;
    std::string const next = std::to_string(left - 1);
    (void)::execl(self, self, "over", numbers[0], numbers[1], numbers[2], next.c_str(), nullptr);
    return 1;
}

// ---- programs that are started ----

// One that uses what it has inherited: the register becomes what it is told.
int uses(char** numbers)
{
    Inherited edu{numbers};
    edu.map_registers();
    CHECK(group_status(edu.group) == (VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET));
    auto* const own = memory(kPage);
    CHECK(edu.map(own, kIova) == 0);
    CHECK(edu.unmap(kIova) == static_cast<long>(kPage));
    edu.registers[1] = static_cast<std::uint32_t>(std::atoi(numbers[3]));
    return failures == 0 ? 0 : 1;
}

// Nothing of these files was shared before; and each way is the first in a process of its own.
template <class Start>
void a_program_is_started(Start start, bool inheritable, int line)
{
    in_child(
        [&] {
            Edu edu;
            if (inheritable) keep_over_exec(edu);
            CHECK(start(edu, Command{"uses", edu, {"77"}}) == 0);
            CHECK(edu.registers[1] == ~77U);
            CHECK(start(edu, Command{"uses", edu, {"78"}}) == 0);
            CHECK(edu.registers[1] == ~78U);
            edu.close();
            CHECK(group_is_free());
        },
        line);
}
#define STARTED(inheritable, ...) a_program_is_started(__VA_ARGS__, inheritable, __LINE__)

void programs_that_are_started_have_the_files()
{
    STARTED(true, [](Edu const&, Command const& command) {
        pid_t child = -1;
        CHECK(::posix_spawn(&child, self, nullptr, nullptr, command.arguments.data(), environ) ==
              0);
        return ended(child);
    });
    STARTED(false, [](Edu const& edu, Command const& command) {
        posix_spawn_file_actions_t actions;
        (void)::posix_spawn_file_actions_init(&actions);
        for (int const fd : {edu.container, edu.group, edu.device})
            (void)::posix_spawn_file_actions_adddup2(&actions, fd, fd);
        pid_t child = -1;
        CHECK(::posix_spawnp(&child, self, &actions, nullptr, command.arguments.data(), environ) ==
              0);
        (void)::posix_spawn_file_actions_destroy(&actions);
        return ended(child);
    });
    STARTED(true, [](Edu const&, Command const& command) {
        pid_t const child = ::vfork();
        if (child == 0) {
            (void)::execv(self, command.arguments.data());
            ::_exit(127);
        }
        return ended(child);
    });
    STARTED(false, [](Edu const& edu, Command const& command) {
        pid_t const child = ::vfork();
        if (child == 0) {
            (void)::execv("/nowhere/at/all", command.arguments.data());
            for (int const fd : {edu.container, edu.group, edu.device})
                (void)::fcntl(fd, F_SETFD, 0);
            (void)::execv(self, command.arguments.data());
            ::_exit(127);
        }
        return ended(child);
    });
    STARTED(true,
            [](Edu const&, Command const& command) { return ::system(command.text().c_str()); });
    STARTED(true, [](Edu const&, Command const& command) {
        FILE* const stream = ::popen(command.text().c_str(), "r");
        return ::pclose(stream);
    });
    // Without ever having been told of it, and longer than the one that started it has them.
    IN_CHILD({
        std::array<int, 2> go{};
        CHECK(::pipe(go.data()) == 0);
        Edu edu;
        keep_over_exec(edu);
        Command const command{"waits", edu, {std::to_string(go[0]), std::to_string(go[1])}};
        pid_t child = -1;
        CHECK(::posix_spawn(&child, self, nullptr, nullptr, command.arguments.data(), environ) ==
              0);
        edu.close();
        (void)::usleep(20000);
        CHECK(!group_is_free());
        (void)::close(go[1]);
        CHECK(ended(child) == 0);
        CHECK(group_is_free());
    });
    // One that closes them without having used them.
    IN_CHILD({
        Edu edu;
        keep_over_exec(edu);
        Command{"closes", edu}.execute();
    });
}

int waits(char** numbers)
{
    (void)::close(std::atoi(numbers[4]));
    char byte = 0;
    (void)!::read(std::atoi(numbers[3]), &byte, 1);
    Inherited edu{numbers};
    edu.map_registers();
    edu.registers[1] = 5;
    CHECK(edu.registers[1] == ~5U);
    return failures == 0 ? 0 : 1;
}

int closes(char** numbers)
{
    Inherited const edu{numbers};
    CHECK(!group_is_free());
    edu.close();
    CHECK(group_is_free());
    return failures == 0 ? 0 : 1;
}

// ---- the process that opened them ends ----

void end_by_exit() { std::exit(0); }
void end_by_underscore() { ::_exit(0); }

// The one that lives on says by `said` whether all was well.
void lives_on(Edu const& edu, int go, int said)
{
    char byte = 1;
    (void)!::read(go, &byte, 1);  // until the parent has gone
    failures = 0;
    std::uint32_t ids = 0;
    CHECK(::pread(edu.device, &ids, 4, edu.config_offset()) == 4 && ids == 0x11e81234);
    edu.registers[1] = 9;
    CHECK(edu.registers[1] == ~9U);
    CHECK(edu.map(memory(kPage), kIova, kPage) == 0);
    CHECK(edu.unmap(kIova, kPage) == static_cast<long>(kPage));
    // The parent's memory, as it was.
    auto* const own = memory(kPage);
    CHECK(edu.map(own, kIova, kPage) == 0);
    edu.transfer(kOldIova, kPage, Direction::to_device);
    edu.transfer(kIova, kPage, Direction::from_device);
    CHECK(own[0] == kPattern && own[kPage - 1] == kPattern);
    byte = failures == 0 ? 'y' : 'n';
    (void)!::write(said, &byte, 1);
    ::_exit(0);
}

template <class End>
void files_outlive_the_process_that_opened_them(End end, int line)
{
    int said[2];
    CHECK(::pipe(said) == 0);
    pid_t const opener = ::fork();
    if (opener == 0) {
        (void)::close(said[0]);
        Edu* const edu = new Edu;
        auto* const old = memory(kPage);
        std::memset(old, kPattern, kPage);
        CHECK(edu->map(old, kOldIova, kPage) == 0);
        int go[2];
        CHECK(::pipe(go) == 0);
        end(*edu, [&] {
            (void)::close(go[1]);
            lives_on(*edu, go[0], said[1]);
        });
        ::_exit(1);
    }
    CHECK(ended(opener) == 0);
    (void)::close(said[1]);
    char byte = 0;
    bool const well = ::read(said[0], &byte, 1) == 1 && byte == 'y';
    ++checks;
    if (!well) {
        ++failures;
        std::printf("FAILED: files outlive their process, line %d\n", line);
    }
    (void)::close(said[0]);
    CHECK(group_becomes_free());
}
#define OUTLIVE(...) files_outlive_the_process_that_opened_them(__VA_ARGS__, __LINE__)

void ends_of_the_process_that_opened_them()
{
    OUTLIVE([](Edu const&, auto child) {
        if (::fork() == 0) child();
        end_by_exit();
    });
    OUTLIVE([](Edu const&, auto child) {
        if (::fork() == 0) child();
        end_by_underscore();
    });
    OUTLIVE([](Edu const&, auto child) {
        if (::fork() == 0) child();
        std::quick_exit(0);
    });
    // The descriptors of the one that ends are the last of its own; devices of it go on.
    OUTLIVE([](Edu& edu, auto child) {
        if (::fork() == 0) child();
        edu.registers[1] = 3;
        std::thread{[] { std::exit(0); }}.join();
    });
    OUTLIVE([](Edu const&, auto child) {
        CHECK(::daemon(1, 1) == 0);
        child();
    });
    // Twice: what holds them goes on to execute another, or ends, in turn.
    OUTLIVE([](Edu const&, auto child) {
        if (::fork() == 0) {
            if (::fork() == 0) child();
            ::_exit(0);
        }
        ::_exit(0);
    });
}

// ---- at awkward moments ----

// A thread in vfork() has made its offer; others' children and keepers do not hold it open.
void an_offer_of_another_thread_ends_with_its_program()
{
    IN_CHILD({
        Edu edu;
        std::array<int, 2> go{};
        CHECK(::pipe2(go.data(), O_CLOEXEC) == 0);
        std::thread other{[] {
            pid_t const child = ::vfork();
            if (child == 0) {
                (void)::usleep(200000);
                (void)::execl("/bin/true", "true", nullptr);
                ::_exit(127);
            }
            CHECK(ended(child) == 0);
        }};
        (void)::usleep(50000);
        pid_t const child = ::fork();
        if (child == 0) {
            edu.close();
            (void)::close(go[1]);
            char byte = 0;
            (void)!::read(go[0], &byte, 1);
            ::_exit(0);
        }
        other.join();
        edu.close();
        CHECK(group_becomes_free());
        (void)::close(go[1]);
        CHECK(ended(child) == 0);
    });
}

bool raise_in_fork = false;

// What the engine waits for is this very thread's.
void a_handler_that_interrupts_fork_may_end_the_process()
{
    (void)::signal(SIGUSR1, [](int) { ::_exit(0); });
    (void)::pthread_atfork(
        [] {
            if (raise_in_fork) (void)::raise(SIGUSR1);
        },
        nullptr, nullptr);
    IN_CHILD({
        (void)::alarm(20);
        Edu edu;
        raise_in_fork = true;
        (void)::fork();
        ::_exit(1);  // not reached
    });
    CHECK(group_becomes_free());
}

std::atomic<bool> handlers_lock{false};
pthread_mutex_t programs_own = PTHREAD_MUTEX_INITIALIZER;

void lock_for_fork()
{
    if (handlers_lock) (void)::pthread_mutex_lock(&programs_own);
}
void unlock_after_fork()
{
    if (handlers_lock) (void)::pthread_mutex_unlock(&programs_own);
}

// A handler of the program's waits for a thread that is amid a VFIO call: at every fork, and there
// is one before an exec too.
void handlers_of_fork_may_wait_for_what_threads_do()
{
    (void)::pthread_atfork(lock_for_fork, unlock_after_fork, unlock_after_fork);
    IN_CHILD({
        (void)::alarm(20);
        Edu edu;
        keep_over_exec(edu);
        edu.registers[1] = 0x21;
        handlers_lock = true;
        std::thread{[&] {
            for (;;) {
                (void)::pthread_mutex_lock(&programs_own);
                for (int i = 0; i < 50; ++i) (void)edu.bar_offset();
                (void)::close(::ioctl(edu.group, VFIO_GROUP_GET_DEVICE_FD, kBdf));
                (void)::pthread_mutex_unlock(&programs_own);
            }
        }}.detach();
        (void)::usleep(10000);
        for (int i = 0; i < 10; ++i) {
            pid_t const child = ::fork();
            if (child == 0) ::_exit(0);
            CHECK(ended(child) == 0);
        }
        Command{"uses", edu, {"77"}}.execute();
    });
    CHECK(group_becomes_free());
}

// They are no cancellation points.
void calls_are_not_cancelled()
{
    IN_CHILD({
        Edu edu;
        keep_over_exec(edu);
        int const event = ::eventfd(0, EFD_CLOEXEC);
        bool went_through = false;
        std::thread{[&] {
            (void)::pthread_cancel(::pthread_self());
            bool const well = enable_msi(edu.device, event) == 0 &&
                              enable_msi(edu.device, event) == 0 &&
                              ::execve(self, reinterpret_cast<char**>(8), environ) == -1;
            pid_t const child = ::fork();
            if (child == 0) ::_exit(0);
            (void)::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr);
            went_through = well && ended(child) == 0;
        }}.join();
        CHECK(went_through);
        still_works(edu);
    });
    CHECK(group_becomes_free());
}

// A handler that runs at exit may still use them.
void handlers_at_exit_have_them()
{
    static Edu* edu = nullptr;
    pid_t const opener = ::fork();
    if (opener == 0) {
        (void)std::atexit([] {
            failures = 0;
            edu->registers[1] = 4;
            CHECK(edu->registers[1] == ~4U);
            edu->close();
            if (failures != 0) ::_exit(1);
        });
        edu = new Edu;
        if (::fork() == 0) {
            (void)::usleep(50000);
            ::_exit(0);
        }
        std::exit(0);
    }
    CHECK(ended(opener) == 0);
    CHECK(group_becomes_free());
}

}  // namespace

int main(int count, char** arguments)
{
    ::setvbuf(stdout, nullptr, _IONBF, 0);  // children must not print what their parent has
    self = arguments[0];
    (void)::setenv("PATH", "/usr/bin:/bin", 1);
    struct {
        char const* name;
        int (*run)(char** numbers);
    } const programs[] = {
        {"whole", whole},           {"nothing", has_nothing}, {"container", has_the_container},
        {"threads", after_threads}, {"over", over_and_over},  {"uses", uses},
        {"waits", waits},           {"closes", closes}};
    for (auto const& program : programs)
        if (count >= 5 && std::string{arguments[1]} == program.name)
            return program.run(arguments + 2);
    int const times = count == 2 ? std::atoi(arguments[1]) : 20;
    a_program_that_executes_itself_goes_on();
    what_is_closed_on_exec_is_closed();
    an_exec_that_fails_leaves_everything_as_it_was();
    threads_that_use_the_files_do_not_matter(true);
    threads_that_use_the_files_do_not_matter(false);
    a_program_executes_itself_over_and_over(times);
    programs_that_are_started_have_the_files();
    ends_of_the_process_that_opened_them();
    handlers_at_exit_have_them();
    an_offer_of_another_thread_ends_with_its_program();
    calls_are_not_cancelled();
    handlers_of_fork_may_wait_for_what_threads_do();
    a_handler_that_interrupts_fork_may_end_the_process();
    return finish();
}
