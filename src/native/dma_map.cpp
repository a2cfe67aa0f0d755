#include "native/dma_map.hpp"

#include <algorithm>
#include <cassert>
#include <new>

namespace pinfold {

using native::Entry;
using native::Index;
using native::Mapping;

Result<std::unique_ptr<DmaMap>> DmaMap::create(Options options)
try {
    if (options.iova_width <= options.granule.lg2() || options.iova_width > 64 ||
        options.granule < k4K)
        return fail(Errno::inval);
    if (options.memory == nullptr) options.memory = &native::Memory::system();
    auto index = TRY(Index::create(options.iova_width, *options.memory));
    return std::unique_ptr<DmaMap>{new DmaMap{options, std::move(index)}};
} catch (std::bad_alloc const&) {
    return fail(Errno::nomem);
}

DmaMap::DmaMap(Options const& options, std::unique_ptr<Index> index)
    : last_iova_{~std::uint64_t{0} >> (64 - options.iova_width)},
      granule_mask_{options.granule.mask()},
      mapping_limit_{options.mapping_limit},
      memory_{*options.memory},
      lock_{options.writers},
      index_{std::move(index)}
{
    constexpr auto kNone = std::numeric_limits<std::uint64_t>::max();
    accounts_.push_back({.limits = {kNone, kNone}, .used = {}});
}

DmaMap::~DmaMap() { assert(readers_.empty()); }

DmaFile::~DmaFile()
{
    if (map_ != nullptr) map_->close(*file_);
}

Result<DmaFile> DmaMap::file(int fd)
{
    std::lock_guard const lock{lock_};
    return DmaFile{this, TRY(files_.open(fd))};
}

void DmaMap::close(native::File& file)
{
    std::lock_guard const lock{lock_};
    files_.close(file);
}

Result<DmaMap::Owner> DmaMap::add_owner(Usage limits)
try {
    std::lock_guard const lock{lock_};
    auto const free = std::ranges::find_if(accounts_, &Account::free);
    auto const owner = static_cast<Owner>(free - accounts_.begin());
    if (free == accounts_.end())
        accounts_.push_back({.limits = limits, .used = {}});
    else
        *free = {.limits = limits, .used = {}};
    return owner;
} catch (std::bad_alloc const&) {
    return fail(Errno::nomem);
}

Result<> DmaMap::remove_owner(Owner owner, DmaReader* self)
{
    Call const call{*this, self};
    auto const number = static_cast<std::size_t>(owner);
    if (number == 0 || number >= accounts_.size() || accounts_[number].free)
        return fail(Errno::inval);
    take_those_of(owner);
    settle(self);
    accounts_[number].free = true;
    return {};
}

DmaMap::Usage DmaMap::usage(Owner owner) const
{
    std::lock_guard const lock{lock_};
    auto const number = static_cast<std::size_t>(owner);
    return number < accounts_.size() ? accounts_[number].used : Usage{};
}

// `other` is the address on the other side.
[[gnu::always_inline]] inline Result<> DmaMap::check(Iova iova, std::uint64_t other,
                                                     std::uint64_t size, Prot prot) const
{
    bool const known_prot = prot != Prot::none && (prot | Prot::read_write) == Prot::read_write;
    if (!aligned(iova.raw() | other | size) || size == 0 || !known_prot) return fail(Errno::inval);
    if (iova.raw() + (size - 1) < iova.raw() || other + (size - 1) < other)
        return fail(Errno::overflow);
    return {};
}

Result<> DmaMap::map(Iova iova, void* memory, std::uint64_t size, Prot prot, Owner owner)
{
    auto const raw = reinterpret_cast<std::uintptr_t>(memory);
    TRY(check(iova, raw, size, prot));
    Request const request{{iova, iova + (size - 1)}, owner};
    Entry const leaf = Entry::leaf(iova, Paddr{raw}, prot);
    std::lock_guard const lock{lock_};
    if (map_among_others(request, leaf)) [[likely]]
        return {};
    TRY(admit(request));
    return commit(request, leaf, nullptr);
}

Result<> DmaMap::map(Iova iova, DmaFile const& file, std::uint64_t offset, std::uint64_t size,
                     Prot prot, Owner owner)
{
    TRY(check(iova, offset, size, prot));
    Request const request{{iova, iova + (size - 1)}, owner};
    std::lock_guard const lock{lock_};
    TRY(admit(request));
    if (allows(prot, Access::write) && !file.writable()) return fail(Errno::acces);
    native::View* const view = TRY(file.file_->view(offset, size));
    auto const raw = reinterpret_cast<std::uintptr_t>(view->memory + offset);
    return commit(request, Entry::leaf(iova, Paddr{raw}, prot), view);
}

Result<> DmaMap::map_without_memory(Iova iova, std::uint64_t size, Prot prot, Owner owner)
{
    TRY(check(iova, 0, size, prot));
    Request const request{{iova, iova + (size - 1)}, owner};
    std::lock_guard const lock{lock_};
    TRY(admit(request));
    return commit(request, Entry::without_memory(prot), nullptr);
}

// The usual case, in which no errno wins over another. False: nothing has changed.
inline bool DmaMap::map_among_others(Request const& request, Entry entry)
{
    if (!within_limits(request) || own_log_) return false;
    auto const owner = static_cast<std::uint64_t>(request.owner);
    if (!index_->map_pages(request.iova, entry, {0, owner})) return false;
    charge(request);
    return true;
}

inline bool DmaMap::within_limits(Request const& request) const
{
    auto const number = static_cast<std::size_t>(request.owner);
    if (number >= accounts_.size()) return false;
    Account const& account = accounts_[number];
    return !account.free && request.iova.last <= last_iova_ &&
           index_->mappings() < mapping_limit_ && account.used.mappings < account.limits.mappings &&
           request.iova.size() <= account.limits.bytes - account.used.bytes;
}

inline void DmaMap::charge(Request const& request)
{
    Usage& used = accounts_[static_cast<std::size_t>(request.owner)].used;
    used.bytes += request.iova.size();
    ++used.mappings;
}

Result<> DmaMap::admit(Request const& request) const
{
    auto const inside = known(request.iova);
    if (inside && !index_->vacant(*inside)) return fail(Errno::exist);
    auto const number = static_cast<std::size_t>(request.owner);
    if (number >= accounts_.size() || accounts_[number].free) return fail(Errno::inval);
    Account const& account = accounts_[number];
    if (index_->mappings() >= mapping_limit_ || account.used.mappings >= account.limits.mappings)
        return fail(Errno::nospc);
    if (inside != request.iova) return fail(Errno::inval);
    if (request.iova.size() > account.limits.bytes - account.used.bytes) return fail(Errno::nomem);
    return {};
}

Result<> DmaMap::commit(Request const& request, Entry entry, native::View* view)
{
    if (own_log_) TRY(own_log_->cover(request.iova));
    TRY(index_->insert(
        request.iova, entry,
        {reinterpret_cast<std::uintptr_t>(view), static_cast<std::uint64_t>(request.owner)}));
    if (view != nullptr) ++view->uses;
    charge(request);
    return {};
}

std::optional<DmaMap::Region> DmaMap::region(Iova from) const
{
    std::lock_guard const lock{lock_};
    auto const inside = known({from, last_iova_});
    auto const held = inside ? index_->first_in(*inside) : std::nullopt;
    if (!held) return std::nullopt;
    Mapping const& mapping = held->mapping;
    auto* const memory =
        mapping.entry.has_memory() ? reinterpret_cast<std::byte*>(mapping.paddr().raw()) : nullptr;
    return Region{mapping.iova, memory, mapping.prot(), static_cast<Owner>(index_->tag(*held)[1])};
}

std::uint64_t DmaMap::mappings() const
{
    std::lock_guard const lock{lock_};
    return index_->mappings();
}

std::uint64_t DmaMap::table_bytes() const
{
    std::lock_guard const lock{lock_};
    return index_->bytes_in_use();
}

Result<DmaReader> DmaMap::add_reader(Reading reading)
{
    std::lock_guard const lock{lock_};
    return DmaReader{this, TRY(readers_.add(reading))};
}

// Others may wait for it while it waits for them.
void DmaMap::remove_reader(native::Readers::Reader* reader)
{
    reader->leave();
    std::lock_guard const lock{lock_};
    readers_.remove(reader);
}

// A section that began before does not know of the log yet; it ends before this returns.
Result<> DmaMap::start_dirty_log(DmaReader* self)
{
    Call const call{*this, self};
    if (own_log_) return {};
    auto log = TRY(native::DirtyLog::create(memory_, dirty_));
    for (IovaRange rest{Iova{0}, last_iova_};;) {
        auto const held = index_->first_in(rest);
        if (!held) break;
        IovaRange const mapped = held->mapping.iova;
        TRY(log->cover(mapped));
        if (mapped.last >= rest.last) break;
        rest.start = mapped.last + 1;
    }
    own_log_ = std::move(log);
    own_log_->start();
    wait(self);
    return {};
}

void DmaMap::stop_dirty_log(DmaReader* self)
{
    Call const call{*this, self};
    if (!own_log_) return;
    own_log_->stop();
    wait(self);
    own_log_.reset();
}

Result<> DmaMap::harvest(IovaRange range, std::span<std::uint64_t> into, DmaReader* self)
{
    Call const call{*this, self};
    if (!own_log_ || range.last < range.start || !k4K.aligned(range.start.raw()) ||
        !k4K.aligned(range.last.raw() + 1))
        return fail(Errno::inval);
    std::uint64_t const pages = (range.last.raw() - range.start.raw()) / k4K.bytes() + 1;
    if (into.size() < (pages + 63) / 64) return fail(Errno::inval);
    own_log_->harvest(range, into, [&] { wait(self); });
    return {};
}

}  // namespace pinfold
