// One IOMMU, one domain and one endpoint, for tests.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "base/read_section.hpp"
#include "iommu/endpoint.hpp"
#include "iommu/iommu.hpp"
#include "support/raw_walk.hpp"

namespace pinfold::iommu {

struct Unit {
    explicit Unit(Iommu::Options options = {})
        : iommu{Iommu::create(std::move(options)).value()},
          domain{iommu->create_domain().value()},
          endpoint{std::make_unique<Endpoint>(*iommu, "0000:00:04.0")}
    {
    }

    Result<> map(std::uint64_t iova, std::uint64_t paddr, std::uint64_t size,
                 Prot prot = Prot::read_write)
    {
        return domain->map(Iova{iova}, Paddr{paddr}, size, prot);
    }
    std::uint64_t unmap(std::uint64_t iova, std::uint64_t size)
    {
        Gather gather;
        std::uint64_t const bytes = domain->unmap(Iova{iova}, size, gather);
        domain->sync(gather);
        return bytes;
    }
    // Of as many bytes as there may be.
    std::optional<Endpoint::Segment> access(std::uint64_t iova, Access access)
    {
        ReadSection const section;
        return endpoint->translate(Iova{iova}, std::max(~iova, std::uint64_t{1}), access);
    }
    // Where a read leads; 0: it faults.
    std::uint64_t read(std::uint64_t iova)
    {
        auto const segment = access(iova, Access::read);
        return segment ? segment->paddr.raw() : 0;
    }
    template <class Reader = test::VtdReader>
    test::RawTree raw() const
    {
        auto const table = domain->raw_table().value();
        return test::raw_walk<Reader>(table.root.raw(), table.levels);
    }
    template <class Reader = test::VtdReader>
    std::uint64_t& word(std::uint64_t iova) const
    {
        auto const table = domain->raw_table().value();
        return test::raw_word<Reader>(table.root.raw(), table.levels, iova);
    }

    std::unique_ptr<Iommu> iommu;
    std::unique_ptr<Domain> domain;
    std::unique_ptr<Endpoint> endpoint;
};

inline Iommu::Options native_options(unsigned width = 39)
{
    return {.model = Model::native,
            .page_sizes = PageSizes{~0xfffULL},
            .address_width = width,
            .reserved = {}};
}

inline Iommu::Options amdvi_options(Kernel kernel = Kernel::v7_3)
{
    return {.model = Model::amdvi,
            .page_sizes = PageSizes{0xffff'ff7f'ffff'f000},
            .address_width = 64,
            .reserved = {},
            .kernel = kernel};
}

// Tables of 4K on a host of 64K, with a driver that splits blocks.
inline Iommu::Options smmuv3_options(Kernel kernel = Kernel::v6_12)
{
    return {.model = Model::smmuv3,
            .page_sizes = PageSizes{0x40201000},
            .address_width = 48,
            .reserved = {},
            .kernel = kernel,
            .host_page = k64K};
}

inline Iommu::Options virtio_options()
{
    return {.model = Model::virtio,
            .page_sizes = PageSizes{~0xfffULL},
            .address_width = 64,
            .reserved = {}};
}

// One of each model.
inline Iommu::Options options_of(Model model)
{
    switch (model) {
        case Model::amdvi: return amdvi_options();
        case Model::smmuv3: return smmuv3_options();
        case Model::virtio: return virtio_options();
        case Model::native: return native_options();
        case Model::vtd: break;
    }
    return {};
}

inline std::array<Iommu::Options, 5> each_model()
{
    return {options_of(Model::vtd), options_of(Model::amdvi), options_of(Model::smmuv3),
            options_of(Model::virtio), options_of(Model::native)};
}

}  // namespace pinfold::iommu
