// A VFIO client with the engine linked into it, so that both are under the same sanitizers, which a
// preloaded library cannot be. The client is compiled with its calls renamed to those below; what
// the stub does with them under `pinfold run`, they do, and no more.
//
// LINKED_MACHINE and LINKED_KERNEL name the machine; nothing said is the default machine.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "cli/device_tree.hpp"
#include "cli/options.hpp"
#include "cli/state_directory.hpp"
#include "host/lock_source.hpp"
#include "host/own_process.hpp"
#include "machine/machine.hpp"
#include "machine/run_state.hpp"
#include "preload/abi.h"

extern "C" pinfold_engine const* pinfold_engine_start(std::uint32_t* table, char const* state);

namespace {

using namespace pinfold;
namespace fs = std::filesystem;

[[noreturn]] void give_up(std::string_view why)
{
    fmt::print(stderr, "linked: {}\n", why);
    std::_Exit(1);
}

template <class T>
T must(machine::Checked<T> value)
{
    if (!value) give_up(value.error());
    if constexpr (!std::is_void_v<T>) return std::move(*value);
}

template <class Named>
void identify(fs::path const& path, Named& named)
{
    struct stat status{};
    if (::stat(path.c_str(), &status) != 0) give_up(path.string() + " is not there");
    named.st_dev = status.st_dev;
    named.st_ino = status.st_ino;
}

machine::Description described()
{
    cli::RunOptions options;
    if (char const* const name = std::getenv("LINKED_MACHINE")) options.machine = name;
    if (char const* const kernel = std::getenv("LINKED_KERNEL")) options.kernel = kernel;
    options.devices = {"edu,bdf=0000:00:04.0", "edu,bdf=0000:00:05.0"};
    return must(cli::describe(options));
}

std::vector<machine::Face> faces_of(machine::Description const& machine)
{
    host::FixedLockSource nothing_locked{0};
    host::OwnProcess process{nothing_locked, machine.host.page_size};
    return must(machine::Machine::build(machine, process))->faces();
}

// A run in paths mode, laid out as the launcher does it.
class Run {
public:
    Run() : machine_{described()}, faces_{faces_of(machine_)}
    {
        state_.emplace(must(cli::StateDirectory::create(machine_, faces_)));
        must(cli::write_tree(state(), machine_, faces_));
        machine::RunState run{};
        run.mode = machine::RunState::Mode::paths;
        run.lock_cap = host::LockCap::yes;
        run.engine = "linked";
        add_node(run, std::nullopt);
        for (auto const& face : faces_) {
            add_node(run, face.group);
            auto& file = run.devices.emplace_back(face.bdf, face.group);
            identify(machine::device_file(state(), face.bdf), file);
        }
        must(machine::write_run_state(state(), run));
        engine = pinfold_engine_start(table.data(), state().c_str());
        if (engine == nullptr)
            give_up(state_->log().empty() ? "the engine does not start" : state_->log().front());
    }
    // What the engine had to tell is a failure here: nothing in a stream is unknown to it.
    ~Run()
    {
        for (auto const& line : state_->log()) fmt::print(stderr, "linked: {}\n", line);
    }

    fs::path const& state() const { return state_->path(); }
    PageSize host_page() const { return machine_.host.page_size; }

    std::vector<std::uint32_t> table = std::vector<std::uint32_t>(PINFOLD_TABLE_SIZE);
    pinfold_engine const* engine = nullptr;

private:
    void add_node(machine::RunState& run, std::optional<unsigned> group)
    {
        auto& node = run.nodes.emplace_back();
        node.group = group;
        auto const name = group ? fmt::format("{}", *group) : std::string{PINFOLD_NODE_CONTAINER};
        identify(machine::mirrored(state(), fs::path{PINFOLD_NODE_DIR} / name), node);
    }

    machine::Description machine_;
    std::vector<machine::Face> faces_;
    std::optional<cli::StateDirectory> state_;
};

bool laying_out = false;

Run* the_run()
{
    if (laying_out) return nullptr;
    static std::unique_ptr<Run> const run = [] {
        laying_out = true;
        auto made = std::make_unique<Run>();
        laying_out = false;
        return made;
    }();
    return run.get();
}

bool starts_with(char const* path, std::string_view prefix)
{
    return std::string_view{path}.starts_with(prefix);
}

// The run, if `fd` is the engine's.
Run* owner(int fd)
{
    if (fd < 0 || static_cast<unsigned>(fd) >= PINFOLD_TABLE_SIZE) return nullptr;
    Run* const run = the_run();
    return run != nullptr && run->table[static_cast<unsigned>(fd)] != PINFOLD_FOREIGN ? run
                                                                                      : nullptr;
}

long as_libc(long result)
{
    if (result >= 0) return result;
    errno = static_cast<int>(-result);
    return -1;
}

}  // namespace

extern "C" {

int linked_open(char const* path, int flags, ...)
{
    std::va_list rest;
    va_start(rest, flags);
    mode_t const mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (!starts_with(path, "/dev/vfio/")) return ::open(path, flags, mode);
    Run* const run = the_run();
    int const fd = ::open(machine::mirrored(run->state(), path).c_str(), flags, mode);
    if (fd < 0) return fd;
    long const opened = run->engine->opened(fd);
    if (opened < 0) ::close(fd);
    return opened < 0 ? static_cast<int>(as_libc(opened)) : fd;
}

int linked_close(int fd)
{
    Run* const run = owner(fd);
    std::uint32_t const file = run != nullptr ? run->table[static_cast<unsigned>(fd)] : 0;
    if (run != nullptr) run->table[static_cast<unsigned>(fd)] = PINFOLD_FOREIGN;
    int const result = ::close(fd);
    if (run != nullptr) run->engine->closed(file);
    return result;
}

int linked_ioctl(int fd, unsigned long request, ...)
{
    std::va_list rest;
    va_start(rest, request);
    auto const arg = va_arg(rest, unsigned long);
    va_end(rest);
    if (Run* const run = owner(fd))
        return static_cast<int>(as_libc(run->engine->ioctl(fd, request, arg)));
    return ::ioctl(fd, request, arg);
}

void* linked_mmap(void* address, std::size_t size, int prot, int flags, int fd, off_t offset)
{
    Run* const run = the_run();
    if (run == nullptr) return ::mmap(address, size, prot, flags, fd, offset);
    if ((flags & MAP_ANONYMOUS) == 0 && owner(fd) != nullptr) {
        long const mapped = run->engine->mmap(address, size, prot, flags, fd, offset);
        if (mapped >= 0 || mapped < -4095) return reinterpret_cast<void*>(mapped);
        errno = static_cast<int>(-mapped);
        return MAP_FAILED;
    }
    // Where the probes like to have their memory (from 2^40 on), a sanitizer has its own. From
    // 0x7e90'0000'0000 on is a program's under all of them, and below what the kernel gives out.
    constexpr std::uintptr_t kAway = 0x7d90'0000'0000;
    if ((flags & MAP_FIXED_NOREPLACE) != 0)
        address = reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(address) + kAway);
    if ((flags & MAP_FIXED) != 0) (void)run->engine->leaving(address, size, PINFOLD_UNMAP);
    return ::mmap(address, size, prot, flags, fd, offset);
}

int linked_munmap(void* address, std::size_t size)
{
    if (Run* const run = the_run()) {
        long const allowed = run->engine->leaving(address, size, PINFOLD_UNMAP);
        if (allowed < 0) return static_cast<int>(as_libc(allowed));
    }
    return ::munmap(address, size);
}

int linked_madvise(void* address, std::size_t size, int advice)
{
    Run* const run = the_run();
    if (run != nullptr && advice == MADV_DONTNEED)
        (void)run->engine->leaving(address, size, PINFOLD_DISCARD);
    return ::madvise(address, size, advice);
}

ssize_t linked_pread(int fd, void* buffer, std::size_t size, off_t offset)
{
    if (Run* const run = owner(fd)) return as_libc(run->engine->pread(fd, buffer, size, offset));
    return ::pread(fd, buffer, size, offset);
}

ssize_t linked_pwrite(int fd, void const* buffer, std::size_t size, off_t offset)
{
    if (Run* const run = owner(fd)) return as_libc(run->engine->pwrite(fd, buffer, size, offset));
    return ::pwrite(fd, buffer, size, offset);
}

long linked_sysconf(int name)
{
    if (name != _SC_PAGESIZE) return ::sysconf(name);
    return static_cast<long>(the_run()->host_page().bytes());
}

ssize_t linked_readlink(char const* path, char* buffer, std::size_t size)
{
    if (!starts_with(path, "/sys/bus/pci/")) return ::readlink(path, buffer, size);
    return ::readlink(machine::mirrored(the_run()->state(), path).c_str(), buffer, size);
}

}  // extern "C"
