// Open files that several processes hold: over fork(2), over sockets and over execve(2). Prints
// what failed; exit status 0 where nothing did.
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <array>
#include <fstream>
#include <string>

#include "vfio_client.hpp"

namespace {

using Direction = Edu::Direction;
using Registers = std::uint32_t volatile*;

constexpr std::uint64_t kIova = 0x100000;

int group_status(int fd)
{
    vfio_group_status status{};
    status.argsz = sizeof status;
    return ::ioctl(fd, VFIO_GROUP_GET_STATUS, &status) == 0 ? static_cast<int>(status.flags) : -1;
}

// Runs `body` in a child, whose checks count here.
template <class Body>
void in_child(Body body, int line)
{
    int const before = failures;
    pid_t const child = ::fork();
    if (child == 0) {
        failures = 0;
        body();
        ::_exit(failures == 0 ? 0 : 1);
    }
    int status = -1;
    (void)::waitpid(child, &status, 0);
    ++checks;
    failures = before + (status == 0 ? 0 : 1);
    if (status != 0) std::printf("FAILED in a child, line %d: status %x\n", line, status);
}
#define IN_CHILD(...) in_child([&] __VA_ARGS__, __LINE__)

// Whether another process could open the group.
bool group_is_free()
{
    pid_t const child = ::fork();
    if (child == 0) ::_exit(::open(group_node().c_str(), O_RDWR) >= 0 ? 0 : 1);
    int status = -1;
    (void)::waitpid(child, &status, 0);
    return status == 0;
}

bool fired(int event)
{
    pollfd wait{.fd = event, .events = POLLIN, .revents = 0};
    return ::poll(&wait, 1, 0) == 1;
}

// VmLck of this process, in bytes.
long locked()
{
    std::ifstream status{"/proc/self/status"};
    for (std::string line; std::getline(status, line);)
        if (line.starts_with("VmLck:")) return std::stol(line.substr(6)) * 1024;
    return -1;
}

// The device copies `from` to `to`, which are in the memory of whoever calls.
void copies(Edu const& edu, std::uint8_t* from, std::uint8_t* to)
{
    CHECK(edu.map(from, kIova, kPage) == 0);
    CHECK(edu.map(to, kIova + kPage, kPage) == 0);
    long const with_both = locked();
    for (std::uint64_t i = 0; i < kPage; ++i) from[i] = static_cast<std::uint8_t>(i * 7 + 1);
    std::memset(to, 0, kPage);
    edu.transfer(kIova, kPage, Direction::to_device);
    edu.transfer(kIova + kPage, kPage, Direction::from_device);
    CHECK(std::memcmp(from, to, kPage) == 0);
    CHECK(edu.unmap(kIova, 2 * kPage) == 2 * static_cast<long>(kPage));
    CHECK(with_both < 0 || with_both - locked() == 2 * static_cast<long>(kPage));
}

void a_child_uses_what_its_parent_opened()
{
    Edu edu;
    int const event = ::eventfd(0, EFD_CLOEXEC);
    auto* const parents = memory(kPage);
    CHECK(edu.map(parents, 0x900000, kPage) == 0);
    IN_CHILD({
        CHECK(::ioctl(edu.container, VFIO_GET_API_VERSION) == VFIO_API_VERSION);
        CHECK(group_status(edu.group) ==
              (VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET));
        std::uint32_t ids = 0;
        CHECK(::pread(edu.device, &ids, 4, edu.config_offset()) == 4 && ids == 0x11e81234);
        CHECK(edu.registers[0] == 0x010000ed);
        edu.registers[1] = 5;
        CHECK(edu.registers[1] == ~5U);
        // Another mapping, of the child's own.
        auto* const own = static_cast<Registers>(::mmap(nullptr, kPage, PROT_READ | PROT_WRITE,
                                                        MAP_SHARED, edu.device, edu.bar_offset()));
        CHECK(own != MAP_FAILED && own[1] == ~5U);
        std::uint32_t added = 1;
        asm volatile("lock xaddl %0, %1" : "+r"(added), "+m"(own[1]));
        CHECK(added == ~5U);
        CHECK(::munmap(const_cast<std::uint32_t*>(own), kPage) == 0);
        copies(edu, memory(kPage), memory(kPage));
        CHECK_FAILS(EBADF, enable_msi(edu.device, 999));
        CHECK(enable_msi(edu.device, event) == 0);
        CHECK_FAILS(EFAULT, ::ioctl(edu.container, VFIO_IOMMU_MAP_DMA, nullptr));
        CHECK_FAILS(EFAULT, edu.map(nullptr, 0x500000, kPage));
        CHECK_FAILS(EBUSY, ::open(group_node().c_str(), O_RDWR));
        // Its own child, and a device file of its own.
        IN_CHILD({
            edu.registers[1] = 6;
            CHECK(edu.registers[1] == ~6U);
            int const again = ::ioctl(edu.group, VFIO_GROUP_GET_DEVICE_FD, kBdf);
            CHECK(again >= 0);
            CHECK(::pread(again, &ids, 4, edu.config_offset()) == 4 && ids == 0x11e81234);
            CHECK(::close(again) == 0);
        });
    });
    // What the child did happened to the parent's device.
    CHECK(edu.registers[1] == ~6U);
    edu.registers[0x60 / 4] = 1;
    CHECK(fired(event));
    CHECK(edu.unmap(0x900000, kPage) == static_cast<long>(kPage));
    copies(edu, memory(kPage), memory(kPage));
    edu.close();
    CHECK(group_is_free());
}

void files_live_as_long_as_anybody_holds_them()
{
    std::array<int, 2> go{};
    CHECK(::socketpair(AF_UNIX, SOCK_STREAM, 0, go.data()) == 0);
    Edu edu;
    pid_t const child = ::fork();
    if (child == 0) {
        char byte = 0;
        (void)!::read(go[1], &byte, 1);  // until the parent has closed its own
        failures = 0;
        CHECK(group_status(edu.group) >= 0);
        edu.registers[1] = 9;
        CHECK(edu.registers[1] == ~9U);
        copies(edu, memory(kPage), memory(kPage));
        (void)!::write(go[1], &byte, 1);
        (void)!::read(go[1], &byte, 1);
        ::_exit(failures);
    }
    edu.close();
    CHECK(!group_is_free());
    char byte = 0;
    CHECK(::write(go[0], &byte, 1) == 1 && ::read(go[0], &byte, 1) == 1);
    CHECK(!group_is_free());
    CHECK(::write(go[0], &byte, 1) == 1);
    int status = -1;
    (void)::waitpid(child, &status, 0);
    CHECK(status == 0);
    CHECK(group_is_free());
    (void)::close(go[0]);
    (void)::close(go[1]);
}

void a_child_opens_what_is_free()
{
    for (int round = 0; round < 3; ++round) {
        IN_CHILD({
            Edu edu;
            copies(edu, memory(kPage), memory(kPage));
            CHECK(!group_is_free());
        });
        CHECK(group_is_free());
    }
    // Killed with everything open, and a child of its own that outlives it and says what it sees.
    int said[2];
    CHECK(::pipe(said) == 0);
    pid_t const child = ::fork();
    if (child == 0) {
        Edu edu;
        if (::fork() == 0) {
            int error = 0;
            for (int i = 0; i < 3000 && error == 0; ++i) {
                if (::ioctl(edu.container, VFIO_GET_API_VERSION) == -1) error = errno;
                (void)::usleep(10000);
            }
            CHECK(::write(said[1], &error, sizeof error) == sizeof error);
            ::_exit(0);
        }
        (void)::kill(::getpid(), SIGKILL);
    }
    int status = -1;
    (void)::waitpid(child, &status, 0);
    CHECK(group_is_free());
    (void)::close(said[1]);
    int error = 0;
    CHECK(::read(said[0], &error, sizeof error) == sizeof error);
    CHECK(error == EIO);
    (void)::close(said[0]);
}

void send(int socket, std::array<int, 3> const& descriptors)
{
    char byte = 0;
    iovec part{&byte, 1};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof descriptors)> room{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = room.data();
    message.msg_controllen = room.size();
    cmsghdr* const rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof descriptors);
    std::memcpy(CMSG_DATA(rights), descriptors.data(), sizeof descriptors);
    CHECK(::sendmsg(socket, &message, 0) == 1);
}

std::array<int, 3> receive(int socket)
{
    std::array<int, 3> descriptors{-1, -1, -1};
    char byte = 0;
    iovec part{&byte, 1};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof descriptors)> room{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = room.data();
    message.msg_controllen = room.size();
    CHECK(::recvmsg(socket, &message, 0) == 1);
    if (cmsghdr const* const rights = CMSG_FIRSTHDR(&message))
        std::memcpy(descriptors.data(), CMSG_DATA(rights), sizeof descriptors);
    return descriptors;
}

// As DPDK's secondary processes have it: descriptors by a socket, memory that both map.
void descriptors_come_by_a_socket()
{
    std::array<int, 2> ends{};
    CHECK(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends.data()) == 0);
    auto* const both = static_cast<std::uint8_t*>(
        ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    pid_t const child = ::fork();
    if (child == 0) {
        failures = 0;
        auto const got = receive(ends[1]);
        char byte = 0;
        CHECK(::read(ends[1], &byte, 1) == 1);  // the sender has closed its own
        CHECK(group_status(got[1]) >= 0);
        vfio_region_info info{};
        info.argsz = sizeof info;
        CHECK(::ioctl(got[2], VFIO_DEVICE_GET_REGION_INFO, &info) == 0);
        auto* const registers =
            static_cast<Registers>(::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED,
                                          got[2], static_cast<off_t>(info.offset)));
        CHECK(registers != MAP_FAILED);
        registers[1] = 3;
        CHECK(registers[1] == ~3U);
        // DMA into memory that the owner has mapped, started from here.
        auto const set = [&](unsigned at, std::uint64_t value) {
            *reinterpret_cast<std::uint64_t volatile*>(&registers[at / 4]) = value;
        };
        std::memset(both, 0x3c, 8);
        set(0x80, kIova);
        set(0x88, 0x40000);
        set(0x90, 8);
        set(0x98, 1);
        set(0x80, 0x40000);
        set(0x88, kIova + 64);
        set(0x98, 3);
        CHECK(both[64] == 0x3c && both[71] == 0x3c);
        for (int const fd : got) CHECK(::close(fd) == 0);
        CHECK(::munmap(const_cast<std::uint32_t*>(registers), kPage) == 0);
        ::_exit(failures);
    }
    {
        Edu edu;
        CHECK(edu.map(both, kIova, kPage) == 0);
        send(ends[0], {edu.container, edu.group, edu.device});
    }
    CHECK(!group_is_free());
    char byte = 0;
    CHECK(::write(ends[0], &byte, 1) == 1);
    int status = -1;
    (void)::waitpid(child, &status, 0);
    CHECK(status == 0);
    CHECK(group_is_free());
}

void another_program_inherits_them(char const* self)
{
    Edu edu;
    for (int const fd : {edu.container, edu.group, edu.device}) (void)::fcntl(fd, F_SETFD, 0);
    edu.registers[1] = 0x21;
    pid_t const child = ::fork();
    if (child == 0) {
        auto const text = [](int fd) { return std::to_string(fd); };
        ::execl(self, self, text(edu.container).c_str(), text(edu.group).c_str(),
                text(edu.device).c_str(), nullptr);
        ::_exit(127);
    }
    int status = -1;
    (void)::waitpid(child, &status, 0);
    CHECK(status == 0);
    CHECK(edu.registers[1] == ~0x22U);
}

// As servers do once they have opened what they need: another root directory, another user.
void rights_are_given_up()
{
    if (::geteuid() != 0) return;
    IN_CHILD({
        Edu edu;
        char directory[] = "/tmp/empty-XXXXXX";
        CHECK(::mkdtemp(directory) != nullptr);
        if (::chroot(directory) != 0) return;  // root of a namespace may not
        CHECK(::chdir("/") == 0 && ::setgid(65534) == 0 && ::setuid(65534) == 0);
        int const again = ::ioctl(edu.group, VFIO_GROUP_GET_DEVICE_FD, kBdf);
        CHECK(again >= 0);
        std::uint32_t ids = 0;
        CHECK(::pread(again, &ids, 4, edu.config_offset()) == 4 && ids == 0x11e81234);
        copies(edu, memory(kPage), memory(kPage));
    });
}

int inherited(char** arguments)
{
    int const container = std::atoi(arguments[0]);
    int const group = std::atoi(arguments[1]);
    int const device = std::atoi(arguments[2]);
    // Half of the times something else is first.
    if (device % 2 == 0) CHECK(::ioctl(container, VFIO_GET_API_VERSION) == VFIO_API_VERSION);
    std::uint32_t ids = 0;
    CHECK(::pread(device, &ids, 4, off_t{VFIO_PCI_CONFIG_REGION_INDEX} << 40) == 4);
    CHECK(ids == 0x11e81234);
    CHECK(group_status(group) == (VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET));
    CHECK(::ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU) == 1);
    auto* const registers = static_cast<Registers>(
        ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, device, 0));
    CHECK(registers != MAP_FAILED && registers[1] == ~0x21U);
    registers[1] = 0x22;
    return failures == 0 ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments)
{
    ::setvbuf(stdout, nullptr, _IONBF, 0);  // children must not print what their parent has
    if (count == 4) return inherited(arguments + 1);
    a_child_uses_what_its_parent_opened();
    files_live_as_long_as_anybody_holds_them();
    a_child_opens_what_is_free();
    descriptors_come_by_a_socket();
    rights_are_given_up();
    another_program_inherits_them(arguments[0]);
    int const filler = ::open("/dev/null", O_RDONLY);
    another_program_inherits_them(arguments[0]);
    (void)::close(filler);
    return finish();
}
