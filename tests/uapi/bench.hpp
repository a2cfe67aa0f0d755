// A machine in small: two groups behind one IOMMU, three functions, the door to them, and a client
// with descriptors of its own.
#pragma once

#include <gtest/gtest.h>
#include <linux/vfio.h>

#include <bit>
#include <map>
#include <mutex>
#include <string>

#include "pci/function.hpp"
#include "pci/support.hpp"
#include "type1/group.hpp"
#include "type1/settings.hpp"
#include "uapi/door.hpp"

namespace pinfold::uapi {

class FakeClient final : public Client {
public:
    explicit FakeClient(host::Process& process) : process_{process} {}

    host::Process& process() override { return process_; }
    Result<FileId> file(int fd) override
    {
        std::lock_guard const lock{mutex_};
        auto const found = fds_.find(fd);
        if (found == fds_.end()) return fail(Errno::badf);
        return found->second;
    }
    Result<UniqueFd> eventfd(int) override { return fail(Errno::badf); }
    bool bound(std::string_view name) override { return name != unbound; }

    bool in_use_by_kernel(unsigned group) override { return group == kernels_group; }
    Result<DmaClaim> claim_dma(unsigned group) override
    {
        if (group == kernels_group) return fail(Errno::perm);
        ++claims;
        return DmaClaim{&claims,
                        [](void const* count) { --*static_cast<int*>(const_cast<void*>(count)); }};
    }

    std::string unbound;           // the one device that is not bound to vfio-pci
    unsigned kernels_group = ~0U;  // the one of which a driver of the kernel's has a device
    int claims = 0;
    Result<int> install(FileId file) override
    {
        std::lock_guard const lock{mutex_};
        if (full) return fail(Errno::mfile);
        fds_[++last_] = file;
        return last_;
    }

    // What a close() of the last descriptor gives to the door.
    FileId take(int fd)
    {
        std::lock_guard const lock{mutex_};
        auto const file = fds_.at(fd);
        fds_.erase(fd);
        return file;
    }
    bool full = false;

private:
    host::Process& process_;
    std::mutex mutex_;
    std::map<int, FileId> fds_;
    int last_ = 100;
};

class Bench {
public:
    explicit Bench(PageSize page = k4K, iommu::Iommu::Options unit = default_unit(),
                   Kernel kernel = Kernel::v7_3)
        : memory{{.page_size = page}},
          process{source, page},
          client{process},
          iommu{iommu::Iommu::create(std::move(unit)).value()},
          settings{.memory = memory, .kernel = kernel}
    {
        host::install_recovery();
    }
    ~Bench()
    {
        door.reset();
        EXPECT_EQ(charged(), 0U);
        EXPECT_EQ(memory.pinned_pages(), 0U);
    }

    static iommu::Iommu::Options default_unit()
    {
        return {.reserved = {{{Iova{0xfee00000}, Iova{0xfeefffff}}, iommu::ReservedType::msi}}};
    }

    // System calls: >= 0, or -errno.
    std::int64_t open_container() { return opened(door->open_container()); }
    std::int64_t open_group(unsigned number) { return opened(door->open_group(number)); }
    std::int64_t ioctl(std::int64_t fd, std::uint32_t request, std::uint64_t arg)
    {
        auto const file = client.file(static_cast<int>(fd));
        if (!file) return -number(file.error());
        return plain(door->call(client, {.file = *file, .request = request, .arg = arg}));
    }
    std::int64_t ioctl(std::int64_t fd, std::uint32_t request, void const* arg)
    {
        return ioctl(fd, request, std::bit_cast<std::uint64_t>(arg));
    }
    void close(std::int64_t fd) { door->release(client.take(static_cast<int>(fd))); }
    static std::int64_t plain(Reply const& reply)
    {
        return reply ? static_cast<std::int64_t>(*reply) : -number(reply.error());
    }

    std::int64_t set_container(std::int64_t group, std::int64_t container)
    {
        int const fd = static_cast<int>(container);
        return ioctl(group, VFIO_GROUP_SET_CONTAINER, &fd);
    }
    std::int64_t map(std::int64_t container, std::uint64_t iova, void* vaddr, std::uint64_t size,
                     std::uint32_t flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
                     std::uint32_t argsz = sizeof(vfio_iommu_type1_dma_map))
    {
        vfio_iommu_type1_dma_map map{argsz, flags, std::bit_cast<std::uint64_t>(vaddr), iova, size};
        return ioctl(container, VFIO_IOMMU_MAP_DMA, &map);
    }
    std::int64_t device(std::int64_t group, char const* name)
    {
        return ioctl(group, VFIO_GROUP_GET_DEVICE_FD, name);
    }
    // A container of this type with group 7 in it.
    struct Ready {
        std::int64_t container, group;
    };
    Ready ready(std::uint64_t type = VFIO_TYPE1v2_IOMMU)
    {
        Ready const fds{open_container(), open_group(7)};
        EXPECT_EQ(set_container(fds.group, fds.container), 0);
        EXPECT_EQ(ioctl(fds.container, VFIO_SET_IOMMU, type), 0);
        return fds;
    }

    std::uint64_t charged() { return process.locked_memory().charged(); }

    std::map<pci::Function const*, pci::FakeDevice const*> devices;  // those in the functions
    host::Memory memory;
    host::FixedLockSource source{~std::uint64_t{0}};
    host::OwnProcess process;
    FakeClient client;
    std::unique_ptr<iommu::Iommu> iommu;
    iommu::Endpoint first{*iommu, "0000:00:04.0"};
    iommu::Endpoint second{*iommu, "0000:00:04.1"};
    iommu::Endpoint third{*iommu, "0000:00:05.0"};
    std::unique_ptr<pci::Function> first_function = function(first);
    std::unique_ptr<pci::Function> second_function = function(second);
    std::unique_ptr<pci::Function> third_function = function(third);
    type1::Group seven{7, *iommu, {&first, &second}};
    type1::Group eight{8, *iommu, {&third}};
    type1::Settings settings;
    std::unique_ptr<Door> door = std::make_unique<Door>(
        settings,
        std::vector<Door::GroupEntry>{{7, &seven, {first_function.get(), second_function.get()}},
                                      {8, &eight, {third_function.get()}}});

private:
    std::unique_ptr<pci::Function> function(iommu::Endpoint& endpoint)
    {
        pci::FakeDevice const* device = nullptr;
        auto made =
            pci::Function::create(endpoint, memory,
                                  [&](pci::Bus& bus) -> pci::Checked<std::unique_ptr<pci::Device>> {
                                      auto fake = std::make_unique<pci::FakeDevice>(
                                          bus, pci::full_identity());
                                      device = fake.get();
                                      return fake;
                                  })
                .value();
        devices[made.get()] = device;
        return made;
    }
    std::int64_t opened(Result<FileId> const& file)
    {
        if (!file) return -number(file.error());
        return client.install(*file).value();
    }
};

}  // namespace pinfold::uapi
