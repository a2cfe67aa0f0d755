// Reserved pages: a device's memory and, before 6.2, the zero page (rules M-15 and P-8).
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "bench.hpp"

namespace pinfold::type1 {
namespace {

constexpr std::uint64_t kI = 0x10000000;

class Nothing final : public host::DeviceMemory {
public:
    Result<> read(std::uint64_t, std::span<std::byte>) override { return fail(Errno::io); }
    Result<> write(std::uint64_t, std::span<std::byte const>) override { return fail(Errno::io); }
    bool decoded() const override { return true; }
};

// A process in whose address space some pages are a device's.
class WithDevice final : public host::OwnProcess {
public:
    using OwnProcess::OwnProcess;
    void for_each_foreign(VaddrRange range, host::Intent,
                          FunctionRef<void(Foreign const&)> visit) override
    {
        auto const start = std::max(range.start, pages.start);
        auto const last = std::min(range.last, pages.last);
        if (start < last) visit({{start, last}, device + (start - pages.start)});
    }
    VaddrRange pages;
    Paddr device{};
};

// Eight pages of which number 3 to 5 are a device's.
class ReservedTest : public testing::TestWithParam<PageSize> {
protected:
    ReservedTest()
    {
        process_.pages = {buffer_.vaddr(3), buffer_.vaddr(6) - 1};
        process_.device = bench_.memory.devices().add(device_, 3 * page_).value();
    }
    Result<> map(std::uint64_t first, std::uint64_t pages)
    {
        return bench_.container.map(
            process_, {Iova{kI}, buffer_.vaddr(first), pages * page_, Prot::read_write});
    }
    std::uint64_t charged() { return process_.locked_memory().charged(); }

    std::uint64_t const page_ = GetParam().bytes();
    Trace trace_;
    Bench bench_{{.page = GetParam(), .iommu = {.reserved = {}, .observer = &trace_}}};
    Nothing device_;
    LockSource source_;
    WithDevice process_{source_, GetParam()};
    Buffer buffer_{8, GetParam()};
};

std::string piece(std::uint64_t first, std::uint64_t pages, std::uint64_t page)
{
    return fmt::format("map {:x}+{:x}", kI + first * page, pages * page);
}

TEST_P(ReservedTest, m15_p8_are_mapped_and_charged_to_nobody)
{
    ASSERT_TRUE(map(0, 8));
    EXPECT_EQ(charged(), 5U);
    EXPECT_EQ(bench_.memory.pinned_pages(), 5U);
    auto const leaf = bench_.unit.first.domain()->walk(Iova{kI + 4 * page_});
    ASSERT_TRUE(leaf);
    EXPECT_EQ(leaf->paddr + (Iova{kI + 4 * page_} - leaf->iova.start), process_.device + page_);
    EXPECT_EQ(bench_.unmap(kI, 8 * page_), 8 * page_);
    EXPECT_EQ(charged(), 0U);
    EXPECT_EQ(bench_.memory.pinned_pages(), 0U);
}

TEST_P(ReservedTest, m15_never_share_a_chunk_with_memory)
{
    ASSERT_TRUE(map(0, 8));
    // The frames of a fresh buffer are contiguous, so nothing else ends a chunk.
    EXPECT_EQ(trace_.take(), (std::vector<std::string>{piece(0, 3, page_), piece(3, 3, page_),
                                                       piece(6, 2, page_)}));
    EXPECT_TRUE(bench_.unmap_all());
}

TEST_P(ReservedTest, p8_do_not_count_against_the_limit)
{
    source_.limit = 5 * page_;
    EXPECT_TRUE(map(0, 8));
    EXPECT_TRUE(bench_.unmap_all());
    source_.limit = 4 * page_;
    EXPECT_ERRNO(map(0, 8), nomem);
    EXPECT_EQ(charged(), 0U);
    EXPECT_EQ(bench_.memory.pinned_pages(), 0U);
    source_.limit = 0;
    EXPECT_TRUE(map(3, 3));
    EXPECT_EQ(charged(), 0U);
}

TEST_P(ReservedTest, p8_stay_uncharged_when_their_mapping_moves_to_another_process)
{
    ASSERT_TRUE(map(0, 8));
    ASSERT_TRUE(bench_.invalidate_vaddr(kI, 8 * page_));
    ASSERT_TRUE(bench_.update_vaddr(kI, buffer_.vaddr(), 8 * page_));
    EXPECT_EQ(charged(), 0U);
    EXPECT_EQ(bench_.charged(), 5U);
    EXPECT_TRUE(bench_.unmap_all());
    EXPECT_EQ(bench_.charged(), 0U);
}

TEST_P(ReservedTest, p15_a_driver_cannot_pin_a_devices_page)
{
    Group group{40};
    ASSERT_TRUE(bench_.container.add(group));
    auto server = DeviceServer::open(bench_.container, group, [](IovaRange) {}).value();
    ASSERT_TRUE(map(0, 8));
    Paddr page;
    EXPECT_ERRNO(server->pin_pages(Iova{kI + 4 * page_}, Prot::read, {&page, 1}), inval);
    EXPECT_TRUE(server->pin_pages(Iova{kI}, Prot::read, {&page, 1}));
    server->unpin_pages(Iova{kI}, 1);
    EXPECT_TRUE(bench_.unmap_all());
    server.reset();
    bench_.container.remove(group);
}

INSTANTIATE_TEST_SUITE_P(Pages, ReservedTest, testing::Values(k4K, k64K), [](auto const& one) {
    return fmt::format("{}K", one.param.bytes() >> 10);
});

TEST(ZeroPage, m15_is_charged_to_nobody_in_6_1_until_it_is_written)
{
    Bench bench{{.kernel = Kernel::v6_1}};
    LockSource source;
    host::OwnProcess old{source, k4K, Kernel::v6_1};
    Buffer const buffer{4, k4K};
    ASSERT_EQ(::madvise(buffer.page(0), 4 << 12, MADV_DONTNEED), 0);
    *buffer.page(1) = std::byte{1};
    MapRequest const request{Iova{kI}, buffer.vaddr(), 0x4000, Prot::read};
    source.limit = 0x1000;
    ASSERT_TRUE(bench.container.map(old, request));
    EXPECT_EQ(old.locked_memory().charged(), 1U);
    EXPECT_EQ(bench.memory.pinned_pages(), 1U);
    // What is written now is a page of the program's own, and the mapping's stays the zero page.
    *buffer.page(0) = std::byte{2};
    EXPECT_EQ(bench.unmap_all(), 0x4000U);
    EXPECT_EQ(old.locked_memory().charged(), 0U);
    EXPECT_ERRNO(bench.container.map(old, request), nomem);
    EXPECT_EQ(old.locked_memory().charged(), 0U);
}

}  // namespace
}  // namespace pinfold::type1
