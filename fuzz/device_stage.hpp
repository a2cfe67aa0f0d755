// A device in a machine, and memory for its driver to scribble in: pages that it may write, one
// that it may only read, and holes around them.
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "host/guarded_copy.hpp"
#include "host/lock_source.hpp"
#include "host/memory.hpp"
#include "host/own_process.hpp"
#include "iommu/endpoint.hpp"
#include "iommu/iommu.hpp"
#include "pci/function.hpp"

class DeviceStage {
public:
    static constexpr std::uint64_t kIova = 0x10'0000;
    static constexpr std::size_t kPage = 4096, kPages = 32;
    static constexpr std::size_t kReadOnly = kPages - 1;  // this page

    DeviceStage(pinfold::pci::Model const& model, std::vector<pinfold::pci::Setting> settings)
    {
        using namespace pinfold;
        host::install_recovery();
        (void)endpoint_.attach(*domain_);
        for (std::size_t i = 0; i < kPages; ++i) {
            Paddr paddr;
            auto const prot = i == kReadOnly ? Prot::read : Prot::read_write;
            memory_
                .pin(process_, Vaddr{reinterpret_cast<std::uint64_t>(page(i))}, host::Intent::write,
                     {&paddr, 1})
                .value();
            domain_->map(Iova{kIova + i * kPage}, paddr, kPage, prot).value();
        }
        function_ = pci::Function::create(endpoint_, memory_, model,
                                          {.model = std::string{model.name()},
                                           .settings = std::move(settings),
                                           .bdf = "0000:00:04.0"})
                        .value();
        function_->open();
    }
    ~DeviceStage()
    {
        function_.reset();
        endpoint_.block();
        (void)::munmap(bytes_, (kPages + 2) * kPage);
    }
    DeviceStage(DeviceStage const&) = delete;
    DeviceStage& operator=(DeviceStage const&) = delete;

    pinfold::pci::Function& function() { return *function_; }
    std::byte* page(std::size_t i) { return bytes_ + (i + 1) * kPage; }
    void clear() { std::memset(page(0), 0, kReadOnly * kPage); }
    // Writes over the end are cut off.
    template <class T>
    void put(std::uint64_t offset, T const& value)
    {
        if (offset + sizeof value <= kReadOnly * kPage)
            std::memcpy(page(0) + offset, &value, sizeof value);
    }
    template <class T>
    T get(std::uint64_t offset)
    {
        T value;
        std::memcpy(&value, page(0) + offset, sizeof value);
        return value;
    }
    // Mostly addresses that make sense, some that nearly do, some wild.
    static std::uint64_t address(std::uint32_t choice)
    {
        std::uint64_t const offset = choice >> 4;
        switch (choice & 15) {
            case 0: return ~std::uint64_t{0} - offset % (2 * kPage);
            case 1: return offset << 36;
            case 2: return kIova + kPages * kPage - offset % (2 * kPage);
            case 3: return kIova - offset % kPage;
            case 4: return kIova + kReadOnly * kPage + offset % kPage;
            default: return kIova + offset % (kPages * kPage);
        }
    }
    // What no device may have written.
    void check_untouched()
    {
        auto const zero = [](std::byte const* page) {
            for (std::size_t i = 0; i < kPage; ++i)
                if (page[i] != std::byte{0}) std::abort();
        };
        zero(bytes_);
        zero(page(kReadOnly));
        zero(page(kPages));
    }

private:
    std::byte* bytes_ = static_cast<std::byte*>(::mmap(
        nullptr, (kPages + 2) * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    pinfold::host::FixedLockSource source_{~std::uint64_t{0}};
    pinfold::host::OwnProcess process_{source_, pinfold::k4K};
    pinfold::host::Memory memory_{{}};
    std::unique_ptr<pinfold::iommu::Iommu> iommu_ = pinfold::iommu::Iommu::create({}).value();
    std::unique_ptr<pinfold::iommu::Domain> domain_ = iommu_->create_domain().value();
    pinfold::iommu::Endpoint endpoint_{*iommu_, "0000:00:04.0"};
    std::unique_ptr<pinfold::pci::Function> function_;
};
