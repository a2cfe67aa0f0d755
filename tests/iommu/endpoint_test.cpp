#include "iommu/endpoint.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <tuple>

#include "iommu/unit.hpp"
#include "support/failing_new.hpp"

namespace pinfold::iommu {
namespace {

constexpr std::uint64_t kPage = 0x1000;
constexpr std::uint64_t k2MBytes = 0x200000;

struct Attached : Unit {
    explicit Attached(Iommu::Options options = {}) : Unit{std::move(options)}
    {
        EXPECT_TRUE(endpoint->attach(*domain));
    }
    std::vector<FaultReason> reasons() const
    {
        std::vector<FaultReason> reasons;
        for (auto const& fault : endpoint->faults().records()) reasons.push_back(fault.reason);
        return reasons;
    }
};

TEST(Endpoint, an_access_leads_into_the_leaf_and_to_its_end)
{
    for (auto const& options : each_model()) {
        Attached unit{options};
        ASSERT_TRUE(unit.map(k2MBytes, 4 * k2MBytes, k2MBytes));
        for (int again = 0; again < 2; ++again) {  // by a walk, then from the IOTLB
            auto const segment = unit.access(k2MBytes + 0x1234, Access::write);
            ASSERT_TRUE(segment);
            EXPECT_EQ(segment->paddr, Paddr{4 * k2MBytes + 0x1234});
            EXPECT_EQ(segment->size, k2MBytes - 0x1234);
        }
        EXPECT_EQ(unit.endpoint->iotlb().misses(), 1);
        EXPECT_EQ(unit.endpoint->faults().count(), 0);
    }
}

TEST(Endpoint, a_range_is_gathered_into_the_fewest_segments)
{
    for (auto const& options : each_model()) {
        Attached unit{options};
        ASSERT_TRUE(unit.map(0, 0x5000, kPage));
        ASSERT_TRUE(unit.map(kPage, 0x6000, kPage));
        ASSERT_TRUE(unit.map(2 * kPage, 0x6000, kPage));
        ASSERT_TRUE(unit.map(3 * kPage, 0x7000, kPage, Prot::read));
        std::array<Endpoint::Segment, 4> segments{};
        auto const gather = [&](std::uint64_t start, std::uint64_t last, Access access,
                                std::size_t room) {
            ReadSection const section;
            auto const done = unit.endpoint->gather({Iova{start}, Iova{last}}, access,
                                                    std::span{segments}.first(room));
            return std::tuple{done.segments, done.bytes, done.faulted};
        };
        for (int again = 0; again < 2; ++again) {  // by walks, then from the IOTLB
            EXPECT_EQ(gather(0x800, 0x3fff, Access::read, 4), (std::tuple{2, 0x3800, false}));
            EXPECT_EQ(segments[0], (Endpoint::Segment{Paddr{0x5800}, 0x1800}));
            EXPECT_EQ(segments[1], (Endpoint::Segment{Paddr{0x6000}, 0x2000}));
            EXPECT_EQ(gather(0x800, 0x800, Access::read, 1), (std::tuple{1, 1, false}));
            // No room for the second: what fits is good, and the rest is the next call's.
            EXPECT_EQ(gather(0x800, 0x3fff, Access::read, 1), (std::tuple{1, 0x1800, false}));
        }
        EXPECT_EQ(unit.endpoint->faults().count(), 0);
        EXPECT_EQ(gather(0x800, 0x3fff, Access::write, 4), (std::tuple{2, 0x2800, true}));
        EXPECT_EQ(gather(0x3000, ~0ULL, Access::read, 4), (std::tuple{1, 0x1000, true}));
        auto const faults = unit.endpoint->faults().records();
        ASSERT_EQ(faults.size(), 2);
        EXPECT_EQ(faults[0].iova, Iova{0x3000});
        EXPECT_EQ(faults[1].iova, Iova{0x4000});
    }
}

TEST(Endpoint, nothing_is_gathered_from_the_interrupt_window_whatever_is_mapped_there)
{
    constexpr std::uint64_t kWindow = 0xfee0'0000;
    constexpr std::uint64_t kBelow = kWindow - k2MBytes;
    constexpr std::uint64_t kPast = kWindow + 0x10'0000;
    for (auto options : each_model()) {
        options.reserved = {{{Iova{kWindow}, Iova{kPast - 1}}, ReservedType::msi}};
        Attached unit{options};
        ASSERT_TRUE(unit.map(kBelow, 8 * k2MBytes, 2 * k2MBytes));
        std::array<Endpoint::Segment, 4> segments{};
        auto const gather = [&](std::uint64_t start, std::uint64_t last) {
            ReadSection const section;
            auto const done =
                unit.endpoint->gather({Iova{start}, Iova{last}}, Access::read, segments);
            return std::tuple{done.segments, done.bytes, done.faulted};
        };
        for (int again = 0; again < 2; ++again) {  // by walks, then from the IOTLB
            EXPECT_EQ(gather(kWindow - kPage, kWindow + kPage - 1), (std::tuple{1, kPage, true}));
            EXPECT_EQ(segments[0], (Endpoint::Segment{Paddr{9 * k2MBytes - kPage}, kPage}));
            EXPECT_EQ(gather(kWindow - kPage, kPast + kPage - 1), (std::tuple{1, kPage, true}));
            EXPECT_EQ(gather(kPast - kPage, kPast + kPage - 1), (std::tuple{0, 0, true}));
            EXPECT_EQ(gather(kWindow - kPage, kWindow - 1), (std::tuple{1, kPage, false}));
            EXPECT_EQ(gather(kPast, kPast + kPage - 1), (std::tuple{1, kPage, false}));
        }
        EXPECT_THAT(unit.reasons(), testing::Each(FaultReason::interrupt_window));
        EXPECT_EQ(unit.endpoint->faults().count(), 6);
    }
}

TEST(Endpoint, each_fault_says_why)
{
    Attached unit;
    ASSERT_TRUE(unit.map(0, 0x5000, kPage, Prot::read));
    EXPECT_FALSE(unit.access(0x1000, Access::read));
    EXPECT_FALSE(unit.access(0, Access::write));
    EXPECT_TRUE(unit.access(0, Access::read));
    EXPECT_FALSE(unit.access(0xabc, Access::write));  // now from the IOTLB
    EXPECT_FALSE(unit.access(1ULL << 39, Access::read));
    unit.endpoint->block();
    EXPECT_FALSE(unit.access(0, Access::read));
    EXPECT_THAT(unit.reasons(),
                testing::ElementsAre(FaultReason::not_mapped, FaultReason::no_permission,
                                     FaultReason::no_permission, FaultReason::address_width,
                                     FaultReason::blocked));
    Fault const last_but_two = unit.endpoint->faults().records()[2];
    EXPECT_EQ(last_but_two.iova, Iova{0xabc});
    EXPECT_EQ(last_but_two.access, Access::write);
}

TEST(Endpoint, a_write_only_mapping_cannot_be_read)
{
    Attached unit;
    ASSERT_TRUE(unit.map(0, 0x5000, kPage, Prot::write));
    EXPECT_TRUE(unit.access(0, Access::write));
    EXPECT_FALSE(unit.access(0, Access::read));
}

TEST(Endpoint, a_changed_word_counts_after_the_invalidation_and_not_before)
{
    Attached unit;
    ASSERT_TRUE(unit.map(0x7000, 0x5000, kPage));
    EXPECT_EQ(unit.read(0x7000), 0x5000);
    unit.word(0x7000) = 0x9000 | 3;
    EXPECT_EQ(unit.read(0x7000), 0x5000);
    unit.endpoint->iotlb().invalidate({{Iova{0x7000}, Iova{0x7fff}}, {}, false});
    EXPECT_EQ(unit.read(0x7000), 0x9000);
    unit.word(0x7000) = 0;
    EXPECT_EQ(unit.read(0x7000), 0x9000);
    unit.endpoint->iotlb().invalidate_all();
    EXPECT_EQ(unit.read(0x7000), 0);
}

TEST(Endpoint, a_wild_table_pointer_is_a_fault)
{
    Attached unit;
    ASSERT_TRUE(unit.map(0x7000, 0x5000, kPage));
    auto const root = unit.domain->raw_table()->root.raw();
    *reinterpret_cast<std::uint64_t*>(root) = 0xdead'beef'f000 | 3;
    EXPECT_EQ(unit.read(0x7000), 0);
    EXPECT_THAT(unit.reasons(), testing::ElementsAre(FaultReason::not_mapped));
}

TEST(Endpoint, an_unmap_reaches_every_endpoint_of_the_domain)
{
    Attached unit;
    Endpoint second{*unit.iommu, "0000:00:05.0"};
    ASSERT_TRUE(second.attach(*unit.domain));
    ASSERT_TRUE(unit.map(0, 0x5000, kPage));
    auto const second_finds = [&] {
        ReadSection const section;
        return second.translate(Iova{0}, 1, Access::read).has_value();
    };
    EXPECT_EQ(unit.read(0), 0x5000);
    EXPECT_TRUE(second_finds());
    Gather gather;
    EXPECT_EQ(unit.domain->unmap(Iova{0}, kPage, gather), kPage);
    EXPECT_EQ(unit.read(0), 0x5000);  // cached still: nobody has been told
    unit.domain->sync(gather);
    EXPECT_EQ(unit.read(0), 0);
    EXPECT_FALSE(second_finds());
}

TEST(Endpoint, moves_between_domains_without_its_old_translations)
{
    Attached unit;
    auto other = unit.iommu->create_domain().value();
    ASSERT_TRUE(unit.map(0, 0x5000, kPage));
    ASSERT_TRUE(other->map(Iova{0}, Paddr{0x6000}, kPage, Prot::read));
    EXPECT_EQ(unit.read(0), 0x5000);
    ASSERT_TRUE(unit.endpoint->attach(*other));
    EXPECT_EQ(unit.endpoint->domain(), other.get());
    EXPECT_EQ(unit.read(0), 0x6000);
    ASSERT_TRUE(unit.endpoint->attach(*other));
    EXPECT_EQ(unit.unmap(0, kPage), kPage);  // of the domain it has left
    EXPECT_EQ(unit.read(0), 0x6000);
}

TEST(Endpoint, a_domain_of_another_unit_is_EINVAL)
{
    Attached unit;
    Unit other;
    EXPECT_EQ(unit.endpoint->attach(*other.domain), fail(Errno::inval));
    EXPECT_EQ(unit.endpoint->domain(), unit.domain.get());
}

TEST(Endpoint, is_blocked_when_its_domain_goes_first)
{
    Attached unit;
    ASSERT_TRUE(unit.map(0, 0x5000, kPage));
    EXPECT_EQ(unit.read(0), 0x5000);
    unit.domain.reset();
    EXPECT_EQ(unit.endpoint->domain(), nullptr);
    EXPECT_EQ(unit.read(0), 0);
    EXPECT_THAT(unit.reasons(), testing::ElementsAre(FaultReason::blocked));
}

TEST(Endpoint, leaves_its_domain_when_it_goes_first)
{
    Attached unit;
    ASSERT_TRUE(unit.map(0, 0x5000, kPage));
    unit.endpoint.reset();
    EXPECT_EQ(unit.unmap(0, kPage), kPage);
}

TEST(FaultLog, keeps_the_first_and_counts_all)
{
    FaultLog log;
    {
        test::FailingNew const failing{0};  // a device's access has nobody to tell of scarcity
        for (std::uint64_t i = 0; i < FaultLog::kCapacity + 10; ++i)
            log.record({Iova{i}, Access::read, FaultReason::not_mapped});
    }
    EXPECT_EQ(log.count(), FaultLog::kCapacity + 10);
    ASSERT_EQ(log.records().size(), FaultLog::kCapacity);
    EXPECT_EQ(log.records().back().iova, Iova{FaultLog::kCapacity - 1});
    log.clear();
    EXPECT_TRUE(log.records().empty());
    log.record({Iova{7}, Access::write, FaultReason::blocked});
    EXPECT_EQ(log.records()[0].iova, Iova{7});
    EXPECT_EQ(log.count(), FaultLog::kCapacity + 11);
}

}  // namespace
}  // namespace pinfold::iommu
