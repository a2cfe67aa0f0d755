#include "type1/container.hpp"

#include <algorithm>
#include <cassert>

namespace pinfold::type1 {
namespace {

// What VFIO_CHECK_EXTENSION and VFIO_SET_IOMMU are given. Types that are not here are not known.
enum Extension : std::uint64_t {
    kType1 = 1,
    kType1v2 = 3,
    kDmaCc = 4,
    kType1Nesting = 6,
    kUnmapAll = 9,
    kUpdateVaddr = 10,
};

struct Type {
    Version version;
    Nesting nesting;
};

// The driver claims UNMAP_ALL as an extension, so it is asked to open with it and refuses: EINVAL,
// where a type that nobody claims is ENODEV (rule C-9).
Result<Type> type_of(std::uint64_t type, Kernel kernel)
{
    switch (type) {
        case kType1: return Type{Version::v1, Nesting::no};
        case kType1v2: return Type{Version::v2, Nesting::no};
        case kType1Nesting:
            if (kernel >= Kernel::v7_3) return fail(Errno::nodev);
            return Type{Version::v2, Nesting::yes};
        case kUnmapAll: return fail(Errno::inval);
        default: return fail(Errno::nodev);
    }
}

}  // namespace

Container::Container(Settings const& settings) : settings_{settings} {}

Container::~Container() { assert(groups_.empty()); }

std::optional<Version> Container::version() const
{
    return version_.load(std::memory_order_relaxed);
}

bool Container::check_extension(std::uint64_t extension)
{
    switch (extension) {
        case kType1:
        case kType1v2:
        case kUnmapAll: return true;
        case kType1Nesting: return settings_.kernel < Kernel::v7_3;
        case kUpdateVaddr: {
            std::lock_guard const lock{mutex_};
            return backend_ && !backend_->has_emulated();
        }
        case kDmaCc: {
            std::lock_guard const lock{mutex_};
            return backend_ && backend_->coherent();
        }
        default: return false;
    }
}

Result<> Container::set_iommu(std::uint64_t type)
{
    Lock const lock = lock_membership();
    if (groups_.empty() || backend_) return fail(Errno::inval);
    auto const [version, nesting] = TRY(type_of(type, settings_.kernel));
    auto backend = std::make_unique<Backend>(settings_, version, nesting);
    for (Group* const group : groups_) TRY(backend->attach(*group, nullptr));

    backend_ = std::move(backend);
    version_ = version;
    return {};
}

Result<> Container::add(Group& group, host::Process* caller)
{
    Lock const lock = lock_membership();
    groups_.reserve(groups_.size() + 1);
    group.block();
    if (backend_) TRY(backend_->attach(group, caller));
    groups_.insert(groups_.begin(), &group);
    return {};
}

void Container::remove(Group& group)
{
    Lock const lock = lock_membership();
    if (backend_) backend_->detach(group);
    group.block();
    std::erase(groups_, &group);
    if (!groups_.empty()) return;
    version_ = std::nullopt;
    backend_.reset();
}

// For groups to come or go. An unmap that waits for drivers relies on those that are here.
Container::Lock Container::lock_membership()
{
    Lock lock{mutex_};
    idle_.wait(lock, [&] { return notifying_ == 0; });
    return lock;
}

Result<Info> Container::info()
{
    std::lock_guard const lock{mutex_};
    if (!backend_) return fail(Errno::inval);
    return backend_->info();
}

Result<> Container::map(host::Process& process, MapRequest const& request)
{
    std::lock_guard const lock{mutex_};
    if (!backend_) return fail(Errno::inval);
    return backend_->map(process, request);
}

Result<std::uint64_t> Container::unmap(host::Process& process, UnmapRequest const& request)
{
    Lock lock{mutex_};
    if (!backend_) return fail(Errno::inval);
    return backend_->unmap(process, request, [&](IovaRange range) { notify(lock, range); });
}

Result<> Container::start_dirty_tracking()
{
    std::lock_guard const lock{mutex_};
    if (!backend_) return fail(Errno::inval);
    return backend_->start_dirty_tracking();
}

Result<> Container::stop_dirty_tracking()
{
    std::lock_guard const lock{mutex_};
    if (!backend_) return fail(Errno::inval);
    backend_->stop_dirty_tracking();
    return {};
}

Result<> Container::dirty_bitmap(host::Process& process, DirtyQuery const& query)
{
    std::lock_guard const lock{mutex_};
    if (!backend_) return fail(Errno::inval);
    return backend_->dirty_bitmap(process, query);
}

// Rule U-10. Drivers let pages go by calls that take the mutex.
void Container::notify(Lock& lock, IovaRange range)
{
    ++notifying_;
    lock.unlock();
    {
        std::lock_guard const telling{telling_mutex_};
        for (DeviceServer* const server : servers_)
            if (server->dma_unmap_) server->dma_unmap_(range);
    }
    lock.lock();
    if (--notifying_ == 0) idle_.notify_all();
}

Result<> Container::add(DeviceServer& server)
{
    Lock const lock = lock_membership();
    if (!backend_ || std::ranges::find(groups_, &server.group_) == groups_.end())
        return fail(Errno::inval);
    servers_.push_back(&server);
    return {};
}

void Container::remove(DeviceServer& server)
{
    Lock const lock = lock_membership();
    std::erase(servers_, &server);
}

bool Container::any_dma_unmap() const
{
    return std::ranges::any_of(servers_, [](auto const* it) { return bool{it->dma_unmap_}; });
}

Result<> Container::pin_pages(Group& group, Iova iova, Prot prot, std::span<Paddr> pages)
{
    std::lock_guard const lock{mutex_};
    if (!backend_) return fail(Errno::inval);
    return backend_->pin_pages(group, iova, prot, pages, any_dma_unmap());
}

void Container::unpin_pages(Iova iova, std::uint64_t pages)
{
    std::lock_guard const lock{mutex_};
    if (backend_) backend_->unpin_pages(iova, pages);
}

Result<> Container::dma_read(Iova iova, std::span<std::byte> into)
{
    std::lock_guard const lock{mutex_};
    if (!backend_) return fail(Errno::inval);
    return backend_->dma_read(iova, into);
}

Result<> Container::dma_write(Iova iova, std::span<std::byte const> from)
{
    std::lock_guard const lock{mutex_};
    if (!backend_) return fail(Errno::inval);
    return backend_->dma_write(iova, from);
}

}  // namespace pinfold::type1
