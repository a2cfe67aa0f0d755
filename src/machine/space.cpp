#include "pinfold/space.hpp"

#include "host/guarded_copy.hpp"
#include "host/lock_source.hpp"
#include "host/own_process.hpp"
#include "iommu/iommu.hpp"
#include "machine/server_device.hpp"
#include "pci/dma_port.hpp"
#include "type1/container.hpp"
#include "type1/group.hpp"

namespace pinfold {
namespace {

constexpr std::uint64_t kType1v2 = 3;

std::unique_ptr<host::LockedMemory::Source> lock_source(std::optional<std::uint64_t> memlock)
{
    if (memlock) return std::make_unique<host::FixedLockSource>(*memlock);
    return std::make_unique<host::OwnLockSource>(host::LockCap::no);
}

// One container with one group of one endpoint, and the port that a device of that endpoint has.
class OneSpace final : public Space {
public:
    OneSpace(Options const& options, std::unique_ptr<iommu::Iommu> iommu)
        : lock_source_{lock_source(options.memlock)},
          process_{*lock_source_, options.host_page},
          memory_{{.page_size = options.host_page}},
          iommu_{std::move(iommu)},
          endpoint_{*iommu_, "device"},
          group_{0, *iommu_, {&endpoint_}},
          settings_{.memory = memory_, .dma_entry_limit = options.mapping_limit},
          container_{settings_},
          port_{endpoint_, memory_}
    {
        port_.set_bus_master(true);
    }
    ~OneSpace() override { container_.remove(group_); }

    Result<> start()
    {
        TRY(container_.add(group_));
        return container_.set_iommu(kType1v2);
    }

    Result<> map(Iova iova, void* vaddr, std::uint64_t size, Prot prot) override
    {
        return container_.map(process_,
                              {.iova = iova, .vaddr = at(vaddr), .size = size, .prot = prot});
    }
    Result<std::uint64_t> unmap(Iova iova, std::uint64_t size) override
    {
        return container_.unmap(process_, {.iova = iova, .size = size, .dirty = {}});
    }
    Result<std::uint64_t> unmap_all() override
    {
        return container_.unmap(process_, {.iova = Iova{}, .size = 0, .all = true, .dirty = {}});
    }
    Result<> read(Iova from, std::span<std::byte> into) override { return port_.read(from, into); }
    Result<> write(Iova to, std::span<std::byte const> from) override
    {
        return port_.write(to, from);
    }
    Result<> with_segments(Iova iova, std::uint64_t size, Access access,
                           FunctionRef<Result<>(std::span<iovec const>)> use) override
    {
        pci::DmaPiece const piece{iova, size};
        return port_.with_segments({&piece, 1}, access, use);
    }
    Result<std::unique_ptr<SoftwareDevice>> add_software_device(
        SoftwareDevice::LetGo let_go) override
    {
        return machine::ServerDevice::create(container_, memory_, std::move(let_go));
    }
    Result<> withdraw(void* vaddr, std::uint64_t size) override
    {
        return memory_.withdraw(at(vaddr), size, host::Memory::Leaving::unmap);
    }
    std::uint64_t pinned_pages() const override { return memory_.pinned_pages(); }
    std::uint64_t faults() const override { return endpoint_.faults().count(); }

private:
    static Vaddr at(void const* vaddr) { return Vaddr{reinterpret_cast<std::uint64_t>(vaddr)}; }

    std::unique_ptr<host::LockedMemory::Source> lock_source_;
    host::OwnProcess process_;
    host::Memory memory_;
    std::unique_ptr<iommu::Iommu> iommu_;
    mutable iommu::Endpoint endpoint_;
    type1::Group group_;
    type1::Settings settings_;
    type1::Container container_;
    pci::DmaPort port_;
};

}  // namespace

Result<std::unique_ptr<Space>> Space::create(Options options)
{
    auto iommu = TRY(iommu::Iommu::create(
        {.model = options.tables == Tables::native ? iommu::Model::native : iommu::Model::vtd,
         .page_sizes = options.page_sizes,
         .address_width = options.address_width,
         .reserved = {}}));
    host::install_recovery();
    auto space = std::make_unique<OneSpace>(options, std::move(iommu));
    TRY(space->start());
    return space;
}

}  // namespace pinfold
