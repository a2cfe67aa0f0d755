// What a function needs around it in a test: host memory, an IOMMU, a domain that its endpoint is
// attached to, and mappings of this process's memory in it.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "base/unique_fd.hpp"
#include "host/guarded_copy.hpp"
#include "host/lock_source.hpp"
#include "host/memory.hpp"
#include "host/own_process.hpp"
#include "host/support.hpp"
#include "iommu/endpoint.hpp"
#include "iommu/iommu.hpp"
#include "pci/device.hpp"
#include "pci/function.hpp"

namespace pinfold::pci {

using host::kPage;
using host::TestMapping;

class Surroundings {
public:
    explicit Surroundings(host::Memory::Options options = {}, iommu::Iommu::Options unit = {})
        : memory_{options}, iommu_{iommu::Iommu::create(std::move(unit)).value()}
    {
        host::install_recovery();
        (void)endpoint_.attach(*domain_);
    }

    // Pins one page of this process and maps it.
    void map(std::uint64_t iova, std::byte const* page, Prot prot = Prot::read_write)
    {
        Paddr paddr;
        auto const intent = prot == Prot::read ? host::Intent::read : host::Intent::write;
        memory_.pin(process_, host::vaddr_of(page), intent, {&paddr, 1}).value();
        domain_->map(Iova{iova}, paddr, kPage, prot).value();
    }
    void map(std::uint64_t iova, TestMapping const& mapping, Prot prot = Prot::read_write)
    {
        for (std::size_t i = 0; i < mapping.pages(); ++i)
            map(iova + i * kPage, mapping.page(i), prot);
    }
    void unmap(std::uint64_t iova, std::size_t pages = 1)
    {
        for (std::size_t i = 0; i < pages; ++i) {
            Iova const page{iova + i * kPage};
            auto const paddr = domain_->iova_to_phys(page);
            iommu::Gather gather;
            domain_->unmap(page, kPage, gather);
            domain_->sync(gather);
            if (paddr) memory_.unpin(*paddr, 1);
        }
    }

    host::Memory& memory() { return memory_; }
    iommu::Domain& domain() { return *domain_; }
    iommu::Endpoint& endpoint() { return endpoint_; }
    host::Process& process() { return process_; }
    std::vector<iommu::Fault> faults() { return endpoint_.faults().records(); }

private:
    host::FixedLockSource source_{~std::uint64_t{0}};
    host::OwnProcess process_{source_, k4K};
    host::Memory memory_;
    std::unique_ptr<iommu::Iommu> iommu_;
    std::unique_ptr<iommu::Domain> domain_ = iommu_->create_domain().value();
    iommu::Endpoint endpoint_{*iommu_, "0000:00:04.0"};
};

// An eventfd of a client; the engine gets references of its own to it.
class TestEvent {
public:
    int fd() const { return fd_.get(); }
    UniqueFd reference() const { return UniqueFd{::dup(fd_.get())}; }
    // How often it fired since the last look.
    std::uint64_t fired() const
    {
        std::uint64_t count = 0;
        return ::read(fd_.get(), &count, sizeof count) == sizeof count ? count : 0;
    }

    void signal() const
    {
        std::uint64_t const one = 1;
        (void)!::write(fd_.get(), &one, sizeof one);
    }

private:
    UniqueFd fd_{::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
};

// Has vectors [0, n) of `index` fire the events with these descriptors.
inline void bind_events(Function& function, IrqIndex index,
                        std::span<std::int32_t const> descriptors)
{
    function
        .set_irqs({.index = index,
                   .data = IrqRequest::Data::eventfd,
                   .count = static_cast<std::uint32_t>(descriptors.size()),
                   .booleans = {},
                   .descriptors = descriptors},
                  [](int fd) -> Result<UniqueFd> { return UniqueFd{::dup(fd)}; })
        .value();
}
inline void bind_event(Function& function, IrqIndex index, TestEvent const& event)
{
    bind_events(function, index, std::array{event.fd()});
}

// A device that answers with what is asked for, so that a test sees which access arrived.
class FakeDevice final : public Device {
public:
    struct Access {
        bool write;
        unsigned bar;
        std::uint64_t offset;
        unsigned size;
        std::uint64_t value;
        bool operator==(Access const&) const = default;
    };

    FakeDevice(Bus& bus_in, Identity identity) : bus{bus_in}, identity_{std::move(identity)} {}

    pci::Identity const& identity() const override { return identity_; }
    std::uint64_t bar_read(unsigned bar, std::uint64_t offset, unsigned size) override
    {
        accesses.push_back({false, bar, offset, size, 0});
        return answer;
    }
    void bar_write(unsigned bar, std::uint64_t offset, unsigned size, std::uint64_t value) override
    {
        accesses.push_back({true, bar, offset, size, value});
        if (raise_on_write >= 0) bus.raise(static_cast<unsigned>(raise_on_write));
        if (lower_on_write) bus.lower();
    }
    void reset() override { ++resets; }

    Bus& bus;
    std::vector<Access> accesses;
    std::uint64_t answer = 0;
    int raise_on_write = -1;
    bool lower_on_write = false;
    unsigned resets = 0;

private:
    Identity identity_;
};

// A PCI Express function with a 64-bit memory BAR 0 of 16 KiB (MSI-X table in its third page), an
// I/O BAR 2, a 32-bit memory BAR 3, four MSI vectors and eight of MSI-X.
inline Identity full_identity()
{
    Identity identity{
        .vendor = 0x1b36,
        .device = 0x0010,
        .subsystem_vendor = 0x1af4,
        .subsystem = 0x1100,
        .revision = 2,
        .class_code = 0x010802,
        .interrupt_pin = 1,
        .msi_vectors = 4,
        .msix = {.vectors = 8, .bar = 0, .table_offset = 0x2000, .pba_offset = 0x3000},
        .pci_express = true,
        .bars = {}};
    identity.bars[0] = {
        .kind = Bar::Kind::memory64,
        .size = 0x4000,
        .pages = {PageKind::readable, PageKind::trapped, PageKind::readable, PageKind::readable}};
    identity.bars[2] = {.kind = Bar::Kind::io, .size = 0x40, .pages = {}};
    identity.bars[3] = {.kind = Bar::Kind::memory32, .size = 0x1000, .pages = {}};
    return identity;
}

}  // namespace pinfold::pci
