#include "host/own_process.hpp"

#include "host/guarded_copy.hpp"
#include "host/mappings.hpp"
#include "host/page_states.hpp"
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
        // Since Linux 6.5 (rules 3.3).
        if (kernel_ >= Kernel::v6_12 && maps_tracked_file(range)) return fail(Errno::fault);
        return {};
    }
    if (kernel_ < Kernel::v6_12) return fault_in_for_read(range);

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

// Before 6.2 a pin for read leaves copy-on-write as it is: it finds the zero page where nothing was
// written, and a file's own page in a private mapping. Only what a fork shares is unshared.
Result<> OwnProcess::fault_in_for_read(VaddrRange range)
{
    PageStates const states;
    TRY(Mappings{}.for_each(range, [&](Mapping const& mapping) -> Result<> {
        if (!mapping.readable || !mapping.writable || mapping.shared) return {};
        return states.for_each(mapping.range, [&](VaddrRange pages, PageState state) -> Result<> {
            // By its entry a page that was only read looks like one that a fork shares.
            bool const surely = states.source() == PageStates::Source::scan;
            if (state != PageState::anonymous && (surely || state != PageState::zero)) return {};
            auto const done = populate(pages, MADV_POPULATE_WRITE);
            if (!done && done.error() != Errno::fault) return done;
            return {};
        });
    }));
    TRY(populate(range, MADV_POPULATE_READ));
    return host_page_ == k4K ? Result<>{} : own_mixed_pages(range);
}

// A host page is the zero page as a whole or not at all.
Result<> OwnProcess::own_mixed_pages(VaddrRange range)
{
    auto const page_of = [&](Vaddr vaddr) {
        Vaddr const start{host_page_.align_down(vaddr.raw())};
        return VaddrRange{start, start + host_page_.mask()};
    };
    return PageStates{}.for_each(range, [&](VaddrRange pages, PageState state) -> Result<> {
        if (state != PageState::zero) return {};
        for (auto const& page : {page_of(pages.start), page_of(pages.last)})
            if (!pages.contains(page)) (void)populate(page, MADV_POPULATE_WRITE);
        return {};
    });
}

void OwnProcess::for_each_foreign(VaddrRange range, Intent intent,
                                  FunctionRef<void(Foreign const&)> visit)
{
    if (intent == Intent::write || kernel_ >= Kernel::v6_12) return;
    (void)PageStates{}.for_each(range, [&](VaddrRange pages, PageState state) -> Result<> {
        std::uint64_t const start = host_page_.align_up(pages.start.raw());
        std::uint64_t const past = host_page_.align_down(pages.last.raw() + 1);
        if (state == PageState::zero && start < past)
            visit({{Vaddr{start}, Vaddr{past - 1}}, std::nullopt});
        return {};
    });
}

std::byte* OwnProcess::local(Vaddr vaddr)
{
    return kUserRange.contains(vaddr) ? pointer(vaddr) : nullptr;
}

}  // namespace pinfold::host
