#include "type1/container.hpp"

#include <cassert>

namespace pinfold::type1 {
namespace {

// What VFIO_CHECK_EXTENSION and VFIO_SET_IOMMU are given. Types that are not here are not known.
enum Extension : std::uint64_t {
    kType1 = 1,
    kType1v2 = 3,
    kDmaCc = 4,
    kUnmapAll = 9,
    kUpdateVaddr = 10,
};

// The driver claims UNMAP_ALL as an extension, so it is asked to open with it and refuses: EINVAL,
// where a type that nobody claims is ENODEV (rule C-9).
Result<Version> version_of(std::uint64_t type)
{
    switch (type) {
        case kType1: return Version::v1;
        case kType1v2: return Version::v2;
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
        case kUpdateVaddr: return version().has_value();
        case kDmaCc: {
            std::lock_guard const lock{mutex_};
            return backend_ && backend_->coherent();
        }
        default: return false;
    }
}

Result<> Container::set_iommu(std::uint64_t type)
{
    std::lock_guard const lock{mutex_};
    if (groups_.empty() || backend_) return fail(Errno::inval);
    Version const version = TRY(version_of(type));
    auto backend = std::make_unique<Backend>(settings_, version);
    for (Group* const group : groups_) TRY(backend->attach(*group));

    backend_ = std::move(backend);
    version_ = version;
    return {};
}

Result<> Container::add(Group& group)
{
    std::lock_guard const lock{mutex_};
    groups_.reserve(groups_.size() + 1);
    group.block();
    if (backend_) TRY(backend_->attach(group));
    groups_.insert(groups_.begin(), &group);
    return {};
}

void Container::remove(Group& group)
{
    std::lock_guard const lock{mutex_};
    if (backend_) backend_->detach(group);
    group.block();
    std::erase(groups_, &group);
    if (!groups_.empty()) return;
    version_ = std::nullopt;
    backend_.reset();
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
    std::lock_guard const lock{mutex_};
    if (!backend_) return fail(Errno::inval);
    return backend_->unmap(process, request);
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

}  // namespace pinfold::type1
