// A whole machine around one NVMe controller: host memory, an IOMMU with VT-d tables, the PCI
// function with the model behind it, and disks in files. What a client would do through VFIO, tests
// do here directly.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/address.hpp"
#include "base/unique_fd.hpp"
#include "host/lock_source.hpp"
#include "host/memory.hpp"
#include "host/own_process.hpp"
#include "iommu/endpoint.hpp"
#include "iommu/iommu.hpp"
#include "pci/function.hpp"

namespace pinfold::devices::nvme {

inline constexpr std::uint64_t kPage = 4096;

// A file that is gone with the object; in memory if there is such a place, since forced writes to a
// real disk take their time.
class TestDisk {
public:
    explicit TestDisk(std::uint64_t size);
    TestDisk(std::uint64_t size, std::filesystem::path const& directory);
    ~TestDisk();
    TestDisk(TestDisk const&) = delete;
    TestDisk& operator=(TestDisk const&) = delete;

    std::string const& path() const { return path_; }
    std::uint64_t size() const;
    void resize(std::uint64_t size);
    std::vector<std::byte> read(std::uint64_t offset, std::uint64_t size) const;
    void write(std::uint64_t offset, std::span<std::byte const> bytes);
    // Space the file takes up, in bytes.
    std::uint64_t allocated() const;

private:
    std::string path_;
    UniqueFd file_;
};

// A descriptor that the test gives to SET_IRQS, and how often it fired since the last look.
class TestEventfd {
public:
    TestEventfd();
    int get() const { return fd_.get(); }
    std::uint64_t take();

private:
    UniqueFd fd_;
};

class NvmeRig {
public:
    explicit NvmeRig(std::vector<pci::Setting> settings);
    ~NvmeRig();

    pci::Function& function() { return *function_; }
    iommu::Endpoint& endpoint() { return *endpoint_; }

    // Registers and doorbells, as a client's mapping of BAR 0.
    void write32(std::uint64_t offset, std::uint32_t value) { write(offset, 4, value); }
    void write64(std::uint64_t offset, std::uint64_t value) { write(offset, 8, value); }
    void write(std::uint64_t offset, unsigned width, std::uint64_t value);
    std::uint32_t read32(std::uint64_t offset);
    std::uint64_t read64(std::uint64_t offset);
    void set_bus_master(bool on);

    // Memory that the device may reach lies at [kIova, kIova + kSize); kGuard bytes before and
    // after it in the process are the client's own and mapped nowhere.
    static constexpr std::uint64_t kIova = 0x1'0000'0000;
    static constexpr std::uint64_t kSize = 16 << 20;
    static constexpr std::uint64_t kGuard = 1 << 20;
    std::span<std::byte> memory() const { return {arena_ + kGuard, kSize}; }
    std::span<std::byte> memory(std::uint64_t iova, std::uint64_t size) const;
    bool guards_untouched() const;

    // Zeroed pages that nothing else uses. REQUIRES: some are left.
    std::uint64_t allocate(std::uint64_t pages);
    // All allocated before, but what was allocated when mark() was called, is free again.
    std::uint64_t mark() const { return next_; }
    void release_to(std::uint64_t mark) { next_ = mark; }
    // Takes the mapping of some allocated pages away. No way back.
    void unmap(std::uint64_t iova, std::uint64_t pages);

    // SET_IRQS: MSI-X vectors [0, n), or INTx.
    void enable_msix(std::vector<TestEventfd> const& vectors);
    void disable_msix() { disable(pci::IrqIndex::msix); }
    void disable_intx() { disable(pci::IrqIndex::intx); }
    void enable_intx(TestEventfd const& eventfd);
    void unmask_intx();

private:
    void map_arena();
    void set_irqs(pci::IrqRequest const& request);
    void disable(pci::IrqIndex index);

    static constexpr std::uint64_t kArena = kSize + 2 * kGuard;

    std::byte* arena_;
    std::uint64_t next_ = kIova;
    host::FixedLockSource locks_{~std::uint64_t{0}};
    host::OwnProcess process_{locks_, k4K};
    host::Memory memory_{{}};
    std::vector<Paddr> pages_;
    std::unique_ptr<iommu::Iommu> iommu_;
    std::unique_ptr<iommu::Domain> domain_;
    std::unique_ptr<iommu::Endpoint> endpoint_;
    std::unique_ptr<pci::Function> function_;
};

}  // namespace pinfold::devices::nvme
