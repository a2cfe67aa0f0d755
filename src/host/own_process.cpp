#include "host/own_process.hpp"

#include "host/guarded_copy.hpp"
#include "host/mappings.hpp"
#include "host/raw_memory.hpp"
#include "host/tracked_files.hpp"

namespace pinfold::host {
namespace {

// x86-64's TASK_SIZE with four levels of page tables.
constexpr VaddrRange kUserRange{Vaddr{0}, Vaddr{(std::uint64_t{1} << 47) - 4097}};

std::byte* pointer(Vaddr vaddr) { return raw::pointer(vaddr.raw()); }

// access_ok(): nothing outside the user half is touched at all.
Result<> check_user_range(Vaddr start, std::size_t size)
{
    auto const range = VaddrRange::of(start, size);
    if (!range || !kUserRange.contains(*range)) return fail(Errno::fault);
    return {};
}

// MADV_POPULATE_* answers as faultin_page_range() does, which is not how get_user_pages() does:
// it says ENOMEM for a hole as well as for want of memory, and EINVAL for a missing right and for
// VM_IO and VM_PFNMAP memory. msync() knows holes only.
Errno as_get_user_pages(int error, std::byte* start, std::size_t size)
{
    switch (error) {
        case ENOMEM: return raw::msync(start, size, MS_ASYNC) == 0 ? Errno::nomem : Errno::fault;
        case EINTR: return Errno::intr;
        default: return Errno::fault;
    }
}

Result<> populate(VaddrRange range, int advice)
{
    std::byte* const start = pointer(range.start);
    if (raw::madvise(start, range.size(), advice) == 0) return {};
    return fail(as_get_user_pages(errno, start, range.size()));
}

}  // namespace

Result<> OwnProcess::read(Vaddr from, std::span<std::byte> into)
{
    if (into.empty()) return {};
    TRY(check_user_range(from, into.size()));
    if (guarded_copy(into.data(), pointer(from), into.size()) != 0) return fail(Errno::fault);
    return {};
}

Result<> OwnProcess::write(Vaddr to, std::span<std::byte const> from)
{
    if (from.empty()) return {};
    TRY(check_user_range(to, from.size()));
    if (guarded_copy(pointer(to), from.data(), from.size()) != 0) return fail(Errno::fault);
    return {};
}

Result<> OwnProcess::fault_in(VaddrRange range, Intent intent)
{
    if (!kUserRange.contains(range)) return fail(Errno::fault);
    if (intent == Intent::write) {
        TRY(populate(range, MADV_POPULATE_WRITE));
        if (tracked_files_ == TrackedFiles::refused && maps_tracked_file(range)) {
            return fail(Errno::fault);
        }
        return {};
    }

    // A long-term pin for read breaks copy-on-write all the same, but only in private memory: a
    // shared file must not become dirty by being read. Where it cannot be written there is nothing
    // that a later write of the process could part from the pin.
    TRY(Mappings{}.for_each(range, [](Mapping const& mapping) -> Result<> {
        if (!mapping.readable || !mapping.writable || mapping.shared) return {};
        auto const done = populate(mapping.range, MADV_POPULATE_WRITE);
        if (!done && done.error() != Errno::fault) return done;
        return {};
    }));
    return populate(range, MADV_POPULATE_READ);
}

// A name that cannot be read is empty.
Task OwnProcess::task() const
{
    Task task{.pid = static_cast<int>(::getpid())};
    UniqueFd const file = raw::open("/proc/self/comm", O_RDONLY);
    long const size = ::syscall(SYS_read, file.get(), task.comm.data(), task.comm.size() - 1);
    if (size > 0 && task.comm[static_cast<std::size_t>(size) - 1] == '\n')
        task.comm[static_cast<std::size_t>(size) - 1] = '\0';
    return task;
}

std::byte* OwnProcess::local(Vaddr vaddr)
{
    return kUserRange.contains(vaddr) ? pointer(vaddr) : nullptr;
}

}  // namespace pinfold::host
