// Random maps and unmaps on VT-d tables beside the slow model; after each, a second reader walks
// all raw words.
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "pagetable/leaf_model.hpp"
#include "pagetable/radix.hpp"
#include "pagetable/vtdss.hpp"
#include "support/raw_walk.hpp"

namespace pinfold::pagetable {
namespace {

constexpr std::uint64_t kPage = 0x1000;
constexpr std::uint64_t k2MBytes = 0x200000;
constexpr std::uint64_t k1GBytes = 0x40000000;

std::uint64_t seed()
{
    char const* const given = std::getenv("PINFOLD_SEED");
    return given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device{}();
}

struct Request {
    std::uint64_t iova;
    std::uint64_t paddr;
    std::uint64_t size;
    Prot prot;
};

class Script {
public:
    Script(std::uint64_t seed, unsigned levels)
        : random_{seed}, last_{(std::uint64_t{1} << (12 + 9 * levels)) - 1}
    {
    }

    // Near places where tables meet, in one of three granularities; lined up with the paddr or not.
    Request next()
    {
        std::uint64_t const unit = std::array{kPage, kPage, k2MBytes, k1GBytes}[pick(4)];
        std::uint64_t const size =
            unit * (1 + pick(unit == k1GBytes ? 2 : 20)) + (pick(4) == 0 ? kPage * pick(3) : 0);
        std::uint64_t const edge = edges_[pick(edges_.size())] & last_;
        std::uint64_t iova = edge + unit * pick(4) - (pick(2) == 0 ? unit * 2 : 0);
        if (pick(4) == 0) iova += kPage * pick(600);
        std::uint64_t paddr = (iova & (4 * k1GBytes - 1)) + 8 * k1GBytes;
        if (unit == kPage && pick(2) == 0) paddr += kPage * pick(4);
        return {iova & last_, paddr, size, static_cast<Prot>(1 + pick(3))};
    }
    std::uint64_t pick(std::uint64_t n) { return random_() % n; }

private:
    std::mt19937_64 random_;
    std::uint64_t last_;
    std::array<std::uint64_t, 5> edges_{2 * k1GBytes, 512 * k1GBytes, 0, ~std::uint64_t{0} << 31,
                                        k1GBytes + 5 * k2MBytes};
};

void expect_same(RadixTable<Vtdss> const& table, test::LeafModel const& model)
{
    auto const raw = test::raw_walk(table.root().raw(), table.levels());
    ASSERT_TRUE(raw.well_formed);
    ASSERT_EQ(raw.leaves.size(), model.leaves().size());
    auto expected = model.leaves().begin();
    std::array<std::uint64_t, 64> counts{};
    for (auto const& leaf : raw.leaves) {
        auto const& [iova, wanted] = *expected++;
        ASSERT_EQ(leaf.iova, iova);
        ASSERT_EQ(leaf.bytes, wanted.bytes);
        ASSERT_EQ(leaf.paddr, wanted.paddr);
        ASSERT_EQ(leaf.rights, static_cast<unsigned>(wanted.prot));
        auto const walked = table.walk(Iova{iova + wanted.bytes - 1});
        ASSERT_TRUE(walked);
        ASSERT_EQ(walked->iova.start.raw(), iova);
        ++counts[static_cast<unsigned>(std::countr_zero(wanted.bytes))];
    }
    ASSERT_EQ(counts, table.leaves());
}

class VtdssRandom : public testing::TestWithParam<std::tuple<unsigned, std::uint64_t>> {};

TEST_P(VtdssRandom, agrees_with_the_model_and_the_second_reader)
{
    auto const [levels, bitmap] = GetParam();
    std::uint64_t const seed_here = seed();
    SCOPED_TRACE("PINFOLD_SEED=" + std::to_string(seed_here));
    std::printf("PINFOLD_SEED=%llu\n", static_cast<unsigned long long>(seed_here));

    Script script{seed_here, levels};
    auto const memory = TableMemory::create(k4K, TableMemory::kUnlimited).value();
    auto table = RadixTable<Vtdss>::create(memory, levels, PageSizes{bitmap}).value();
    test::LeafModel model{PageSizes{bitmap}, table->aperture().last.raw()};
    std::vector<Request> mapped_requests;
    for (int step = 0; step < 600; ++step) {
        Request request = script.next();
        // Without large pages a gigabyte is a quarter of a million leaves: keep those few.
        std::uint64_t const limit = (bitmap & k1GBytes) != 0 ? ~0ULL : 20 * k2MBytes;
        request.size = std::min(request.size, (bitmap & k2MBytes) != 0 ? limit : 600 * kPage);
        if (script.pick(5) < 2) {
            std::uint64_t mapped = 0;
            std::uint64_t expected = 0;
            auto const done = table->map(Iova{request.iova}, Paddr{request.paddr}, request.size,
                                         request.prot, Snoop::as_asked, mapped);
            ASSERT_EQ(done,
                      model.map(request.iova, request.paddr, request.size, request.prot, expected));
            ASSERT_EQ(mapped, expected);
            mapped_requests.push_back(request);
        } else {
            // Half of the time what was mapped earlier, or a little of it.
            if (!mapped_requests.empty() && script.pick(2) == 0)
                request = mapped_requests[script.pick(mapped_requests.size())];
            if (script.pick(4) == 0) request.size = kPage;
            ASSERT_EQ(table->unmap(Iova{request.iova}, request.size),
                      model.unmap(request.iova, request.size));
        }
        ASSERT_NO_FATAL_FAILURE(expect_same(*table, model));
        if (script.pick(3) == 0) table->release_tables();
    }
    table->release_tables();
    EXPECT_EQ(test::raw_walk(table->root().raw(), levels).tables, memory->pages_in_use());
    table.reset();
    EXPECT_EQ(memory->pages_in_use(), 0);
}

INSTANTIATE_TEST_SUITE_P(LevelsAndSizes, VtdssRandom,
                         testing::Combine(testing::Values(3U, 4U, 5U),
                                          testing::Values(kPage, kPage | k2MBytes, kPage | k1GBytes,
                                                          kPage | k2MBytes | k1GBytes)));

}  // namespace
}  // namespace pinfold::pagetable
