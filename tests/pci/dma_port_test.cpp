#include "pci/dma_port.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>
#include <bit>
#include <numeric>
#include <random>
#include <thread>

#include "pci/support.hpp"

namespace pinfold::pci {
namespace {

using iommu::FaultReason;

constexpr std::byte kOnes{0xff};

class DmaPortTest : public testing::Test {
protected:
    DmaPortTest() { port_.set_bus_master(true); }

    std::vector<std::byte> counted(std::size_t size) const
    {
        std::vector<std::byte> bytes(size);
        for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 256);
        return bytes;
    }
    int read_byte(std::uint64_t iova)
    {
        std::byte byte{};
        return port_.read(Iova{iova}, {&byte, 1}) ? std::to_integer<int>(byte) : -1;
    }
    FaultReason last_fault()
    {
        auto const faults = around_.faults();
        return faults.empty() ? FaultReason{} : faults.back().reason;
    }

    Surroundings around_;
    DmaPort port_{around_.endpoint(), around_.memory()};
};

TEST_F(DmaPortTest, bytes_go_to_the_memory_that_is_mapped_and_come_from_it)
{
    TestMapping const mapping{1};
    around_.map(0x10000, mapping);
    auto const sent = counted(300);
    ASSERT_TRUE(port_.write(Iova{0x10123}, sent));
    EXPECT_EQ(std::memcmp(mapping.page(0) + 0x123, sent.data(), sent.size()), 0);
    std::vector<std::byte> received(300);
    ASSERT_TRUE(port_.read(Iova{0x10123}, received));
    EXPECT_EQ(received, sent);
    EXPECT_EQ(around_.endpoint().faults().count(), 0U);
    auto const counters = port_.counters();
    EXPECT_EQ(counters.reads, 1U);
    EXPECT_EQ(counters.read_bytes, 300U);
    EXPECT_EQ(counters.writes, 1U);
    EXPECT_EQ(counters.written_bytes, 300U);
}

TEST_F(DmaPortTest, a_silence_ends_a_transfer_at_the_next_page_and_records_nothing)
{
    TestMapping const mapping{2};
    around_.map(0x10000, mapping);
    mapping.fill(0x11);
    std::vector<std::byte> bytes(2 * kPage);
    {
        DmaPort::Silence const first{port_};
        DmaPort::Silence const second{port_};
        EXPECT_FALSE(port_.bus_master());
        EXPECT_EQ(port_.read(Iova{0x10000}, bytes).error(), Errno::fault);
        EXPECT_EQ(bytes[0], kOnes);
        EXPECT_FALSE(port_.write(Iova{0x10000}, bytes));
        std::array<DmaPiece, 1> const pieces{{{Iova{0x10000}, kPage}}};
        bool called = false;
        EXPECT_FALSE(port_.with_segments(pieces, Access::read, [&](auto) -> Result<> {
            called = true;
            return {};
        }));
        EXPECT_FALSE(called);
        port_.set_bus_master(false);
        port_.set_bus_master(true);
        EXPECT_FALSE(port_.bus_master()) << "mastership is another matter";
    }
    EXPECT_EQ(mapping.page(0)[0], std::byte{0x11});
    EXPECT_EQ(around_.endpoint().faults().count(), 0U);
    EXPECT_TRUE(port_.write(Iova{0x10000}, bytes));
}

// The page that a careless driver has mapped there is not touched.
TEST(DmaPort, four_bytes_to_the_interrupt_window_are_an_interrupt_and_all_else_there_faults)
{
    Surroundings around{
        {}, {.reserved = {{{Iova{0xfee0'0000}, Iova{0xfeef'ffff}}, iommu::ReservedType::msi}}}};
    DmaPort port{around.endpoint(), around.memory()};
    TestMapping const mapping{1};
    around.map(0xfee0'0000, mapping);
    std::vector<std::byte> sent(8, std::byte{0x5a});
    EXPECT_FALSE(port.write(Iova{0xfee0'0000}, std::span{sent}.first(4)));  // no bus master
    port.set_bus_master(true);
    EXPECT_TRUE(port.write(Iova{0xfee0'0000}, std::span{sent}.first(4)));
    EXPECT_EQ(port.counters().writes, 1U);
    EXPECT_FALSE(port.write(Iova{0xfee0'0000}, sent));
    EXPECT_FALSE(port.read(Iova{0xfee0'0000}, std::span{sent}.first(4)));
    EXPECT_EQ(sent[0], std::byte{0xff});
    EXPECT_EQ(mapping.page(0)[0], std::byte{0});
    EXPECT_EQ(around.faults().back().reason, FaultReason::interrupt_window);
}

TEST(DmaPort, a_transfer_over_scattered_frames_in_any_order_is_whole)
{
    Surroundings around{{.numbering = host::FrameNumbering::scattered, .seed = 4}};
    DmaPort port{around.endpoint(), around.memory()};
    port.set_bus_master(true);
    TestMapping const mapping{8};
    for (std::size_t i = 0; i < 8; ++i)
        around.map(0x40000 + i * kPage, mapping.page((i * 3 + 1) % 8));
    std::vector<std::byte> sent(7 * kPage + 100);
    std::mt19937 random{1};
    for (auto& byte : sent) byte = static_cast<std::byte>(random());
    ASSERT_TRUE(port.write(Iova{0x40000 + 50}, sent));
    for (std::size_t i = 0; i < sent.size(); ++i) {
        std::size_t const at = i + 50;
        ASSERT_EQ(mapping.page((at / kPage * 3 + 1) % 8)[at % kPage], sent[i]) << i;
    }
    std::vector<std::byte> received(sent.size());
    ASSERT_TRUE(port.read(Iova{0x40000 + 50}, received));
    EXPECT_EQ(received, sent);
}

TEST_F(DmaPortTest, a_read_that_faults_half_way_has_what_came_before_and_ones_from_there_on)
{
    TestMapping const mapping{2};
    mapping.fill(0x11);
    around_.map(0x10000, mapping.page(0));
    around_.map(0x12000, mapping.page(1));
    std::vector<std::byte> received(3 * kPage, std::byte{0x55});
    EXPECT_EQ(port_.read(Iova{0x10000}, received).error(), Errno::fault);
    for (std::size_t i = 0; i < received.size(); ++i)
        ASSERT_EQ(received[i], i < kPage ? std::byte{0x11} : kOnes) << i;
    auto const faults = around_.faults();
    ASSERT_EQ(faults.size(), 1U);
    EXPECT_EQ(faults[0].iova, Iova{0x11000});
    EXPECT_EQ(faults[0].access, Access::read);
    EXPECT_EQ(faults[0].reason, FaultReason::not_mapped);
    EXPECT_EQ(port_.counters().reads, 0U);
    EXPECT_EQ(port_.counters().read_bytes, kPage);
}

TEST_F(DmaPortTest, a_write_that_faults_half_way_has_happened_up_to_there_and_no_further)
{
    TestMapping const mapping{3};
    mapping.fill(0);
    around_.map(0x10000, mapping.page(0));
    around_.map(0x11000, mapping.page(1), Prot::read);
    around_.map(0x12000, mapping.page(2));
    std::vector<std::byte> const sent(3 * kPage, std::byte{0x77});
    EXPECT_EQ(port_.write(Iova{0x10000}, sent).error(), Errno::fault);
    EXPECT_EQ(mapping.page(0)[kPage - 1], std::byte{0x77});
    EXPECT_EQ(mapping.page(1)[0], std::byte{0});
    EXPECT_EQ(mapping.page(2)[0], std::byte{0});
    EXPECT_EQ(last_fault(), FaultReason::no_permission);
}

TEST_F(DmaPortTest, without_bus_mastership_nothing_moves_and_a_fault_tells)
{
    TestMapping const mapping{1};
    mapping.fill(0x11);
    around_.map(0x10000, mapping);
    port_.set_bus_master(false);
    std::array<std::byte, 4> bytes{};
    EXPECT_EQ(port_.write(Iova{0x10000}, bytes).error(), Errno::fault);
    EXPECT_EQ(mapping.page(0)[0], std::byte{0x11});
    EXPECT_EQ(port_.read(Iova{0x10000}, bytes).error(), Errno::fault);
    EXPECT_EQ(bytes, (std::array{kOnes, kOnes, kOnes, kOnes}));
    std::array const piece{DmaPiece{Iova{0x10000}, 4}};
    auto const used = port_.with_segments(piece, Access::read, [](auto) -> Result<> {
        ADD_FAILURE() << "used without mastership";
        return {};
    });
    EXPECT_EQ(used.error(), Errno::fault);
    ASSERT_EQ(around_.faults().size(), 3U);
    EXPECT_EQ(last_fault(), FaultReason::bus_master);
    port_.set_bus_master(true);
    EXPECT_EQ(read_byte(0x10000), 0x11);
}

TEST(DmaPort, an_access_past_the_top_of_the_address_space_does_not_start_again_at_0)
{
    Surroundings around{{},
                        {.model = iommu::Model::native,
                         .page_sizes = PageSizes{~0xfffULL},
                         .address_width = 64,
                         .reserved = {}}};
    DmaPort port{around.endpoint(), around.memory()};
    port.set_bus_master(true);
    TestMapping const mapping{2};
    mapping.fill(0x11);
    constexpr std::uint64_t kTopPage = ~std::uint64_t{0xfff};
    around.map(0, mapping.page(0));
    around.map(kTopPage, mapping.page(1));
    std::array<std::byte, 16> bytes{};
    ASSERT_TRUE(port.read(Iova{kTopPage + 0xff0}, bytes));
    EXPECT_EQ(port.read(Iova{kTopPage + 0xff8}, bytes).error(), Errno::fault);
    EXPECT_EQ(bytes[7], std::byte{0x11});
    EXPECT_EQ(bytes[8], kOnes);
    std::array const piece{DmaPiece{Iova{kTopPage + 0xff8}, 16}};
    EXPECT_EQ(port.with_segments(piece, Access::read, [](auto) -> Result<> { return {}; }).error(),
              Errno::fault);
    ASSERT_EQ(around.faults().size(), 2U);
    EXPECT_EQ(around.faults()[0].reason, FaultReason::address_width);
    EXPECT_EQ(around.faults()[1].reason, FaultReason::address_width);
}

TEST_F(DmaPortTest, one_raw_leaf_changed_and_the_next_access_goes_where_it_says)
{
    TestMapping const mapping{2};
    std::memset(mapping.page(0), 1, kPage);
    std::memset(mapping.page(1), 2, kPage);
    around_.map(0x10000, mapping.page(0));
    around_.map(0x20000, mapping.page(1));
    ASSERT_EQ(read_byte(0x10000), 1);

    // Three levels of VT-d: bits 38:30, 29:21, 20:12 of the IOVA index them.
    auto const raw = around_.domain().raw_table().value();
    ASSERT_EQ(raw.levels, 3U);
    auto* table = std::bit_cast<std::uint64_t*>(raw.root.raw());
    for (unsigned const shift : {30U, 21U})
        table = std::bit_cast<std::uint64_t*>(table[0x10000ULL >> shift & 511] & ~0xfffULL);
    std::swap(table[0x10], table[0x20]);
    around_.endpoint().iotlb().invalidate_all();
    EXPECT_EQ(read_byte(0x10000), 2);
    EXPECT_EQ(read_byte(0x20000), 1);

    std::uint64_t const leaf = std::exchange(table[0x10], 0);
    around_.endpoint().iotlb().invalidate_all();
    EXPECT_EQ(read_byte(0x10000), -1);
    EXPECT_EQ(last_fault(), FaultReason::not_mapped);

    table[0x10] = (leaf & 0xfff) | 0x5a5a'5a5a'5000;  // a frame that does not exist
    around_.endpoint().iotlb().invalidate_all();
    EXPECT_EQ(read_byte(0x10000), -1);
    EXPECT_EQ(last_fault(), FaultReason::no_memory);
    table[0x10] = leaf;
    std::swap(table[0x10], table[0x20]);
}

TEST_F(DmaPortTest, a_page_unmapped_while_it_is_pinned_is_still_the_devices_old_page)
{
    TestMapping const mapping{2};
    mapping.fill(0x21);
    around_.map(0x10000, mapping);
    ASSERT_TRUE(around_.memory().withdraw(mapping.vaddr(1), kPage, host::Memory::Leaving::unmap));
    ASSERT_EQ(::munmap(mapping.page(1), kPage), 0);
    EXPECT_EQ(read_byte(0x11fff), 0x21);
    std::vector<std::byte> const sent(2 * kPage, std::byte{0x22});
    ASSERT_TRUE(port_.write(Iova{0x10000}, sent));
    EXPECT_EQ(read_byte(0x11000), 0x22);
    EXPECT_EQ(mapping.page(0)[0], std::byte{0x22});
    EXPECT_EQ(around_.endpoint().faults().count(), 0U);

    ASSERT_NE(::mmap(mapping.page(1), kPage, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
              MAP_FAILED);
    EXPECT_EQ(mapping.page(1)[0], std::byte{0});  // the process has a new page there
    EXPECT_EQ(read_byte(0x11000), 0x22);
}

TEST_F(DmaPortTest, memory_that_went_unseen_is_a_fault_and_not_a_crash)
{
    TestMapping mapping{2};
    mapping.fill(0x21);
    around_.map(0x10000, mapping);
    mapping.unmap(1, 1);
    std::vector<std::byte> received(2 * kPage);
    EXPECT_EQ(port_.read(Iova{0x10000}, received).error(), Errno::fault);
    EXPECT_EQ(received[kPage - 1], std::byte{0x21});
    EXPECT_EQ(received[kPage], kOnes);
    ASSERT_EQ(around_.faults().size(), 1U);
    EXPECT_EQ(around_.faults()[0].iova, Iova{0x11000});
    EXPECT_EQ(around_.faults()[0].reason, FaultReason::no_memory);
}

TEST_F(DmaPortTest, what_the_process_forbids_itself_after_the_pin_does_not_bind_the_device)
{
    TestMapping const mapping{2};
    mapping.fill(0x21);
    around_.map(0x10000, mapping);
    ASSERT_EQ(::mprotect(mapping.page(1), kPage, PROT_NONE), 0);
    std::vector<std::byte> bytes(2 * kPage);
    EXPECT_TRUE(port_.read(Iova{0x10000}, bytes));
    EXPECT_EQ(bytes[2 * kPage - 1], std::byte{0x21});
    bytes.assign(2 * kPage, std::byte{0x43});
    EXPECT_TRUE(port_.write(Iova{0x10000}, bytes));
    ASSERT_EQ(::mprotect(mapping.page(1), kPage, PROT_READ), 0);
    EXPECT_EQ(mapping.page(1)[0], std::byte{0x43});
    EXPECT_TRUE(around_.faults().empty());
}

// ---- Segments

std::size_t total(std::span<iovec const> segments)
{
    return std::accumulate(segments.begin(), segments.end(), std::size_t{0},
                           [](std::size_t sum, iovec const& it) { return sum + it.iov_len; });
}

TEST_F(DmaPortTest, segments_are_the_bytes_of_the_pieces_in_order_and_merged_where_they_touch)
{
    TestMapping const mapping{4};
    around_.map(0x10000, mapping.page(0));
    around_.map(0x11000, mapping.page(1));
    around_.map(0x30000, mapping.page(3));
    around_.map(0x31000, mapping.page(2));
    std::array const pieces{DmaPiece{Iova{0x10800}, 0x1000}, DmaPiece{Iova{0x11800}, 0x800},
                            DmaPiece{Iova{0x30000}, 0x1010}};
    auto const used = port_.with_segments(
        pieces, Access::write, [&](std::span<iovec const> segments) -> Result<> {
            EXPECT_EQ(segments.size(), 3U);
            EXPECT_EQ(total(segments), 0x2810U);
            EXPECT_EQ(segments[0].iov_base, mapping.page(0) + 0x800);
            EXPECT_EQ(segments[0].iov_len, 0x1800U);
            EXPECT_EQ(segments[1].iov_base, mapping.page(3));
            EXPECT_EQ(segments[2].iov_base, mapping.page(2));
            EXPECT_EQ(segments[2].iov_len, 0x10U);
            return {};
        });
    EXPECT_TRUE(used);
    EXPECT_EQ(port_.counters().writes, 1U);
    EXPECT_EQ(port_.counters().written_bytes, 0x2810U);
}

TEST_F(DmaPortTest, nothing_is_used_where_one_piece_does_not_translate)
{
    TestMapping const mapping{1};
    around_.map(0x10000, mapping, Prot::read);
    bool called = false;
    auto const use = [&](std::span<iovec const>) -> Result<> {
        called = true;
        return {};
    };
    std::array const pieces{DmaPiece{Iova{0x10000}, 8}, DmaPiece{Iova{0x10ff8}, 16}};
    EXPECT_EQ(port_.with_segments(pieces, Access::read, use).error(), Errno::fault);
    EXPECT_EQ(port_.with_segments(std::span{pieces}.first(1), Access::write, use).error(),
              Errno::fault);
    EXPECT_FALSE(called);
    ASSERT_EQ(around_.faults().size(), 2U);
    EXPECT_EQ(around_.faults()[0].iova, Iova{0x11000});
    EXPECT_EQ(around_.faults()[1].reason, FaultReason::no_permission);
    EXPECT_TRUE(port_.with_segments({}, Access::read, use));
    EXPECT_TRUE(called);
}

TEST_F(DmaPortTest, what_use_returns_is_returned_and_its_EFAULT_is_recorded)
{
    TestMapping const mapping{1};
    around_.map(0x10000, mapping);
    std::array const piece{DmaPiece{Iova{0x10000}, 8}};
    EXPECT_EQ(
        port_.with_segments(piece, Access::read, [](auto) -> Result<> { return fail(Errno::io); })
            .error(),
        Errno::io);
    EXPECT_EQ(around_.endpoint().faults().count(), 0U);
    EXPECT_EQ(
        port_
            .with_segments(piece, Access::read, [](auto) -> Result<> { return fail(Errno::fault); })
            .error(),
        Errno::fault);
    EXPECT_EQ(last_fault(), FaultReason::no_memory);
    EXPECT_EQ(port_.counters().reads, 0U);
}

TEST_F(DmaPortTest, an_unmap_waits_until_use_has_returned)
{
    TestMapping const mapping{1};
    around_.map(0x10000, mapping);
    std::atomic<bool> unmapped{false};
    std::thread unmapper;
    std::array const piece{DmaPiece{Iova{0x10000}, 8}};
    auto const used = port_.with_segments(piece, Access::write, [&](auto) -> Result<> {
        unmapper = std::thread{[&] {
            around_.unmap(0x10000);
            unmapped = true;
        }};
        std::this_thread::sleep_for(std::chrono::milliseconds{30});
        EXPECT_FALSE(unmapped);
        return {};
    });
    unmapper.join();
    EXPECT_TRUE(used);
    EXPECT_TRUE(unmapped);
    EXPECT_EQ(read_byte(0x10000), -1);
}

// ---- Races

TEST_F(DmaPortTest, no_byte_arrives_after_an_unmap_has_returned)
{
    TestMapping const mapping{2};
    std::atomic<bool> stop{false};
    std::thread device{[&] {
        std::vector<std::byte> const sent(2 * kPage, std::byte{0xdd});
        while (!stop) (void)port_.write(Iova{0x10000}, sent);
    }};
    for (int round = 0; round < 300; ++round) {
        around_.map(0x10000, mapping);
        std::this_thread::yield();
        around_.unmap(0x10000, 2);
        mapping.fill(0x33);
        std::this_thread::yield();
        for (std::size_t i = 0; i < 2 * kPage; i += 64)
            ASSERT_EQ(mapping.page(0)[i], std::byte{0x33}) << "round " << round << " byte " << i;
    }
    stop = true;
    device.join();
}

TEST_F(DmaPortTest, a_frame_that_moves_aside_under_way_is_never_missed)
{
    std::atomic<bool> stop{false};
    TestMapping const mapping{4};
    mapping.fill(0x44);
    around_.map(0x10000, mapping);
    std::atomic<std::uint64_t> reads{0};
    std::thread device{[&] {
        std::vector<std::byte> received(4 * kPage);
        while (!stop) {
            ASSERT_TRUE(port_.read(Iova{0x10000}, received));
            for (std::byte const byte : received) ASSERT_EQ(byte, std::byte{0x44});
            ++reads;
        }
    }};
    for (std::size_t i = 0; i < 4; ++i) {
        while (reads < 20 * (i + 1)) std::this_thread::yield();
        ASSERT_TRUE(
            around_.memory().withdraw(mapping.vaddr(i), kPage, host::Memory::Leaving::discard));
        ASSERT_EQ(::madvise(mapping.page(i), kPage, MADV_DONTNEED), 0);
        ASSERT_EQ(mapping.page(i)[0], std::byte{0});
    }
    while (reads < 100) std::this_thread::yield();
    stop = true;
    device.join();
    EXPECT_EQ(around_.endpoint().faults().count(), 0U);
    EXPECT_EQ(around_.memory().moved_pages(), 4U);
}

// ------------------------------------------------------------------------------ device to device

class PeerTest : public DmaPortTest {
protected:
    // 4 KiB of memory that can fail to answer.
    class Peer final : public host::DeviceMemory {
    public:
        Result<> read(std::uint64_t offset, std::span<std::byte> into) override
        {
            if (!on) return fail(Errno::io);
            std::memcpy(into.data(), &bytes[offset], into.size());
            return {};
        }
        Result<> write(std::uint64_t offset, std::span<std::byte const> from) override
        {
            if (!on) return fail(Errno::io);
            std::memcpy(&bytes[offset], from.data(), from.size());
            return {};
        }
        bool decoded() const override { return on; }

        std::array<std::byte, kPage> bytes{};
        bool on = true;
    };

    // Memory at 0x10000, the peer behind it.
    PeerTest()
    {
        around_.map(0x10000, mapping_);
        auto const paddr = around_.memory().devices().add(peer_, kPage).value();
        around_.domain().map(Iova{0x11000}, paddr, kPage, Prot::read_write).value();
    }

    TestMapping mapping_{1};
    Peer peer_;
};

TEST_F(PeerTest, bytes_go_to_a_peer_and_come_from_it_as_from_memory)
{
    auto const sent = counted(200);
    ASSERT_TRUE(port_.write(Iova{0x11000 - 100}, sent));
    EXPECT_EQ(std::memcmp(mapping_.page(0) + kPage - 100, sent.data(), 100), 0);
    EXPECT_EQ(std::memcmp(peer_.bytes.data(), sent.data() + 100, 100), 0);
    std::vector<std::byte> received(200);
    ASSERT_TRUE(port_.read(Iova{0x11000 - 100}, received));
    EXPECT_EQ(received, sent);
    EXPECT_EQ(around_.endpoint().faults().count(), 0U);
}

TEST_F(PeerTest, a_peer_that_does_not_answer_is_a_fault)
{
    peer_.on = false;
    std::vector<std::byte> bytes(16);
    EXPECT_FALSE(port_.read(Iova{0x11000 - 8}, bytes));
    EXPECT_EQ(bytes[8], kOnes);
    EXPECT_EQ(last_fault(), FaultReason::no_memory);
    EXPECT_FALSE(port_.write(Iova{0x11000}, bytes));
    EXPECT_EQ(around_.endpoint().faults().count(), 2U);
}

TEST_F(PeerTest, a_file_s_bytes_reach_a_peer_through_a_buffer)
{
    std::array<DmaPiece, 2> const pieces{{{Iova{0x10000}, 8}, {Iova{0x11010}, 8}}};
    auto const put = [](std::span<iovec const> segments) -> Result<> {
        EXPECT_EQ(segments.size(), 1U);
        EXPECT_EQ(segments[0].iov_len, 16U);
        std::memset(segments[0].iov_base, 0x5a, segments[0].iov_len);
        return {};
    };
    ASSERT_TRUE(port_.with_segments(pieces, Access::write, put));
    EXPECT_EQ(mapping_.page(0)[7], std::byte{0x5a});
    EXPECT_EQ(peer_.bytes[0x17], std::byte{0x5a});
    EXPECT_EQ(peer_.bytes[0x18], std::byte{});
    peer_.bytes[0x10] = std::byte{0x33};
    auto const look = [](std::span<iovec const> segments) -> Result<> {
        auto const* const bytes = static_cast<std::byte const*>(segments[0].iov_base);
        EXPECT_EQ(bytes[7], std::byte{0x5a});
        EXPECT_EQ(bytes[8], std::byte{0x33});
        return {};
    };
    ASSERT_TRUE(port_.with_segments(pieces, Access::read, look));
    peer_.on = false;
    EXPECT_EQ(port_.with_segments(pieces, Access::read, look).error(), Errno::fault);
}

}  // namespace
}  // namespace pinfold::pci
