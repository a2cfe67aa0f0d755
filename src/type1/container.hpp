// The container: the groups that share one I/O address space, and from SET_IOMMU on the back end
// that does the work. Thread safe: one mutex, as in the kernel.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "type1/backend.hpp"
#include "type1/device_server.hpp"

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
    // stays out then. `caller` is the process that brings it. REQUIRES: it is in no container.
    Result<> add(Group& group, host::Process* caller = nullptr);
    // A group leaves, blocked; with the last one goes the back end and all that was mapped
    // (rule G-15).
    void remove(Group& group);

    Result<Info> info();
    Result<> map(host::Process& process, MapRequest const& request);
    Result<std::uint64_t> unmap(host::Process& process, UnmapRequest const& request);
    Result<> start_dirty_tracking();
    Result<> stop_dirty_tracking();
    Result<> dirty_bitmap(host::Process& process, DirtyQuery const& query);

    // For DeviceServer, whose open() and end these are.
    Result<> add(DeviceServer& server);
    void remove(DeviceServer& server);
    Result<> pin_pages(Group& group, Iova iova, Prot prot, std::span<Paddr> pages);
    void unpin_pages(Iova iova, std::uint64_t pages);
    Result<> dma_read(Iova iova, std::span<std::byte> into);
    Result<> dma_write(Iova iova, std::span<std::byte const> from);

private:
    using Lock = std::unique_lock<std::mutex>;

    Lock lock_membership();
    void notify(Lock& lock, IovaRange range);
    bool any_dma_unmap() const;  // REQUIRES: mutex_ held

    Settings const& settings_;
    std::mutex mutex_;
    std::condition_variable idle_;  // no notify() is under way
    unsigned notifying_ = 0;
    // Drivers are told one thing at a time. Never taken inside mutex_, which what they do may take.
    std::mutex telling_mutex_;
    std::vector<DeviceServer*> servers_;  // as they are while notify() is under way
    std::vector<Group*> groups_;          // newest first
    std::unique_ptr<Backend> backend_;
    std::atomic<std::optional<Version>> version_;
};

}  // namespace pinfold::type1
