#include "preload/fd_table.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

namespace pinfold::preload {
namespace {

// For the FdKeeper, whose functions have no context.
std::uint32_t* hidden_owners = nullptr;

std::atomic_ref<std::uint32_t> slot(std::uint32_t* owners, int fd)
{
    return std::atomic_ref<std::uint32_t>{owners[fd]};
}

bool fits(int fd) { return fd >= 0 && static_cast<unsigned>(fd) < PINFOLD_TABLE_SIZE; }

// The upper half of what the process may have, so that the client's own numbers stay low and dense.
int first_hidden_number()
{
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
    return static_cast<int>(std::min<rlim_t>(limit.rlim_cur / 2, PINFOLD_TABLE_SIZE / 2));
}

int keep_hidden(int fd)
{
    int const high = ::fcntl(fd, F_DUPFD_CLOEXEC, first_hidden_number());
    if (high >= 0) ::close(fd);
    int const kept = high >= 0 ? high : fd;
    if (fits(kept)) slot(hidden_owners, kept).store(PINFOLD_INTERNAL, std::memory_order_relaxed);
    return kept;
}

void closing_hidden(int fd)
{
    if (fits(fd)) slot(hidden_owners, fd).store(PINFOLD_FOREIGN, std::memory_order_relaxed);
}

constexpr FdKeeper kHidden{.keep = keep_hidden, .closing = closing_hidden};

}  // namespace

FdTable::FdTable(std::uint32_t* owners) : owners_{owners} {}

std::uint32_t FdTable::owner(int fd) const
{
    return fits(fd) ? slot(owners_, fd).load(std::memory_order_relaxed) : PINFOLD_FOREIGN;
}

Result<> FdTable::add(int fd, uapi::FileId file)
{
    if (!fits(fd)) return fail(Errno::mfile);
    retain(file);
    slot(owners_, fd).store(static_cast<std::uint32_t>(file), std::memory_order_relaxed);
    return {};
}

void FdTable::retain(uapi::FileId file)
{
    std::scoped_lock const lock{mutex_};
    ++holders_[static_cast<std::uint32_t>(file)];
}

bool FdTable::drop(uapi::FileId file)
{
    std::scoped_lock const lock{mutex_};
    auto const found = holders_.find(static_cast<std::uint32_t>(file));
    if (found == holders_.end() || --found->second > 0) return false;
    holders_.erase(found);
    return true;
}

bool FdTable::take_back(int fd)
{
    auto const file = slot(owners_, fd).exchange(PINFOLD_FOREIGN, std::memory_order_relaxed);
    return drop(static_cast<uapi::FileId>(file));
}

std::vector<int> FdTable::descriptors() const
{
    std::vector<int> found;
    rlimit limit{};
    (void)::getrlimit(RLIMIT_NOFILE, &limit);
    int const end = static_cast<int>(std::min<rlim_t>(limit.rlim_cur, PINFOLD_TABLE_SIZE));
    for (int fd = 0; fd < end; ++fd) {
        std::uint32_t const who = owner(fd);
        if (who != PINFOLD_FOREIGN && who != PINFOLD_INTERNAL && who != PINFOLD_ORPHAN)
            found.push_back(fd);
    }
    return found;
}

bool FdTable::any_held() const
{
    std::scoped_lock const lock{mutex_};
    return !holders_.empty();
}

void FdTable::forget_descriptors(FunctionRef<void(uapi::FileId)> visit)
{
    for (int const fd : descriptors()) {
        auto const file = slot(owners_, fd).exchange(PINFOLD_FOREIGN, std::memory_order_relaxed);
        visit(static_cast<uapi::FileId>(file));
    }
}

void FdTable::rebind(FunctionRef<uapi::FileId(uapi::FileId)> file_of)
{
    std::unordered_map<std::uint32_t, unsigned> holders;
    for (int const fd : descriptors()) {
        auto const now = static_cast<std::uint32_t>(file_of(static_cast<uapi::FileId>(owner(fd))));
        bool const reached = now != PINFOLD_FOREIGN;
        slot(owners_, fd).store(reached ? now : PINFOLD_ORPHAN, std::memory_order_relaxed);
        if (reached) ++holders[now];
    }
    holders_ = std::move(holders);
}

void FdTable::close_hidden(int fd)
{
    closing_hidden(fd);
    ::close(fd);
}

void FdTable::close_all_but_hidden() const
{
    unsigned first = 0;
    for (unsigned fd = 0; fd < PINFOLD_TABLE_SIZE; ++fd) {
        if (owner(static_cast<int>(fd)) != PINFOLD_INTERNAL) continue;
        if (first < fd) (void)::close_range(first, fd - 1, 0);
        first = fd + 1;
    }
    (void)::close_range(first, ~0U, 0);
}

void FdTable::hide_own_descriptors(std::uint32_t* owners)
{
    hidden_owners = owners;
    UniqueFd::set_keeper(&kHidden);
}

}  // namespace pinfold::preload
