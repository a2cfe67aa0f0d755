#include "uapi/device_file.hpp"

#include <sys/mman.h>

#include <cstring>
#include <random>

#include "uapi/device_support.hpp"

namespace pinfold::uapi {
namespace {

using Accesses = std::vector<pci::FakeDevice::Access>;

TEST_F(DeviceFileTest, is_named_as_its_endpoint)
{
    EXPECT_EQ(device_name(*function_), "0000:00:04.0");
}

TEST_F(DeviceFileTest, is_an_open_of_the_function_for_as_long_as_it_lives)
{
    std::uint16_t const master = 6;
    ASSERT_EQ(pwrite(&master, 2, 7, 4), 2);
    auto second =
        make_device_file(*function_,
                         {.group = 3, .host_page = k4K, .kernel = Kernel::v7_3, .files = files_})
            .value();
    second.reset();
    EXPECT_EQ(config(4, 2), 6U);
    file_.reset();
    EXPECT_FALSE(device_->bus.dma().bus_master());
    file_ = make_device_file(
                *function_, {.group = 3, .host_page = k4K, .kernel = Kernel::v7_3, .files = files_})
                .value();
    EXPECT_EQ(config(4, 2), 0x0103U);
}

// ---- Configuration space

TEST_F(DeviceFileTest, all_of_configuration_space_is_read_at_once)
{
    std::vector<std::uint8_t> bytes(4096, 0xcc);
    EXPECT_EQ(pread(bytes.data(), 4096, 7, 0), 4096);
    EXPECT_EQ(bytes[0], 0x36);
    EXPECT_EQ(bytes[4095], 0);
    std::uint64_t head = 0;
    EXPECT_EQ(pread(&head, 8, 7, 1), 8);
    EXPECT_EQ(std::memcmp(&head, &bytes[1], 8), 0);
}

TEST_F(DeviceFileTest, outside_configuration_space_is_EFAULT_whole)
{
    std::array<std::uint8_t, 16> bytes{};
    EXPECT_EQ(pread(bytes.data(), 1, 7, 4096), -EFAULT);
    EXPECT_EQ(pread(bytes.data(), 2, 7, 4095), -EFAULT);
    EXPECT_EQ(pread(bytes.data(), ~std::uint64_t{0}, 7, 4), -EFAULT);
    EXPECT_EQ(pread(bytes.data(), 4, 7, (std::uint64_t{1} << 40) - 4), -EFAULT);
    EXPECT_EQ(pwrite(bytes.data(), 2, 7, 4095), -EFAULT);
    EXPECT_EQ(pwrite(bytes.data(), ~std::uint64_t{0}, 7, 4), -EFAULT);
    EXPECT_EQ(pread(nullptr, 4, 7, 0), -EFAULT);
    EXPECT_EQ(pwrite(nullptr, 4, 7, 4), -EFAULT);
    EXPECT_EQ(pread(bytes.data(), 1, 7, 4095), 1);
}

TEST_F(DeviceFileTest, a_write_across_registers_is_split_and_each_takes_its_own)
{
    std::array<std::uint8_t, 13> const bytes{0x06, 0x00, 0xff, 0xff, 0xee, 0xee, 0xee,
                                             0xee, 0x40, 0xff, 0xff, 0xff, 0x99};
    EXPECT_EQ(pwrite(bytes.data(), 13, 7, 4), 13);
    EXPECT_EQ(config(4), 0x00100006U);
    EXPECT_EQ(config(8), 0x01080202U);
    EXPECT_EQ(config(0xc), 0x00000040U);
    EXPECT_EQ(config(0x10), 0xfe000004U) << "the last byte is below the BAR's size";
}

TEST_F(DeviceFileTest, a_write_that_runs_out_of_buffer_has_happened_up_to_there)
{
    Cliff const cliff;
    std::uint32_t const command = 0x00000406;
    std::memcpy(cliff.before(4), &command, 4);
    EXPECT_EQ(pwrite(cliff.before(4), 8, 7, 4), -EFAULT);
    EXPECT_EQ(config(4, 2), 0x0406U);
}

// ---- BARs

TEST_F(DeviceFileTest, a_BAR_is_accessed_as_wide_as_alignment_allows)
{
    std::array<std::uint8_t, 32> bytes{};
    device_->answer = 0x8877'6655'4433'2211;
    EXPECT_EQ(pread(bytes.data(), 23, 3, 0x101), 23);
    EXPECT_EQ(device_->accesses, (Accesses{{false, 3, 0x101, 1, 0},
                                           {false, 3, 0x102, 2, 0},
                                           {false, 3, 0x104, 4, 0},
                                           {false, 3, 0x108, 8, 0},
                                           {false, 3, 0x110, 8, 0}}));
    EXPECT_EQ(bytes[0], 0x11);
    EXPECT_EQ(bytes[6], 0x44);
    EXPECT_EQ(bytes[22], 0x88);
    EXPECT_EQ(bytes[23], 0);
    device_->accesses.clear();
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i);
    EXPECT_EQ(pwrite(bytes.data(), 7, 3, 0x20), 7);
    EXPECT_EQ(device_->accesses, (Accesses{{true, 3, 0x20, 4, 0x03020100},
                                           {true, 3, 0x24, 2, 0x0504},
                                           {true, 3, 0x26, 1, 0x06}}));
}

TEST_F(DeviceFileTest, an_access_is_clipped_at_the_end_of_its_BAR)
{
    std::array<std::uint8_t, 64> bytes{};
    EXPECT_EQ(pread(bytes.data(), 64, 3, 0xff8), 8);
    EXPECT_EQ(pwrite(bytes.data(), 64, 2, 0x3e), 2);
    EXPECT_EQ(pread(bytes.data(), 4, 3, 0x1000), -EINVAL);
    EXPECT_EQ(pwrite(bytes.data(), 4, 3, 0x1000), -EINVAL);
    EXPECT_EQ(pread(bytes.data(), 4, 3, (std::uint64_t{1} << 40) - 1), -EINVAL);
}

TEST_F(DeviceFileTest, regions_that_are_not_there_are_EINVAL_but_nothing_at_all_is_0)
{
    std::uint32_t word = 0;
    for (unsigned const region : {1U, 4U, 6U, 8U, 9U, 0xffffU}) {
        EXPECT_EQ(pread(&word, 4, region, 0), -EINVAL) << region;
        EXPECT_EQ(pwrite(&word, 4, region, 0), -EINVAL) << region;
        EXPECT_EQ(pread(nullptr, 0, region, 0), 0) << region;
        EXPECT_EQ(pwrite(nullptr, 0, region, 0), 0) << region;
    }
}

TEST_F(DeviceFileTest, a_BAR_that_is_not_decoded_is_EIO_and_its_MSI_X_table_reads_ones)
{
    std::uint16_t const off = 0;
    ASSERT_EQ(pwrite(&off, 2, 7, 4), 2);
    std::uint32_t word = 0;
    EXPECT_EQ(pread(&word, 4, 3, 0), -EIO);
    EXPECT_EQ(pwrite(&word, 4, 3, 0), -EIO);
    EXPECT_EQ(pread(&word, 4, 0, 0x2000), 4);
    EXPECT_EQ(word, 0xffffffffU);
    std::array<std::uint8_t, 16> across{};
    EXPECT_EQ(pread(across.data(), 16, 0, 0x2078), -EIO) << "from the table into what follows";
}

TEST_F(DeviceFileTest, a_read_stops_where_the_buffer_does_and_touches_no_register_beyond)
{
    Cliff const cliff;
    EXPECT_EQ(pread(cliff.before(8), 32, 3, 0), -EFAULT);
    EXPECT_EQ(device_->accesses.size(), 2U);
    EXPECT_EQ(pwrite(cliff.before(8), 32, 3, 0), -EFAULT);
    EXPECT_EQ(device_->accesses.size(), 3U);
    EXPECT_EQ(pread(std::bit_cast<void*>(~std::uint64_t{0} - 3), 8, 3, 0), -EFAULT);
}

// ---- Mapping

TEST_F(DeviceFileTest, a_mapping_is_the_BARs_memory_with_what_each_page_allows)
{
    auto const mapping = file_->mmap(0x1000, 0x3000, true).value();
    EXPECT_EQ(mapping.memory, function_->bar_descriptor(0));
    EXPECT_EQ(mapping.offset, 0x1000U);
    EXPECT_EQ(mapping.region_offset, 0x1000U);
    EXPECT_EQ(mapping.readable, (std::vector<bool>{false, true, true}));
    std::uint64_t const third = std::uint64_t{3} << 40;
    EXPECT_EQ(file_->mmap(third, 1, true)->readable, std::vector<bool>{false});
    EXPECT_EQ(file_->mmap(third, 1, true)->region_offset, third);
}

TEST_F(DeviceFileTest, a_mapping_that_cannot_be_is_EINVAL)
{
    auto const map = [&](std::uint64_t offset, std::uint64_t size, bool shared = true) {
        auto const mapped = file_->mmap(offset, size, shared);
        return mapped ? 0 : number(mapped.error());
    };
    EXPECT_EQ(map(0, 0x4000), 0);
    EXPECT_EQ(map(0, 0x4000, false), EINVAL);
    EXPECT_EQ(map(0, 0), EINVAL);
    EXPECT_EQ(map(0, 0x4001), EINVAL);
    EXPECT_EQ(map(0x4000, 0x1000), EINVAL);
    EXPECT_EQ(map(0x3000, 0x2000), EINVAL);
    EXPECT_EQ(map(0x3000, ~std::uint64_t{0}), EINVAL);
    EXPECT_EQ(map(0x800, 0x1000), EINVAL);
    EXPECT_EQ(map(~std::uint64_t{0xfff}, 0x1000), EINVAL);
    for (unsigned const region : {1U, 2U, 4U, 6U, 7U, 8U, 9U})
        EXPECT_EQ(map(std::uint64_t{region} << 40, 0x1000), EINVAL) << region;
}

class LargePageDeviceFileTest : public DeviceFileTest {
protected:
    LargePageDeviceFileTest() : DeviceFileTest{pci::full_identity(), k64K} {}
};

TEST_F(LargePageDeviceFileTest, a_small_BAR_is_mapped_with_the_rest_of_its_page)
{
    auto const mapping = file_->mmap(0, 0x10000, true).value();
    ASSERT_EQ(mapping.readable.size(), 16U);
    EXPECT_TRUE(mapping.readable[0]);
    EXPECT_FALSE(mapping.readable[4]);
    void* const mapped = ::mmap(nullptr, 0x10000, PROT_READ, MAP_SHARED, mapping.memory, 0);
    ASSERT_NE(mapped, MAP_FAILED);
    EXPECT_EQ(static_cast<std::byte*>(mapped)[0xffff], std::byte{0});
    ::munmap(mapped, 0x10000);
    EXPECT_EQ(file_->mmap(0x1000, 0x1000, true).error(), Errno::inval);
    EXPECT_EQ(file_->mmap(std::uint64_t{3} << 40, 0x1000, true).error(), Errno::inval);
    EXPECT_EQ(file_->mmio_read(0x8000, 4), 0xffffffffU);
}

TEST_F(DeviceFileTest, trapped_accesses_come_through_with_their_width)
{
    device_->answer = 0x1122334455667788;
    EXPECT_EQ(file_->mmio_read(0x1004, 2), 0x7788U);
    EXPECT_EQ(file_->mmio_write(0x1008, 8, 5), 0U);
    EXPECT_EQ(device_->accesses, (Accesses{{false, 0, 0x1004, 2, 0}, {true, 0, 0x1008, 8, 5}}));
    for (unsigned const size : {0U, 3U, 5U, 16U, 0x80000000U}) {
        EXPECT_EQ(file_->mmio_read(0, size).error(), Errno::inval) << size;
        EXPECT_EQ(file_->mmio_write(0, size, 0).error(), Errno::inval) << size;
    }
    for (unsigned const region : {2U, 6U, 7U, 8U, 0xffffffU})
        EXPECT_EQ(file_->mmio_read(std::uint64_t{region} << 40, 4).error(), Errno::inval);
}

// ---- Hostile

TEST_F(DeviceFileTest, any_read_write_and_mapping_is_answered)
{
    auto const seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random{seed};
    Cliff const cliff;
    auto const offset = [&]() -> std::uint64_t {
        if (random() % 8 == 0) return random();
        return (random() % 10) << 40 | (random() % 4 == 0 ? random() % 0x5000 : random() % 0x60);
    };
    for (int step = 0; step < 20000; ++step) {
        std::uint64_t const size = random() % 64 == 0 ? random() : random() % 40;
        Vaddr const buffer{random() % 16 == 0 ? random() : address_of(cliff.before(random() % 64))};
        (void)file_->read(client_, buffer, size % (1 << 20), offset());
        (void)file_->write(client_, buffer, size % (1 << 20), offset());
        (void)file_->mmap(offset() & ~0xfffULL, size, true);
        (void)file_->mmio_read(offset(), static_cast<unsigned>(size));
        (void)file_->mmio_write(offset(), static_cast<unsigned>(size), random());
        for (auto const& access : std::exchange(device_->accesses, {}))
            ASSERT_LE(access.offset + access.size, pci::full_identity().bars[access.bar].size);
    }
}

}  // namespace
}  // namespace pinfold::uapi
