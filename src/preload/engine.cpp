#include "preload/engine.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>

#include "host/guarded_copy.hpp"
#include "host/lock_source.hpp"
#include "host/raw_memory.hpp"
#include "preload/bar_space.hpp"
#include "preload/execution.hpp"
#include "preload/instruction.hpp"
#include "preload/log.hpp"
#include "preload/mmio.hpp"
#include "preload/signals.hpp"
#include "preload/status_file.hpp"

namespace pinfold::preload {
namespace {

constexpr std::uint64_t kPage = 4096;  // what protects BAR pages is the machine's own page

long as_kernel(Errno error) { return -number(error); }

template <class T>
long as_kernel(Result<T> const& result)
{
    if (!result) return as_kernel(result.error());
    if constexpr (std::is_void_v<T>)
        return 0;
    else
        return static_cast<long>(*result);
}

Vaddr vaddr_of(void const* address) { return Vaddr{reinterpret_cast<std::uint64_t>(address)}; }

// The whole pages that a call on [address, address + size) acts on. nullopt: none, or the kernel
// will refuse it.
std::optional<VaddrRange> pages_of(void const* address, std::size_t size)
{
    Vaddr const start = vaddr_of(address);
    std::uint64_t const whole = k4K.align_up(size);
    if (!k4K.aligned(start.raw()) || whole == 0) return std::nullopt;
    auto const range = VaddrRange::of(start, whole);
    return range ? std::optional{*range} : std::nullopt;
}

std::unique_ptr<host::LockedMemory::Source> make_lock_source(machine::Memlock const& memlock,
                                                             host::LockCap cap)
{
    using Kind = machine::Memlock::Kind;
    if (memlock.kind == Kind::inherit) return std::make_unique<host::OwnLockSource>(cap);
    std::uint64_t const bytes = memlock.kind == Kind::bytes ? memlock.bytes : ~std::uint64_t{0};
    return std::make_unique<host::OwnLockSource>(host::LockCap::no, bytes);
}

}  // namespace

machine::Checked<std::unique_ptr<Engine>> Engine::create(std::filesystem::path const& state,
                                                         std::uint32_t* owners)
{
    auto run = machine::read_run_state(state);
    if (!run) return std::unexpected{run.error()};
    auto description = machine::read_machine(state);
    if (!description) return std::unexpected{description.error()};
    auto lock_source = make_lock_source(description->host.memlock, run->lock_cap);
    return std::unique_ptr<Engine>{new Engine{state, std::move(*run), std::move(*description),
                                              std::move(lock_source), owners}};
}

Engine::Engine(std::filesystem::path state, machine::RunState run, machine::Description description,
               std::unique_ptr<host::LockedMemory::Source> lock_source, std::uint32_t* owners)
    : state_{std::move(state)},
      run_{std::move(run)},
      description_{std::move(description)},
      lock_source_{std::move(lock_source)},
      process_{std::make_unique<ClientProcess>(*lock_source_, description_.host.page_size,
                                               description_.kernel, bars_)},
      nodes_{run_},
      fds_{owners},
      owners_{state_ / PINFOLD_DIR_OWNERS},
      sharing_{*this, owners_}
{
    directory_ = UniqueFd{::open(state_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
    anonymous_ = UniqueFd{::eventfd(0, EFD_CLOEXEC)};
}

Result<> Engine::build_machine()
{
    std::scoped_lock const lock{build_mutex_};
    if (machine_) return {};
    journal_.emplace(state_);
    auto built =
        machine::Machine::build(description_, *process_, journal_->wanted() ? &*journal_ : nullptr);
    if (!built) {
        log_line(built.error());
        return fail(Errno::nodev);
    }
    machine_ = std::move(*built);
    counters_ = machine::create_counters(state_);
    live_.store(machine_.get(), std::memory_order_release);
    watch_removals();
    return {};
}

// Where the files of the tree cannot be watched, devices stay where they are.
void Engine::watch_removals()
{
    bool watched = true;
    removals_ =
        std::make_unique<machine::RemovalWatch>([machine = machine_.get()](std::string const& bdf) {
            if (auto const place = machine::Bdf::parse(bdf)) (void)machine->unplug(*place);
        });
    for (auto const& device : run_.devices) {
        auto const file = machine::removal_file(state_, device.bdf);
        watched = removals_->add(file, device.bdf.text()).has_value() && watched;
        if (removed(device.bdf.text())) (void)machine_->unplug(device.bdf);
    }
    if (!watched || !removals_->start())
        log_line("the tree's `remove` files cannot be watched: devices cannot be unplugged");
}

// ---- calls on our descriptors ----

long Engine::call(int fd, uapi::Call call)
{
    std::uint32_t const owner = fds_.owner(fd);
    if (owner == PINFOLD_INTERNAL || owner == PINFOLD_FOREIGN) return as_kernel(Errno::badf);
    if (owner == PINFOLD_ORPHAN) {
        log_line(fmt::format(
            "process {}: descriptor {} came with a fork() that could not share it (EIO)",
            ::getpid(), fd));
        return as_kernel(Errno::io);
    }
    Inside const inside;
    call.file = static_cast<uapi::FileId>(owner);
    auto const reply = dispatch(call);
    publish_now_and_then();
    return as_kernel(reply);
}

// Where the file's engine is: here, or in another process.
uapi::Reply Engine::dispatch(uapi::Call call)
{
    if (Remotes::covers(call.file)) [[unlikely]] {
        auto const& remote = remotes_.at(call.file);
        call.file = remote.file;
        auto const reply = remote.link->call(call);
        if (remote.link->tell_end())
            log_line(
                fmt::format("process {}: the process that opened the VFIO files which it holds "
                            "has ended; they answer no more (EIO)",
                            ::getpid()));
        return reply;
    }
    machine::Machine* const machine = live_.load(std::memory_order_acquire);
    if (machine == nullptr) return fail(Errno::io);
    return machine->door().call(*this, call);
}

long Engine::ioctl(int fd, unsigned long request, std::uint64_t arg)
{
    return call(
        fd,
        {.op = uapi::Call::Op::ioctl, .request = static_cast<std::uint32_t>(request), .arg = arg});
}

// ---- BARs ----

long Engine::mmap(void* address, std::size_t size, int prot, int flags, int fd,
                  std::uint64_t offset)
{
    std::uint32_t const owner = fds_.owner(fd);
    if (owner == PINFOLD_INTERNAL || owner == PINFOLD_FOREIGN) return as_kernel(Errno::badf);
    if (owner == PINFOLD_ORPHAN) return as_kernel(Errno::io);
    auto const file = static_cast<uapi::FileId>(owner);
    Inside const inside;
    bool const shared =
        (flags & MAP_TYPE) == MAP_SHARED || (flags & MAP_TYPE) == MAP_SHARED_VALIDATE;
    if (size == 0 || !k4K.aligned(offset)) return as_kernel(Errno::inval);
    auto const bar = bar_of(file, offset, k4K.align_up(size), shared);
    if (!bar) return as_kernel(bar.error());
    auto const mapped = map_bar(address, size, prot, flags, file, bar->bar);
    return mapped ? reinterpret_cast<long>(*mapped) : as_kernel(mapped.error());
}

Result<Link::Mapping> Engine::bar_of(uapi::FileId file, std::uint64_t offset, std::uint64_t size,
                                     bool shared)
{
    Link::Mapping mapping;
    if (Remotes::covers(file)) {
        auto const& remote = remotes_.at(file);
        mapping = TRY(remote.link->map(remote.file, offset, size, shared));
        mapping.bar.memory = mapping.memory.get();
        return mapping;
    }
    machine::Machine* const machine = live_.load(std::memory_order_acquire);
    if (machine == nullptr) return fail(Errno::io);
    mapping.bar = TRY(machine->door().mmap(file, offset, size, shared));
    return mapping;
}

Result<void*> Engine::map_bar(void* address, std::size_t size, int prot, int flags,
                              uapi::FileId file, uapi::BarMapping const& bar)
{
    bool const replaces =
        (flags & MAP_FIXED) != 0 && (flags & MAP_FIXED_NOREPLACE) != MAP_FIXED_NOREPLACE;
    if (replaces && leaving(address, size, Leaving::unmap) < 0) return fail(Errno::nomem);
    int const placement = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_32BIT);
    void* const at = ::mmap(address, size, PROT_NONE, MAP_SHARED | placement, bar.memory,
                            static_cast<off_t>(bar.offset));
    if (at == MAP_FAILED) return fail(static_cast<Errno>(errno));
    bool const accessible = (prot & (PROT_READ | PROT_WRITE)) != 0;
    for (std::size_t page = 0; accessible && page < bar.readable.size(); ++page)
        if (bar.readable[page])
            (void)::mprotect(static_cast<std::byte*>(at) + page * kPage, kPage, PROT_READ);
    fds_.retain(file);
    auto held = std::make_shared<BarHold>(file, [this](uapi::FileId gone) { (void)drop(gone); });
    bars_.add({.vaddr = *pages_of(at, size),
               .file = file,
               .offset = bar.region_offset,
               .accessible = accessible,
               .writable = (prot & PROT_WRITE) != 0,
               .device = bar.device,
               .paddr = bar.paddr,
               .held = std::move(held)});
    return at;
}

Signals::Verdict Engine::carry_out_mmio(siginfo_t const& info, ucontext_t& context)
{
    using Verdict = Signals::Verdict;
    if (recover_execution(info, context)) return Verdict::carried_out();
    if (bars_.empty() || info.si_signo == SIGFPE) return Verdict::foreign();
    Inside const inside;
    Vaddr const at = vaddr_of(info.si_addr);
    auto const place = bars_.find(at);
    if (!place || !place->accessible) return Verdict::foreign();
    auto const door = [&](uapi::Call const& call) { return dispatch(call); };
    BarSpace space{bars_, door, at, *place};
    std::array<std::uint8_t, kLongestInstruction> code{};
    auto const rip = static_cast<std::uint64_t>(context.uc_mcontext.gregs[REG_RIP]);
    std::size_t const missing =
        host::guarded_copy(code.data(), reinterpret_cast<void const*>(rip), code.size());
    std::span const bytes{code.data(), code.size() - missing};
    if (counters_) machine::add(counters_->mmio_traps, 1);
    auto const carried = carry_out(bytes, at, context, space);
    if (carried.how == Carried::How::refused) {
        log_line(fmt::format(
            "process {}: cannot carry out '{}' on device offset {:#x}; the program gets the fault",
            ::getpid(), describe_instruction(bytes, rip), place->offset));
        return Verdict::foreign();
    }
    publish_now_and_then();
    if (carried.how == Carried::How::out) return Verdict::carried_out();
    auto const& fault = *carried.fault;
    return Verdict::becomes(fault.signal, fault.code, host::raw::pointer(fault.address.raw()));
}

bool Engine::in_bar(void const* start, std::size_t size) const
{
    auto const range = VaddrRange::of(vaddr_of(start), size);
    return range.has_value() && bars_.overlaps(*range);
}

long Engine::copy_bar(void* buffer, std::span<std::byte> memory, Way way)
{
    auto const range = VaddrRange::of(vaddr_of(buffer), memory.size());
    if (!range) return as_kernel(Errno::fault);
    auto const door = [&](uapi::Call const& call) { return dispatch(call); };
    for (auto const& part : bars_.parts(*range)) {
        if (!part.place) continue;
        BarSpace space{bars_, door, part.range.start, *part.place};
        auto const fault =
            way == Way::out ? space.load(range->start, memory) : space.store(range->start, memory);
        return fault ? as_kernel(Errno::fault) : 0;
    }
    // What was moved ends before the BAR that the buffer reaches into.
    std::size_t const missing = way == Way::out
                                    ? host::guarded_copy(memory.data(), buffer, memory.size())
                                    : host::guarded_copy(buffer, memory.data(), memory.size());
    return missing == 0 ? 0 : as_kernel(Errno::fault);
}

long Engine::mprotect(void* address, std::size_t size, int prot) const
{
    auto const protect = [prot](void* at, std::size_t bytes) -> long {
        return ::mprotect(at, bytes, prot) == 0 ? 0 : -errno;
    };
    auto const range = bars_.empty() ? std::nullopt : pages_of(address, size);
    if (!range || !bars_.overlaps(*range)) return protect(address, size);
    Inside const inside;
    for (auto const& part : bars_.parts(*range)) {
        if (part.place) continue;
        long const result = protect(host::raw::pointer(part.range.start.raw()), part.range.size());
        if (result != 0) return result;
    }
    return 0;
}

// ---- the client's memory changes ----

long Engine::leaving(void* address, std::size_t size, Leaving how)
{
    machine::Machine* const machine = live_.load(std::memory_order_acquire);
    auto const range = pages_of(address, size);
    if ((machine == nullptr && bars_.empty()) || !range) return 0;
    Inside const inside;
    if (machine != nullptr)
        if (auto const moved = machine->memory().withdraw(range->start, range->size(), how); !moved)
            return as_kernel(moved.error());
    if (how == Leaving::unmap && !bars_.empty()) bars_.remove(*range);
    return 0;
}

long Engine::mremap(void* address, std::size_t size, std::size_t new_size, int flags,
                    void* new_address)
{
    long result = 0;
    auto const remap = [&]() -> std::optional<Vaddr> {
        void* const at = ::mremap(address, size, new_size, flags, new_address);
        result = at == MAP_FAILED ? -errno : reinterpret_cast<long>(at);
        return at == MAP_FAILED ? std::nullopt : std::optional{vaddr_of(at)};
    };
    machine::Machine* const machine = live_.load(std::memory_order_acquire);
    auto const range = pages_of(address, size);
    // What the kernel will refuse takes nothing away.
    bool const refused =
        new_size == 0 || ((flags & MREMAP_FIXED) != 0 && (flags & MREMAP_MAYMOVE) == 0);
    if ((machine == nullptr && bars_.empty()) || !range || refused) {
        (void)remap();
        return result;
    }
    Inside const inside;
    bool const of_bar = bars_.overlaps(*range);
    if (of_bar && k4K.align_up(new_size) > range->size()) return as_kernel(Errno::fault);
    if ((flags & MREMAP_FIXED) != 0) result = leaving(new_address, new_size, Leaving::unmap);
    if (result < 0) return result;
    if (new_size > size &&
        host::mlocked_bytes_in({range->start, range->start + (k4K.bytes() - 1)}) != 0)
        result = locking(nullptr, new_size - size, true);
    if (result < 0) return result;
    // What a shrinking mapping loses goes first; the rest keeps its frames, wherever it comes to
    // lie.
    std::uint64_t const kept = std::min(range->size(), k4K.align_up(new_size));
    if (kept < range->size())
        result =
            leaving(static_cast<std::byte*>(address) + kept, range->size() - kept, Leaving::unmap);
    if (result < 0) return result;
    if (of_bar) {
        if (auto const at = remap()) bars_.move({range->start, range->start + (kept - 1)}, *at);
        return result;
    }
    if (machine != nullptr)
        machine->memory().follow(range->start, kept, remap);
    else
        (void)remap();
    return result;
}

// ---- the account of locked memory ----

// What mlock() and mmap() test before the kernel does, which does not know our charges (rules P-1
// and P-3): EPERM where nothing at all may be locked, then ENOMEM or EAGAIN. What is locked already
// counts once.
long Engine::locking(void const* address, std::size_t size, bool mapping)
{
    PageSize const page = description_.host.page_size;
    std::uint64_t const start = page.align_down(vaddr_of(address).raw());
    std::uint64_t const past = page.align_up(vaddr_of(address).raw() + size);
    bool const sensible = past > start && size <= past - start;
    if (live_.load(std::memory_order_acquire) == nullptr || !sensible) return 0;
    Inside const inside;
    auto& account = process_->locked_memory();
    auto const cap = account.lock_cap();
    if (cap == host::LockCap::no && lock_source_->limit_bytes() == 0) return as_kernel(Errno::perm);
    std::uint64_t const pages = (past - start) >> page.lg2();
    std::uint64_t const excess = account.excess(pages, cap);
    if (excess == 0) return 0;
    VaddrRange const range{Vaddr{start}, Vaddr{past - 1}};
    if (!mapping && host::mlocked_bytes_in(range) >> page.lg2() >= excess) return 0;
    account.refused(pages);
    return as_kernel(mapping ? Errno::again : Errno::nomem);
}

void Engine::status(int fd)
{
    Inside const inside;
    std::uint64_t const pages =
        (live_.load(std::memory_order_acquire) == nullptr ? 0
                                                          : process_->locked_memory().charged()) +
        charged_elsewhere();
    if (pages != 0) show_locked(fd, pages << description_.host.page_size.lg2());
}

// ---- descriptors ----

long Engine::opened(int fd)
{
    auto const node = nodes_.identify(fd);
    // Another thread may have taken it for an inherited one already.
    if (!node || fds_.owner(fd) != PINFOLD_FOREIGN) return 0;
    // An inode without a name cannot be opened by the link in /proc.
    if (node->kind == Node::Kind::device) return as_kernel(Errno::nxio);
    Inside const inside;
    long const result = open_at(fd, *node);
    if (result == 0) see_inherited();
    return result;
}

long Engine::open_at(int fd, Node const& node)
{
    if (node.kind == Node::Kind::device) return 0;
    auto const file = open_node(node);
    if (!file) return as_kernel(file.error());
    auto added = watch_for(*file, fd);
    if (added) added = fds_.add(fd, *file);
    if (!added) release(*file);
    return as_kernel(added);
}

Result<uapi::FileId> Engine::open_node(Node const& node)
{
    TRY(build_machine());
    if (node.kind == Node::Kind::container) return machine_->door().open_container();
    if (!group_has_node(node.group)) return fail(Errno::noent);
    auto const file = open_group(node.group);
    if (file || file.error() != Errno::busy) return file;
    // A holder that has ended may not have been noticed yet.
    settle_everywhere();
    return open_group(node.group);
}

Result<uapi::FileId> Engine::open_group(unsigned number)
{
    std::scoped_lock const lock{claims_mutex_};
    drop_free_claims();
    UniqueFd claim;
    if (!group_claims_.contains(number)) claim = TRY(claim_group(number));
    auto const file = TRY(machine_->door().open_group(number));
    if (claim) group_claims_.emplace(number, std::move(claim));
    return file;
}

// A group is in use longer than its own descriptors are open: a device keeps it. So its claim goes
// when the door would open it again. REQUIRES: claims_mutex_ held.
void Engine::drop_free_claims()
{
    std::erase_if(group_claims_, [this](auto const& claim) {
        auto const probe = machine_->door().open_group(claim.first);
        if (probe) machine_->door().release(*probe);
        return probe.has_value();
    });
}

// A group belongs to one process at a time (rule G-1). The lock goes with its process, however it
// ends.
Result<UniqueFd> Engine::claim_group(unsigned number) const
{
    auto const path = fmt::format("group.{}", number);
    UniqueFd claim{::openat(directory_.get(), path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
    if (!claim) return fail(static_cast<Errno>(errno));
    struct flock whole{};
    whole.l_type = F_WRLCK;
    if (::fcntl(claim.get(), F_OFD_SETLK, &whole) != 0) return fail(Errno::busy);
    return claim;
}

// What was open when the program's image began, and not by its own calls.
void Engine::see_inherited()
{
    if (inherited_seen_.exchange(true)) return;
    std::vector<int> descriptors;
    std::error_code error;
    for (auto const& entry : std::filesystem::directory_iterator{"/proc/self/fd", error})
        descriptors.push_back(std::atoi(entry.path().filename().c_str()));
    for (int const fd : descriptors)
        if (fds_.owner(fd) == PINFOLD_FOREIGN) (void)adopt_one(fd);
}

long Engine::adopt(int fd)
{
    Inside const inside;
    see_inherited();
    auto const owner = fds_.owner(fd);
    return owner != PINFOLD_FOREIGN ? owner != PINFOLD_INTERNAL : adopt_one(fd);
}

long Engine::adopt_one(int fd)
{
    auto const node = nodes_.identify(fd);
    if (!node) return 0;
    bool const names_only = (::fcntl(fd, F_GETFL) & O_PATH) != 0;
    bool const always =
        node->kind == Node::Kind::device || run_.mode == machine::RunState::Mode::paths;
    if (names_only && !always) return 0;
    for (int const known : fds_.descriptors()) {
        if (!same_description(fd, known)) continue;
        duplicated(known, fd);
        if (!Remotes::covers(static_cast<uapi::FileId>(fds_.owner(known))))
            arrived(static_cast<uapi::FileId>(fds_.owner(known)));
        return 1;
    }
    if (auto const file = find_owner(fd)) {
        if (fds_.add(fd, *file)) return 1;
        release(*file);
        return 0;
    }
    log_line(fmt::format(
        "process {}: descriptor {} ({}) came from a process or program image that has gone, or was "
        "opened unseen; it starts anew",
        ::getpid(), fd,
        node->kind == Node::Kind::container ? "container"
        : node->kind == Node::Kind::group   ? "group"
                                            : "device"));
    return open_at(fd, *node) == 0 && fds_.owner(fd) != PINFOLD_FOREIGN ? 1 : 0;
}

void Engine::closed(uapi::FileId file)
{
    // Other holders' ends, which waitpid() may have told of, are seen to first, as on Linux. Not
    // where a guest lets go: that is such an end.
    if (!drop(file)) sharing_.settle();
}

bool Engine::drop(uapi::FileId file)
{
    Inside const inside;
    if (!fds_.drop(file)) return false;
    release(file);
    return true;
}

void Engine::release(uapi::FileId file)
{
    if (Remotes::covers(file)) {
        auto const& remote = remotes_.at(file);
        remote.link->dropped(remote.file);
        return;
    }
    machine::Machine* const machine = live_.load(std::memory_order_acquire);
    if (machine == nullptr) return;
    Inside const inside;
    {
        std::scoped_lock const lock{shares_mutex_};
        witnesses_.erase(static_cast<std::uint32_t>(file));
    }
    machine->door().release(file);
    publish();
    {
        std::scoped_lock const lock{claims_mutex_};
        drop_free_claims();
    }
    std::scoped_lock const lock{let_go_mutex_};
    let_go_.notify_all();
}

void Engine::duplicated(int fd, int copy)
{
    Inside const inside;
    std::uint32_t const owner = fds_.owner(fd);
    if (owner == PINFOLD_FOREIGN || owner == PINFOLD_INTERNAL || owner == PINFOLD_ORPHAN) return;
    if (!fds_.add(copy, static_cast<uapi::FileId>(owner)))
        log_line(fmt::format(
            "descriptor {} is beyond what can be followed; VFIO calls on it will fail", copy));
}

Result<uapi::FileId> Engine::file(int fd)
{
    int const flags = ::fcntl(fd, F_GETFL);
    if (flags < 0) return fail(Errno::badf);
    std::uint32_t const owner = fds_.owner(fd);
    if (owner == PINFOLD_INTERNAL) return fail(Errno::badf);
    // For the kernel a descriptor that only names a file is not open. (Some of ours are such.)
    if (owner == PINFOLD_FOREIGN && (flags & O_PATH) != 0) return fail(Errno::badf);
    if (owner == PINFOLD_FOREIGN || owner == PINFOLD_ORPHAN) return uapi::FileId::none;
    return static_cast<uapi::FileId>(owner);
}

Result<UniqueFd> Engine::eventfd(int fd)
{
    if (fds_.owner(fd) == PINFOLD_INTERNAL) return fail(Errno::badf);
    UniqueFd copy{::fcntl(fd, F_DUPFD_CLOEXEC, 0)};
    if (!copy) return fail(errno == EMFILE ? Errno::mfile : Errno::badf);
    std::array<char, 64> target{};
    auto const link = fmt::format("/proc/self/fd/{}", copy.get());
    ssize_t const length = ::readlink(link.c_str(), target.data(), target.size());
    std::string_view const name{target.data(), length > 0 ? static_cast<std::size_t>(length) : 0};
    if (name != "anon_inode:[eventfd]") return fail(Errno::inval);
    return copy;
}

Result<int> Engine::install(uapi::FileId file)
{
    int const fd = TRY(install_as(file));
    if (auto const watched = watch_for(file, fd); !watched) {
        // The file is its caller's again.
        (void)fds_.take_back(fd);
        ::close(fd);
        return fail(watched.error());
    }
    return fd;
}

Result<int> Engine::install_as(uapi::FileId file)
{
    if (run_.devices.empty()) return fail(Errno::nodev);
    auto const path = fmt::format("{}/{}", PINFOLD_DIR_DEVICES, run_.devices.front().bdf.text());
    int const fd = ::openat(directory_.get(), path.c_str(), O_PATH | O_CLOEXEC);
    if (fd < 0) return fail(static_cast<Errno>(errno));
    if (auto const added = fds_.add(fd, file); !added) {
        ::close(fd);
        return fail(added.error());
    }
    return fd;
}

// ---- the run ----

void Engine::publish()
{
    machine::Machine* const machine = live_.load(std::memory_order_acquire);
    if (machine != nullptr && counters_) machine->publish(*counters_);
}

void Engine::publish_now_and_then()
{
    constexpr std::uint64_t kInterval =
        10'000'000;  // ns: what a killed client may lose of its report
    timespec now{};
    (void)::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    auto const instant = static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
                         static_cast<std::uint64_t>(now.tv_nsec);
    std::uint64_t due = next_publish_.load(std::memory_order_relaxed);
    if (instant < due) return;
    if (next_publish_.compare_exchange_strong(due, instant + kInterval, std::memory_order_relaxed))
        publish();
}

}  // namespace pinfold::preload
