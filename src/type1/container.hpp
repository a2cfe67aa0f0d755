// The container: the groups that share one I/O address space, and from SET_IOMMU on the back end
// that does the work. Thread safe: one mutex, as in the kernel.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "type1/backend.hpp"

namespace pinfold::type1 {

class Container {
public:
    // `settings` outlives the container. REQUIRES: every group has been removed before the end.
    explicit Container(Settings const& settings);
    ~Container();
    Container(Container const&) = delete;
    Container& operator=(Container const&) = delete;

    // nullopt: no back end, and every call below but set_iommu(), add() and remove() is EINVAL.
    // Costs a load, so that requests can be refused before their arguments are looked at.
    std::optional<Version> version() const;

    // VFIO_CHECK_EXTENSION, rule C-5. Never fails.
    bool check_extension(std::uint64_t extension);
    // VFIO_SET_IOMMU, rules 1.2. EINVAL: no group, or already set. ENODEV: no such type. Otherwise
    // as Backend::attach(); the container stays unset then.
    Result<> set_iommu(std::uint64_t type);

    // A group comes in, and is blocked until a back end takes it. As Backend::attach(); the group
    // stays out then. REQUIRES: it is in no container.
    Result<> add(Group& group);
    // A group leaves, blocked; with the last one goes the back end and all that was mapped
    // (rule G-15).
    void remove(Group& group);

    Result<Info> info();
    Result<> map(host::Process& process, MapRequest const& request);
    Result<std::uint64_t> unmap(host::Process& process, UnmapRequest const& request);
    Result<> start_dirty_tracking();
    Result<> stop_dirty_tracking();
    Result<> dirty_bitmap(host::Process& process, DirtyQuery const& query);

private:
    Settings const& settings_;
    std::mutex mutex_;
    std::vector<Group*> groups_;  // newest first
    std::unique_ptr<Backend> backend_;
    std::atomic<std::optional<Version>> version_;
};

}  // namespace pinfold::type1
