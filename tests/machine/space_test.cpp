#include "pinfold/space.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>
#include <cstring>
#include <memory>
#include <vector>

namespace pinfold {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr Iova kIova{0x10000};

std::byte* memory(std::size_t pages)
{
    void* const at =
        ::mmap(nullptr, pages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return static_cast<std::byte*>(at);
}

class SpaceTest : public testing::TestWithParam<Space::Tables> {
protected:
    std::unique_ptr<Space> make(Space::Options options = {})
    {
        options.tables = GetParam();
        auto space = Space::create(options);
        EXPECT_TRUE(space);
        return std::move(*space);
    }
    std::byte* const pages = memory(8);
    ~SpaceTest() override { (void)::munmap(pages, 8 * kPage); }
};
INSTANTIATE_TEST_SUITE_P(Tables, SpaceTest,
                         testing::Values(Space::Tables::native, Space::Tables::vtd),
                         [](auto const& param_info) {
                             return param_info.param == Space::Tables::native ? "native" : "vtd";
                         });

TEST_P(SpaceTest, a_software_device_reaches_the_pages_that_it_pins_until_it_is_told_to_let_go)
{
    auto space = make();
    std::vector<IovaRange> told;
    std::unique_ptr<SoftwareDevice> device;
    device = *space->add_software_device([&](IovaRange going) {
        told.push_back(going);
        device->unpin(going.start, going.size() / kPage);
    });
    ASSERT_TRUE(space->map(kIova, pages, 4 * kPage, Prot::read_write));
    std::array<Paddr, 2> pinned;
    ASSERT_TRUE(device->pin(kIova + kPage, Prot::read_write, pinned));
    EXPECT_TRUE(device->touch(pinned[1], [](std::byte* bytes) { bytes[3] = std::byte{9}; }));
    EXPECT_EQ(pages[2 * kPage + 3], std::byte{9});

    // What the program gives away stays the device's page.
    ASSERT_TRUE(space->withdraw(pages + 2 * kPage, kPage));
    EXPECT_EQ(pages[2 * kPage + 3], std::byte{0});
    std::byte seen{};
    EXPECT_TRUE(device->touch(pinned[1], [&](std::byte const* bytes) { seen = bytes[3]; }));
    EXPECT_EQ(seen, std::byte{9});

    EXPECT_EQ(space->unmap(kIova, 4 * kPage), 4 * kPage);
    ASSERT_EQ(told.size(), 1U);
    EXPECT_EQ(told[0].start, kIova);
    EXPECT_EQ(told[0].size(), 4 * kPage);
    EXPECT_EQ(space->pinned_pages(), 0U);
    EXPECT_EQ(device->touch(Paddr{1} + 0x123456789000, [](std::byte*) {}).error(), Errno::fault);
}

TEST_P(SpaceTest, each_mistake_of_a_software_device_has_its_errno)
{
    auto space = make();
    auto const deaf = *space->add_software_device({});
    ASSERT_TRUE(space->map(kIova, pages, 2 * kPage, Prot::read));
    std::array<Paddr, 1> page;
    std::array<std::byte, 8> bytes{};
    EXPECT_EQ(deaf->pin(kIova, Prot::read, page).error(), Errno::inval);
    auto const device = *space->add_software_device([](IovaRange) {});
    EXPECT_EQ(device->pin(kIova, Prot::read, {}).error(), Errno::inval);
    EXPECT_EQ(device->pin(kIova + 1, Prot::read, page).error(), Errno::inval);
    EXPECT_EQ(device->pin(kIova + 2 * kPage, Prot::read, page).error(), Errno::inval);
    EXPECT_EQ(device->pin(kIova, Prot::read_write, page).error(), Errno::perm);
    EXPECT_EQ(device->write(kIova, bytes).error(), Errno::perm);
    EXPECT_EQ(device->read(kIova + 2 * kPage, bytes).error(), Errno::inval);
    EXPECT_TRUE(device->read(kIova + kPage - 4, bytes));
    EXPECT_TRUE(deaf->read(kIova, bytes));
}

TEST_P(SpaceTest, a_software_device_that_goes_leaves_no_pin_behind_its_mapping)
{
    auto space = make();
    auto device = *space->add_software_device([](IovaRange) {});
    ASSERT_TRUE(space->map(kIova, pages, 2 * kPage, Prot::read_write));
    std::array<Paddr, 2> pinned;
    ASSERT_TRUE(device->pin(kIova, Prot::read_write, pinned));
    device.reset();
    EXPECT_EQ(space->unmap_all(), 2 * kPage);
    EXPECT_EQ(space->pinned_pages(), 0U);
}

TEST_P(SpaceTest, a_device_reads_and_writes_what_is_mapped_and_faults_beside_it)
{
    auto space = make();
    std::memset(pages, 0x5a, 8 * kPage);
    ASSERT_TRUE(space->map(kIova, pages, 2 * kPage, Prot::read_write));
    std::array<std::byte, 16> bytes{};
    EXPECT_TRUE(space->read(kIova + kPage - 8, bytes));
    EXPECT_EQ(bytes[15], std::byte{0x5a});
    bytes.fill(std::byte{7});
    EXPECT_TRUE(space->write(kIova + 8, bytes));
    EXPECT_EQ(pages[8], std::byte{7});
    EXPECT_EQ(space->read(kIova + 2 * kPage - 8, bytes).error(), Errno::fault);
    EXPECT_EQ(bytes[7], std::byte{0x5a}) << "what came before the fault was read";
    EXPECT_EQ(bytes[8], std::byte{0xff});
    EXPECT_EQ(space->faults(), 1U);
    EXPECT_EQ(space->pinned_pages(), 2U);
    EXPECT_EQ(space->unmap_all(), 2 * kPage);
    EXPECT_EQ(space->pinned_pages(), 0U);
    EXPECT_EQ(space->read(kIova, bytes).error(), Errno::fault);
}

TEST_P(SpaceTest, the_rules_are_those_of_Type1v2)
{
    auto space = make();
    ASSERT_TRUE(space->map(kIova, pages, 2 * kPage, Prot::read));
    EXPECT_EQ(space->map(kIova, pages, kPage, Prot::read).error(), Errno::exist);
    EXPECT_EQ(space->map(kIova + 1, pages, kPage, Prot::read).error(), Errno::inval);
    EXPECT_EQ(space->map(Iova{0x100000}, pages, 0, Prot::read).error(), Errno::inval);
    EXPECT_EQ(space->map(Iova{0x100000}, pages, ~std::uint64_t{0xfff}, Prot::read).error(),
              Errno::overflow);
    EXPECT_EQ(space->map(Iova{0x100000}, nullptr, kPage, Prot::read).error(), Errno::fault);
    EXPECT_EQ(space->unmap(kIova, kPage).error(), Errno::inval) << "that would cut the mapping";
    EXPECT_EQ(space->unmap(kIova, 4 * kPage), 2 * kPage);
    EXPECT_EQ(space->unmap(kIova, kPage), 0U);
}

TEST_P(SpaceTest, a_limit_on_locked_memory_binds_to_the_page)
{
    auto space = make({.memlock = 2 * kPage});
    EXPECT_TRUE(space->map(kIova, pages, 2 * kPage, Prot::read));
    EXPECT_EQ(space->map(Iova{0x100000}, pages, kPage, Prot::read).error(), Errno::nomem);
}

TEST_P(SpaceTest, segments_are_the_programs_own_memory_merged)
{
    auto space = make();
    ASSERT_TRUE(space->map(kIova, pages, 4 * kPage, Prot::read_write));
    bool called = false;
    EXPECT_TRUE(
        space->with_segments(kIova + 100, 3 * kPage, Access::write, [&](auto segments) -> Result<> {
            called = segments.size() == 1 && segments[0].iov_base == pages + 100 &&
                     segments[0].iov_len == 3 * kPage;
            return {};
        }));
    EXPECT_TRUE(called);
}

TEST_P(SpaceTest, withdrawn_memory_stays_what_the_device_sees)
{
    auto space = make();
    pages[0] = std::byte{0x11};
    ASSERT_TRUE(space->map(kIova, pages, kPage, Prot::read_write));
    ASSERT_TRUE(space->withdraw(pages, kPage));
    ASSERT_EQ(::mmap(pages, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                     -1, 0),
              pages);
    pages[0] = std::byte{0x22};
    std::array<std::byte, 1> byte{};
    EXPECT_TRUE(space->read(kIova, byte));
    EXPECT_EQ(byte[0], std::byte{0x11});
}

TEST_P(SpaceTest, a_64K_host_on_a_4K_IOMMU_maps_by_64K_and_charges_by_64K)
{
    constexpr std::uint64_t kHostPage = 65536;
    auto space = make({.host_page = k64K, .memlock = 2 * kHostPage});
    auto* const raw = memory(3 * 16 + 16);
    auto* const aligned =
        reinterpret_cast<std::byte*>(k64K.align_up(reinterpret_cast<std::uint64_t>(raw)));
    EXPECT_EQ(space->map(kIova, aligned, kPage, Prot::read).error(), Errno::inval);
    EXPECT_TRUE(space->map(kIova, aligned, kHostPage, Prot::read_write));
    EXPECT_EQ(space->pinned_pages(), 1U) << "one host page, though sixteen leaves";
    EXPECT_TRUE(space->map(Iova{0x20000}, aligned + kHostPage, kHostPage, Prot::read_write));
    EXPECT_EQ(space->map(Iova{0x30000}, aligned + 2 * kHostPage, kHostPage, Prot::read).error(),
              Errno::nomem);
    aligned[kHostPage - 1] = std::byte{9};
    std::array<std::byte, 1> byte{};
    EXPECT_TRUE(space->read(kIova + (kHostPage - 1), byte));
    EXPECT_EQ(byte[0], std::byte{9});
    (void)::munmap(raw, (3 * 16 + 16) * kPage);
}

TEST(Space, an_IOMMU_that_cannot_be_is_EINVAL)
{
    EXPECT_EQ(Space::create({.tables = Space::Tables::vtd, .address_width = 58}).error(),
              Errno::inval);
    EXPECT_EQ(
        Space::create({.tables = Space::Tables::vtd, .page_sizes = PageSizes{0x10000}}).error(),
        Errno::inval);
}

}  // namespace
}  // namespace pinfold
