// The container's ioctls to the byte.
#include "uapi/container_file.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "bench.hpp"

namespace pinfold::uapi {
namespace {

constexpr std::uint64_t kI = 0x10000000;
constexpr std::uint64_t kPage = 0x1000;

// vfio_iommu_type1_dma_unmap and the others that end in a flexible array, as fixed structures.
struct Unmap {
    std::uint32_t argsz, flags;
    std::uint64_t iova, size;
};
struct WireBitmap {
    std::uint64_t pgsize, size;
    std::uint64_t* words;
};
struct UnmapWithBitmap {
    Unmap unmap;
    WireBitmap bitmap;
};
struct Dirty {
    std::uint32_t argsz, flags;
};
struct DirtyGet {
    Dirty head;
    std::uint64_t iova, size;
    WireBitmap bitmap;
};

// A structure whose last byte is the last of a page, with nothing behind it.
class Edge {
public:
    Edge() { ::munmap(mapping_.page(1), host::kPage); }
    template <class T>
    std::byte* put(T const& value, std::size_t size = sizeof(T)) const
    {
        std::byte* const place = mapping_.page(1) - size;
        std::memcpy(place, &value, size);
        return place;
    }

private:
    host::TestMapping mapping_{2};
};

class ContainerFileTest : public testing::Test {
protected:
    std::int64_t unmap(Unmap& request)
    {
        return bench.ioctl(fds.container, VFIO_IOMMU_UNMAP_DMA, &request);
    }
    Bench bench;
    Bench::Ready fds = bench.ready();
    host::TestMapping memory{16};
};

TEST(Container, requests_of_a_back_end_are_EINVAL_without_one_whatever_the_argument)
{
    Bench bench;
    auto const container = bench.open_container();
    for (std::uint32_t request = 0x3b60; request < 0x3b90; ++request) {
        bool const own = request >= VFIO_GET_API_VERSION && request <= VFIO_SET_IOMMU;
        if (!own) {
            EXPECT_EQ(bench.ioctl(container, request, nullptr), -EINVAL) << request;
        }
    }
    EXPECT_EQ(bench.ioctl(container, VFIO_GET_API_VERSION, std::uint64_t{0xdead}), 0);
    EXPECT_EQ(bench.ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU), 1);
    EXPECT_EQ(bench.ioctl(container, VFIO_CHECK_EXTENSION, ~std::uint64_t{0}), 0);
    EXPECT_EQ(bench.ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), -EINVAL);
}

TEST_F(ContainerFileTest, unknown_requests_are_ENOTTY_with_a_back_end)
{
    for (std::uint32_t const request : {0x3b67U, 0x3b6bU, 0x3b73U, 0x3b74U, 0x3b76U, 0U, ~0U})
        EXPECT_EQ(bench.ioctl(fds.container, request, nullptr), -ENOTTY) << request;
    for (std::uint32_t const request :
         {VFIO_IOMMU_GET_INFO, VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA, VFIO_IOMMU_DIRTY_PAGES})
        EXPECT_EQ(bench.ioctl(fds.container, request, nullptr), -EFAULT) << request;
}

TEST_F(ContainerFileTest, it_cannot_be_read_written_or_mapped)
{
    FileId const file = *bench.client.file(static_cast<int>(fds.container));
    auto const call = [&](Call::Op op) {
        return Bench::plain(
            bench.door->call(bench.client, {.file = file, .op = op, .arg = 0, .size = 4}));
    };
    EXPECT_EQ(call(Call::Op::read), -EINVAL);
    EXPECT_EQ(call(Call::Op::write), -EINVAL);
    EXPECT_EQ(call(Call::Op::mmio_read), -EINVAL);
    EXPECT_EQ(call(Call::Op::mmio_write), -EINVAL);
    EXPECT_EQ(bench.door->mmap(file, 0, kPage, true).error(), Errno::nodev);
}

// The whole answer, byte by byte: two ranges, so N = 88 + 32.
TEST_F(ContainerFileTest, GET_INFO_writes_the_capability_chain_with_padding)
{
    constexpr std::uint32_t kN = 120;
    std::array<std::uint8_t, kN + 8> bytes;
    bytes.fill(0xee);
    std::uint32_t const argsz = kN;
    std::memcpy(bytes.data(), &argsz, sizeof argsz);
    ASSERT_EQ(bench.ioctl(fds.container, VFIO_IOMMU_GET_INFO, bytes.data()), 0);

    auto const word = [&](std::size_t offset) {
        std::uint32_t value;
        std::memcpy(&value, &bytes[offset], sizeof value);
        return value;
    };
    auto const wide = [&](std::size_t offset) {
        std::uint64_t value;
        std::memcpy(&value, &bytes[offset], sizeof value);
        return value;
    };
    EXPECT_EQ(word(0), kN);
    EXPECT_EQ(word(4), 3U);  // PGSIZES | CAPS
    EXPECT_EQ(wide(8), 0x40201000U);
    EXPECT_EQ(wide(16), 24U);                        // cap_offset, pad
    EXPECT_EQ(wide(24), 56ULL << 32 | 1 << 16 | 2);  // MIGRATION, version 1, next 56
    EXPECT_EQ(wide(32), 0U);
    EXPECT_EQ(wide(40), 0x1000U);
    EXPECT_EQ(wide(48), 0x10000000U);
    EXPECT_EQ(wide(56), 72ULL << 32 | 1 << 16 | 3);  // DMA_AVAIL
    EXPECT_EQ(wide(64), 65535U);
    EXPECT_EQ(wide(72), std::uint64_t{1 << 16 | 1});  // IOVA_RANGE, the last
    EXPECT_EQ(wide(80), 2U);
    EXPECT_EQ(wide(88), 0U);
    EXPECT_EQ(wide(96), 0xfedfffffU);
    EXPECT_EQ(wide(104), 0xfef00000U);
    EXPECT_EQ(wide(112), 0x7fffffffffU);
    EXPECT_EQ(wide(120), 0xeeeeeeeeeeeeeeeeU);
}

// Vectors 47, and rules I-10 and I-12 for every argsz there is.
TEST_F(ContainerFileTest, GET_INFO_writes_as_much_of_the_header_as_argsz_covers)
{
    constexpr std::uint32_t kN = 120;
    for (std::uint32_t argsz = 0; argsz < kN + 16; ++argsz) {
        SCOPED_TRACE(argsz);
        std::array<std::uint8_t, kN + 16> bytes;
        bytes.fill(0xee);
        std::memcpy(bytes.data(), &argsz, sizeof argsz);
        auto const result = bench.ioctl(fds.container, VFIO_IOMMU_GET_INFO, bytes.data());
        EXPECT_EQ(result, argsz < 16 ? -EINVAL : 0);
        std::size_t touched = bytes.size();
        while (bytes[touched - 1] == 0xee) --touched;
        std::uint32_t got[6];
        std::memcpy(got, bytes.data(), sizeof got);
        if (argsz < 16) {
            EXPECT_EQ(touched, 4U);
        } else if (argsz < kN) {
            EXPECT_EQ(touched, std::min(argsz, 24U));
            EXPECT_EQ(got[0], kN);
            EXPECT_EQ(got[1], 3U);
            EXPECT_EQ(bytes[16], argsz > 16 ? 0 : 0xee);
        } else {
            EXPECT_EQ(touched, kN);
            EXPECT_EQ(got[0], argsz);
            EXPECT_EQ(got[4], 24U);
        }
    }
}

TEST_F(ContainerFileTest, GET_INFO_that_cannot_write_its_capabilities_leaves_the_header_alone)
{
    Edge const edge;
    struct Header {
        std::uint32_t argsz, flags;
        std::uint64_t rest[2];
    } const header{4096, 0x77, {0x88, 0x99}};
    std::byte* const place = edge.put(header);
    EXPECT_EQ(bench.ioctl(fds.container, VFIO_IOMMU_GET_INFO, place), -EFAULT);
    EXPECT_EQ(std::memcmp(place, &header, sizeof header), 0);

    std::byte* const short_of_one = edge.put(header, 15);
    EXPECT_EQ(bench.ioctl(fds.container, VFIO_IOMMU_GET_INFO, short_of_one), -EFAULT);
    Header const least{16, 0, {0, 0}};
    EXPECT_EQ(bench.ioctl(fds.container, VFIO_IOMMU_GET_INFO, edge.put(least, 16)), 0);
}

TEST_F(ContainerFileTest, argsz_comes_before_all_that_is_in_the_structure)
{
    auto* const vaddr = memory.page(0);
    EXPECT_EQ(bench.map(fds.container, kI, vaddr, kPage, 3, 31), -EINVAL);
    EXPECT_EQ(bench.map(fds.container, kI, vaddr, kPage, 8), -EINVAL);
    EXPECT_EQ(bench.map(fds.container, kI, vaddr, 0 - kI + kPage, 8), -EINVAL);
    EXPECT_EQ(bench.map(fds.container, kI, vaddr, 0 - kI + kPage, 0), -EOVERFLOW);
    EXPECT_EQ(bench.map(fds.container, kI, vaddr, kPage, 0), -EINVAL);
    EXPECT_EQ(bench.map(fds.container, kI, vaddr, kPage, 5), -EINVAL);
    EXPECT_EQ(bench.map(fds.container, kI, vaddr, kPage, 3, 4096), 0);
    EXPECT_EQ(bench.map(fds.container, kI, vaddr, kPage, 4), -EINVAL);
    EXPECT_EQ(bench.charged(), 1U);

    for (Unmap request : {Unmap{23, 0, kI, kPage},
                          {24, 8, kI, kPage},
                          {24, 3, 0, 0},
                          {48, 5, kI, kPage},
                          {24, 1, kI, kPage},
                          {47, 1, kI, kPage},
                          {24, 2, 0, kPage},
                          {24, 2, kPage, 0},
                          {24, 0, kI, 0},
                          {24, 0, kI + 1, kPage}}) {
        auto const before = request;
        EXPECT_EQ(unmap(request), -EINVAL) << request.argsz << ' ' << request.flags;
        EXPECT_EQ(std::memcmp(&request, &before, sizeof before), 0);
    }
    EXPECT_EQ(bench.charged(), 1U);
}

TEST_F(ContainerFileTest, MAP_reads_32_bytes_and_writes_none)
{
    Edge const edge;
    vfio_iommu_type1_dma_map const map{32, 3, std::bit_cast<std::uint64_t>(memory.page(0)), kI,
                                       kPage};
    EXPECT_EQ(bench.ioctl(fds.container, VFIO_IOMMU_MAP_DMA, edge.put(map, 31)), -EFAULT);
    std::byte* const place = edge.put(map);
    EXPECT_EQ(bench.ioctl(fds.container, VFIO_IOMMU_MAP_DMA, place), 0);
    EXPECT_EQ(std::memcmp(place, &map, sizeof map), 0);
}

TEST_F(ContainerFileTest, UNMAP_writes_the_size_back_and_stays_done_where_it_cannot)
{
    EXPECT_EQ(bench.map(fds.container, kI, memory.page(0), 4 * kPage), 0);
    Unmap request{24, 0, kI - kPage, 16 * kPage};
    EXPECT_EQ(unmap(request), 0);
    EXPECT_EQ(request.size, 4 * kPage);
    EXPECT_EQ(request.iova, kI - kPage);
    EXPECT_EQ(bench.charged(), 0U);

    EXPECT_EQ(bench.map(fds.container, kI, memory.page(0), 4 * kPage), 0);
    host::TestMapping sealed{1};
    Unmap const all{24, VFIO_DMA_UNMAP_FLAG_ALL, 0, 0};
    std::memcpy(sealed.page(0), &all, sizeof all);
    ::mprotect(sealed.page(0), host::kPage, PROT_READ);
    EXPECT_EQ(bench.ioctl(fds.container, VFIO_IOMMU_UNMAP_DMA, sealed.page(0)), -EFAULT);
    EXPECT_EQ(bench.charged(), 0U);
}

TEST_F(ContainerFileTest, UNMAP_reads_the_bitmap_only_when_asked_to_and_then_first)
{
    Edge const edge;
    Unmap const plain{24, 0, kI, kPage};
    EXPECT_EQ(bench.ioctl(fds.container, VFIO_IOMMU_UNMAP_DMA, edge.put(plain, 24)), 0);
    Unmap const dirty{48, 1, kI, kPage};
    EXPECT_EQ(bench.ioctl(fds.container, VFIO_IOMMU_UNMAP_DMA, edge.put(dirty, 24)), -EFAULT);
    UnmapWithBitmap whole{{48, 1, kI, kPage}, {kPage, 8, nullptr}};
    EXPECT_EQ(bench.ioctl(fds.container, VFIO_IOMMU_UNMAP_DMA, &whole),
              -EINVAL);  // not tracking
}

TEST_F(ContainerFileTest, DIRTY_PAGES_takes_exactly_one_flag)
{
    for (std::uint32_t const flags : {0U, 3U, 5U, 6U, 7U, 8U, 9U}) {
        Dirty dirty{8, flags};
        EXPECT_EQ(bench.ioctl(fds.container, VFIO_IOMMU_DIRTY_PAGES, &dirty), -EINVAL) << flags;
    }
    Dirty too_short{7, 1};
    EXPECT_EQ(bench.ioctl(fds.container, VFIO_IOMMU_DIRTY_PAGES, &too_short), -EINVAL);
    for (std::uint32_t const flags : {1U, 1U, 2U, 2U}) {
        Dirty dirty{8, flags};
        EXPECT_EQ(bench.ioctl(fds.container, VFIO_IOMMU_DIRTY_PAGES, &dirty), 0) << flags;
    }
}

TEST_F(ContainerFileTest, GET_BITMAP_and_UNMAP_carry_dirty_bits)
{
    EXPECT_EQ(bench.map(fds.container, kI, memory.page(0), 2 * kPage), 0);
    std::uint64_t word = 0;
    DirtyGet query{{48, VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP}, kI, 2 * kPage, {kPage, 8, &word}};
    auto const ask = [&] { return bench.ioctl(fds.container, VFIO_IOMMU_DIRTY_PAGES, &query); };
    EXPECT_EQ(ask(), -EINVAL);
    Dirty start{8, VFIO_IOMMU_DIRTY_PAGES_FLAG_START};
    EXPECT_EQ(bench.ioctl(fds.container, VFIO_IOMMU_DIRTY_PAGES, &start), 0);
    query.head.argsz = 47;
    EXPECT_EQ(ask(), -EINVAL);
    query.head.argsz = 48;
    EXPECT_EQ(ask(), 0);
    EXPECT_EQ(word, 3U);

    word = 0;
    UnmapWithBitmap whole{{48, 1, kI, 2 * kPage}, {kPage, 8, &word}};
    EXPECT_EQ(bench.ioctl(fds.container, VFIO_IOMMU_UNMAP_DMA, &whole), 0);
    EXPECT_EQ(whole.unmap.size, 2 * kPage);
    EXPECT_EQ(word, 3U);
    EXPECT_EQ(bench.charged(), 0U);
}

TEST(Container, DIRTY_PAGES_is_EACCES_in_version_1_before_the_argument_is_read)
{
    Bench bench;
    auto const fds = bench.ready(VFIO_TYPE1_IOMMU);
    EXPECT_EQ(bench.ioctl(fds.container, VFIO_IOMMU_DIRTY_PAGES, nullptr), -EACCES);
}

// Vectors 48.
TEST(Container, SET_IOMMU_needs_a_group_and_a_type_that_somebody_claims)
{
    Bench bench;
    auto const container = bench.open_container();
    auto const group = bench.open_group(7);
    auto const set = [&](std::uint64_t type) {
        return bench.ioctl(container, VFIO_SET_IOMMU, type);
    };
    EXPECT_EQ(set(3), -EINVAL);
    EXPECT_EQ(bench.set_container(group, container), 0);
    EXPECT_EQ(set(99), -ENODEV);
    EXPECT_EQ(set(9), -EINVAL);
    EXPECT_EQ(set(4), -ENODEV);
    EXPECT_EQ(set(3), 0);
    EXPECT_EQ(set(3), -EINVAL);
}

TEST(Container, a_64K_host_reports_its_page_and_takes_no_less)
{
    Bench bench{k64K};
    auto const fds = bench.ready();
    vfio_iommu_type1_info info{sizeof info, 0, 0, 0};
    EXPECT_EQ(bench.ioctl(fds.container, VFIO_IOMMU_GET_INFO, &info), 0);
    EXPECT_EQ(info.iova_pgsizes, 0x40210000U);
    host::TestMapping const memory{32};
    auto* const aligned =
        std::bit_cast<void*>(k64K.align_up(std::bit_cast<std::uint64_t>(memory.page(0))));
    EXPECT_EQ(bench.map(fds.container, kI, aligned, kPage), -EINVAL);
    EXPECT_EQ(bench.map(fds.container, kI, aligned, 0x10000), 0);
    EXPECT_EQ(bench.charged(), 1U);
}

}  // namespace
}  // namespace pinfold::uapi
