// A virtio-iommu's domain: what the driver asks for, round by round, and what it makes of answers.
#include "iommu/record_domain.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <map>
#include <random>

#include "iommu/driver_round.hpp"
#include "iommu/unit.hpp"
#include "support/seed.hpp"

namespace pinfold::iommu {
namespace {

constexpr std::uint64_t kPage = 0x1000;
constexpr std::uint64_t kPages = 64;

struct Round {
    std::uint64_t page;
    std::uint64_t bytes;
};

// Rules as they are written, by trying every size.
Round round_by_the_rules(std::uint64_t sizes, std::uint64_t iova, std::uint64_t paddr,
                         std::uint64_t size)
{
    std::uint64_t page = 0;
    std::uint64_t next = 0;
    for (unsigned lg2 = 12; lg2 < 64; ++lg2) {
        std::uint64_t const candidate = sizes & (std::uint64_t{1} << lg2);
        if (candidate == 0) continue;
        if (candidate <= size && iova % candidate == 0 && paddr % candidate == 0) page = candidate;
    }
    for (unsigned lg2 = 63; lg2 >= 12; --lg2)
        if ((sizes & (std::uint64_t{1} << lg2)) > page) next = std::uint64_t{1} << lg2;
    if (next != 0 && iova % next == paddr % next) {
        std::uint64_t const to_next = next - iova % next;
        if (to_next <= size && size - to_next >= next) return {page, to_next / page * page};
    }
    return {page, size / page * page};
}

TEST(DriverRound, is_what_the_rules_say)
{
    for (std::uint64_t const sizes : {0x1000ULL, 0x7000ULL, 0x5000ULL, 0x15000ULL, ~0xfffULL})
        for (std::uint64_t iova = 0; iova < 20; ++iova)
            for (std::uint64_t paddr = 0; paddr < 20; ++paddr)
                for (std::uint64_t size = 1; size < 40; ++size)
                    ASSERT_EQ(
                        driver_round(PageSizes{sizes}, Iova{iova * kPage}, Paddr{paddr * kPage},
                                     size * kPage),
                        round_by_the_rules(sizes, iova * kPage, paddr * kPage, size * kPage).bytes);
}

TEST(DriverRound, cuts_the_examples_as_the_kernel_does)
{
    PageSizes const all{~0xfffULL};
    EXPECT_EQ(driver_round(all, Iova{0x30000}, Paddr{0x30000}, 0x50000), 0x10000);
    EXPECT_EQ(driver_round(all, Iova{0x40000}, Paddr{0x40000}, 0x40000), 0x40000);
    PageSizes const three{0x40201000};
    EXPECT_EQ(driver_round(three, Iova{0x1ff000}, Paddr{0x401ff000}, 0x402000), 0x1000);
    EXPECT_EQ(driver_round(three, Iova{0x200000}, Paddr{0x40200000}, 0x401000), 0x400000);
    EXPECT_EQ(driver_round(three, Iova{0}, Paddr{0x1000}, 0x400000), 0x400000);
    EXPECT_EQ(driver_round(all, Iova{~0xfffULL}, Paddr{~0xfffULL}, 0x1000), 0x1000);
}

TEST(RecordDomain, one_request_is_one_record)
{
    Unit unit{virtio_options()};
    ASSERT_TRUE(unit.map(0x1000, 0x2000, 0x10000));  // never lined up: one round
    EXPECT_EQ(unit.domain->leaves()[16], 1);
    EXPECT_EQ(unit.unmap(0x2000, 0xf000), 0);  // begins inside
    EXPECT_EQ(unit.unmap(0x1000, kPage), 0x10000);

    ASSERT_TRUE(unit.map(0x1000, 0x1000, 0x10000));  // 4K, 8K, 16K, 32K, 4K
    EXPECT_EQ(unit.domain->leaves()[12], 2);
    EXPECT_EQ(unit.domain->leaves()[15], 1);
    EXPECT_EQ(unit.unmap(0x1000, kPage), kPage);
    EXPECT_EQ(unit.unmap(0x2000, 0xf000), 0xf000);
}

// The request is found short, nothing of it counts, and what was found is gone.
TEST(RecordDomain, a_request_with_a_hole_forgets_what_it_finds)
{
    Unit unit{virtio_options()};
    ASSERT_TRUE(unit.endpoint->attach(*unit.domain));
    ASSERT_TRUE(unit.map(0, 0x8000, kPage));
    ASSERT_TRUE(unit.map(2 * kPage, 0xa000, kPage));
    EXPECT_EQ(unit.read(0), 0x8000);
    Gather gather;
    EXPECT_EQ(
        unit.domain->unmap(Iova{0}, 4 * kPage, gather, [](iommu::Run const&) { ADD_FAILURE(); }),
        0);
    unit.domain->sync(gather);
    EXPECT_EQ(unit.read(0), 0);  // not from the IOTLB either
    EXPECT_EQ(unit.read(2 * kPage), 0);
}

TEST(RecordDomain, a_hole_is_made_good_by_a_record_that_reaches_beyond)
{
    Unit unit{virtio_options()};
    ASSERT_TRUE(unit.map(kPage, 0x8000, 3 * kPage));
    EXPECT_EQ(unit.unmap(0, 2 * kPage), 3 * kPage);
}

TEST(RecordDomain, what_is_mapped_already_is_EINVAL)
{
    Unit unit{virtio_options()};
    ASSERT_TRUE(unit.map(0x2000, 0x8000, kPage));
    EXPECT_EQ(unit.map(0x1000, 0x1000, 0x10000), fail(Errno::inval));
    EXPECT_EQ(unit.domain->iova_to_phys(Iova{0x1000}), std::nullopt);
    EXPECT_EQ(unit.domain->iova_to_phys(Iova{0x2000}), Paddr{0x8000});
}

TEST(RecordDomain, a_write_only_record_cannot_be_read)
{
    Unit unit{virtio_options()};
    ASSERT_TRUE(unit.endpoint->attach(*unit.domain));
    ASSERT_TRUE(unit.map(0, 0x8000, kPage, Prot::write));
    EXPECT_EQ(unit.read(0), 0);
    EXPECT_TRUE(unit.access(0, Access::write));
    EXPECT_FALSE(unit.domain->enforce_coherency());
}

TEST(RecordDomain, the_last_page_of_the_space_can_be_mapped)
{
    Unit unit{virtio_options()};
    ASSERT_TRUE(unit.map(~0xfffULL, 0x5000, kPage));
    EXPECT_EQ(unit.map(~0xfffULL, 0x5000, 2 * kPage), fail(Errno::overflow));
    EXPECT_EQ(unit.domain->iova_to_phys(Iova{~0ULL}), Paddr{0x5fff});
    EXPECT_EQ(unit.unmap(~0xfffULL, kPage), kPage);
}

// The driver and the device, record by record and size by size.
class Slow {
public:
    explicit Slow(std::uint64_t sizes) : sizes_{sizes} {}

    bool map(std::uint64_t iova, std::uint64_t paddr, std::uint64_t size)
    {
        for (std::uint64_t done = 0; done < size;) {
            auto const bytes =
                round_by_the_rules(sizes_, iova + done, paddr + done, size - done).bytes;
            for (auto const& [start, record] : records_)
                if (start < iova + done + bytes && iova + done < start + record.bytes) {
                    unmap(iova, done);
                    return false;
                }
            records_[iova + done] = {bytes, paddr + done};
            done += bytes;
        }
        return true;
    }
    std::uint64_t unmap(std::uint64_t iova, std::uint64_t size)
    {
        std::uint64_t done = 0;
        while (done < size) {
            std::uint64_t const here = iova + done;
            auto const bytes = round_by_the_rules(sizes_, here, here, size - done).bytes;
            std::uint64_t const gone = forget(here, bytes);
            if (gone < bytes) break;
            done += gone;
        }
        return done;
    }
    std::optional<Paddr> find(std::uint64_t iova) const
    {
        for (auto const& [start, record] : records_)
            if (start <= iova && iova < start + record.bytes)
                return Paddr{record.paddr + (iova - start)};
        return std::nullopt;
    }

private:
    struct Record {
        std::uint64_t bytes;
        std::uint64_t paddr;
    };

    std::uint64_t forget(std::uint64_t iova, std::uint64_t size)
    {
        std::uint64_t gone = 0;
        for (auto record = records_.begin(); record != records_.end();) {
            auto const [start, value] = *record;
            if (start >= iova + size || start + value.bytes <= iova) {
                ++record;
                continue;
            }
            if (start < iova) break;
            gone += value.bytes;
            record = records_.erase(record);
        }
        return gone;
    }

    std::uint64_t sizes_;
    std::map<std::uint64_t, Record> records_;
};

TEST(RecordDomain, agrees_with_the_slow_one)
{
    std::uint64_t const seed = test::seed();
    std::printf("PINFOLD_SEED=%llu\n", static_cast<unsigned long long>(seed));
    std::mt19937_64 random{seed};
    auto const pick = [&](std::uint64_t n) { return random() % n; };
    for (std::uint64_t const sizes : {0x1000ULL, 0x5000ULL, ~0xfffULL}) {
        auto options = virtio_options();
        options.page_sizes = PageSizes{sizes};
        Unit unit{options};
        Slow slow{sizes};
        for (int step = 0; step < 5'000; ++step) {
            std::uint64_t const iova = pick(kPages) * kPage;
            std::uint64_t const size = (1 + pick(pick(4) == 0 ? 24 : 4)) * kPage;
            std::uint64_t const paddr = pick(2) == 0 ? iova : pick(kPages) * kPage;
            if (pick(2) == 0) {
                ASSERT_EQ(unit.map(iova, paddr, size).has_value(), slow.map(iova, paddr, size));
            } else {
                ASSERT_EQ(unit.unmap(iova, size), slow.unmap(iova, size));
            }
            for (std::uint64_t page = 0; page < kPages + 24; ++page)
                ASSERT_EQ(unit.domain->iova_to_phys(Iova{page * kPage + 5}),
                          slow.find(page * kPage + 5));
        }
    }
}

}  // namespace
}  // namespace pinfold::iommu
