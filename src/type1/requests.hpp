// What a container is asked and what it answers, free of the layouts that carry it.
#pragma once

#include <absl/container/inlined_vector.h>

#include <cstdint>
#include <optional>

#include "base/page_size.hpp"
#include "base/prot.hpp"
#include "base/range.hpp"
#include "base/result.hpp"

namespace pinfold::type1 {

// VFIO_TYPE1_IOMMU and VFIO_TYPE1v2_IOMMU: they differ in what UNMAP may cut (rules U-3, U-6).
enum class Version : std::uint8_t { v1 = 1, v2 = 3 };

// VFIO_TYPE1_NESTING_IOMMU, until 6.12: version 2 on an IOMMU that can nest (rule C-9).
enum class Nesting : bool { no, yes };

// VFIO_IOMMU_GET_INFO.
struct Info {
    PageSizes page_sizes;
    std::uint64_t granule;  // of dirty bitmaps
    std::uint32_t dma_avail;
    absl::InlinedVector<IovaRange, 8> iova_ranges;
};

// VFIO_IOMMU_MAP_DMA.
struct MapRequest {
    Iova iova;
    Vaddr vaddr;
    std::uint64_t size;
    Prot prot;
    bool update_vaddr = false;  // VFIO_DMA_MAP_FLAG_VADDR
};

// Where a dirty bitmap is to be written: struct vfio_bitmap.
struct Bitmap {
    std::uint64_t page_size;
    std::uint64_t bytes;
    Vaddr vaddr;
};

// VFIO_IOMMU_UNMAP_DMA.
struct UnmapRequest {
    Iova iova;
    std::uint64_t size;
    bool all = false;               // VFIO_DMA_UNMAP_FLAG_ALL
    bool invalidate_vaddr = false;  // VFIO_DMA_UNMAP_FLAG_VADDR
    std::optional<Bitmap> dirty;    // VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP
};

// VFIO_IOMMU_DIRTY_PAGES with GET_BITMAP.
struct DirtyQuery {
    Iova iova;
    std::uint64_t size;
    Bitmap bitmap;
};

// Whether `bitmap` can hold the bits of `size` bytes: what the ioctl stage tests before the
// container is asked. EINVAL: it lies outside user space; it has no bits to hold; it is too small
// or larger than 256 MiB (rules 4.1 step 4, 7.2 steps 4 and 5).
Result<> check(Bitmap const& bitmap, std::uint64_t size);

// VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION: the largest bitmap that check() admits.
inline constexpr std::uint64_t kMostBitmapBytes = 0x10000000;

}  // namespace pinfold::type1
