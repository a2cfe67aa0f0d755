// Random maps and unmaps on tables of every hardware format beside the slow model; after each, a
// second reader walks all raw words.
#include <gtest/gtest.h>

#include <random>

#include "pagetable/amdv1.hpp"
#include "pagetable/arm_lpae.hpp"
#include "pagetable/arm_lpae_s2.hpp"
#include "pagetable/arm_v7s.hpp"
#include "pagetable/leaf_model.hpp"
#include "pagetable/radix.hpp"
#include "pagetable/riscv.hpp"
#include "pagetable/vtdss.hpp"
#include "pagetable/x86_64.hpp"
#include "support/raw_walk.hpp"
#include "support/seed.hpp"

namespace pinfold::pagetable {
namespace {

constexpr std::uint64_t kPage = 0x1000;
constexpr std::uint64_t k2MBytes = 0x200000;
constexpr std::uint64_t k1GBytes = 0x40000000;

struct Request {
    std::uint64_t iova;
    std::uint64_t paddr;
    std::uint64_t size;
    Prot prot;
};

// What requests are multiples of.
struct Units {
    std::uint64_t page;
    std::uint64_t middle;
    std::uint64_t large;
};

class Script {
public:
    Script(std::uint64_t seed, Units units, std::uint64_t last)
        : random_{seed}, units_{units}, last_{last}
    {
    }

    // Near places where tables meet, in one of three granularities; lined up with the paddr or not.
    Request next()
    {
        auto const [page, middle, large] = units_;
        std::array const edges{2 * large, 512 * large, std::uint64_t{0}, 0 - 2 * large,
                               large + 5 * middle};
        std::uint64_t const unit = std::array{page, page, middle, large}[pick(4)];
        std::uint64_t const size =
            unit * (1 + pick(unit == large ? 2 : 20)) + (pick(4) == 0 ? page * pick(3) : 0);
        std::uint64_t const edge = edges[pick(edges.size())] & last_;
        std::uint64_t iova = edge + unit * pick(4) - (pick(2) == 0 ? unit * 2 : 0);
        if (pick(4) == 0) iova += page * pick(600);
        std::uint64_t paddr = (iova & (4 * large - 1)) + 8 * large;
        if (unit == page && pick(2) == 0) paddr += page * pick(4);
        return {iova & last_, paddr, size, static_cast<Prot>(1 + pick(3))};
    }
    std::uint64_t pick(std::uint64_t n) { return random_() % n; }

private:
    std::mt19937_64 random_;
    Units units_;
    std::uint64_t last_;
};

// Tables lie where the narrowest format can name them, which is not where their words are.
template <PageTableFormat F, class Reader>
test::RawTree raw_tree(RadixTable<F> const& table, TableMemory const& memory)
{
    return test::raw_walk<Reader>(table.root().raw(), table.levels(), [&](std::uint64_t paddr) {
        return static_cast<void*>(memory.words(Paddr{paddr}));
    });
}

template <PageTableFormat F, class Reader>
void expect_same(RadixTable<F> const& table, TableMemory const& memory,
                 test::LeafModel const& model)
{
    auto const raw = raw_tree<F, Reader>(table, memory);
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
        ASSERT_EQ(walked->paddr.raw(), wanted.paddr);
        ++counts[static_cast<unsigned>(std::countr_zero(wanted.bytes))];
    }
    ASSERT_EQ(counts, table.leaves());
}

// Many small leaves are slow to look at: large requests only where there are large leaves.
std::uint64_t largest_request(Units units, PageSizes sizes)
{
    if ((sizes.bitmap() & units.large) != 0) return ~std::uint64_t{0};
    return (sizes.bitmap() & units.middle) != 0 ? 20 * units.middle : 600 * units.page;
}

#if defined(__SANITIZE_ADDRESS__)
constexpr int kSlower = 8;
#else
constexpr int kSlower = 1;
#endif

// Looks at everything after every so many steps.
struct Pace {
    int steps = 600;
    int look = 1;
};

template <PageTableFormat F, class Reader>
void agrees_with_the_model_and_the_second_reader(Shape<F> const& shape, Units units, Pace pace = {})
{
    std::uint64_t const seed_here = test::seed();
    SCOPED_TRACE("PINFOLD_SEED=" + std::to_string(seed_here));
    std::printf("PINFOLD_SEED=%llu\n", static_cast<unsigned long long>(seed_here));

    auto const page = PageSize::lg2_of(F::slots_lg2(0) + (sizeof(typename F::Word) == 4 ? 2 : 3));
    auto const memory =
        TableMemory::create(
            {.page = page, .base = Paddr{0x1000'0000}, .arena_bytes = std::uint64_t{1} << 30})
            .value();
    auto table = RadixTable<F>::create(memory, shape).value();
    std::uint64_t const last = table->aperture().last.raw();
    Script script{seed_here, units, last};
    test::LeafModel model{shape.page_sizes, last, shape.partial};
    std::vector<Request> mapped_requests;
    for (int step = 0; step < pace.steps / kSlower; ++step) {
        Request request = script.next();
        request.size = std::min(request.size, largest_request(units, shape.page_sizes));
        if (script.pick(5) < 2) {
            std::uint64_t mapped = 0;
            std::uint64_t expected = 0;
            auto const done = table->map(Iova{request.iova}, Paddr{request.paddr}, request.size,
                                         request.prot, Snoop::as_asked, mapped);
            // What the format makes of the rights that were asked for.
            Prot const prot = F::prot(F::make_leaf(Paddr{0}, 0, PageSize::lg2_of(F::kGranuleLg2),
                                                   F::attributes({.prot = request.prot})),
                                      0);
            ASSERT_EQ(done, model.map(request.iova, request.paddr, request.size, prot, expected));
            ASSERT_EQ(mapped, expected);
            mapped_requests.push_back(request);
        } else {
            // Half of the time what was mapped earlier, or a little of it.
            if (!mapped_requests.empty() && script.pick(2) == 0)
                request = mapped_requests[script.pick(mapped_requests.size())];
            if (script.pick(4) == 0) request.size = units.page;
            if (script.pick(8) == 0) request.iova += units.page * script.pick(3);
            ASSERT_EQ(table->unmap(Iova{request.iova}, request.size),
                      model.unmap(request.iova, request.size));
        }
        if (step % pace.look == 0) {
            ASSERT_NO_FATAL_FAILURE((expect_same<F, Reader>(*table, *memory, model)));
        }
        if (script.pick(3) == 0) table->release_tables();
    }
    table->release_tables();
    EXPECT_EQ((raw_tree<F, Reader>(*table, *memory).table_bytes),
              memory->pages_in_use() * page.bytes());
    table.reset();
    EXPECT_EQ(memory->pages_in_use(), 0);
}

constexpr Units k4KUnits{kPage, k2MBytes, k1GBytes};

class VtdssRandom : public testing::TestWithParam<std::tuple<unsigned, std::uint64_t>> {};

TEST_P(VtdssRandom, agrees_with_the_model_and_the_second_reader)
{
    auto const [levels, bitmap] = GetParam();
    // Without 2M in between, what is 1G large and lies askew is a quarter of a million leaves.
    Pace const pace = bitmap == (kPage | k1GBytes) ? Pace{60, 6} : Pace{};
    agrees_with_the_model_and_the_second_reader<Vtdss, test::VtdReader>(
        Shape<Vtdss>::fixed(levels, PageSizes{bitmap}), k4KUnits, pace);
}

INSTANTIATE_TEST_SUITE_P(LevelsAndSizes, VtdssRandom,
                         testing::Combine(testing::Values(3U, 4U, 5U),
                                          testing::Values(kPage, kPage | k2MBytes, kPage | k1GBytes,
                                                          kPage | k2MBytes | k1GBytes)));

class Amdv1Random : public testing::TestWithParam<std::tuple<unsigned, std::uint64_t>> {};

TEST_P(Amdv1Random, agrees_with_the_model_and_the_second_reader)
{
    auto const [width, bitmap] = GetParam();
    agrees_with_the_model_and_the_second_reader<Amdv1, test::AmdReader>(
        {.levels = 3, .width = width, .page_sizes = PageSizes{bitmap}}, k4KUnits);
}

INSTANTIATE_TEST_SUITE_P(WidthsAndSizes, Amdv1Random,
                         testing::Combine(testing::Values(32U, 39U, 48U, 57U, 64U),
                                          testing::Values(kPage, 0xffff'ff7f'ffff'f000,
                                                          kPage | k2MBytes | k1GBytes,
                                                          0x4040'1000 | 0x11'0000)));

// With the tables and the ways to unmap part of a block that a kernel may ask for.
template <unsigned GranuleLg2>
void arm_agrees(unsigned width, PageSizes sizes, Partial partial)
{
    using Format = ArmLpae<GranuleLg2>;
    unsigned const levels = (width - GranuleLg2 + Format::kSlotsLg2 - 1) / Format::kSlotsLg2;
    std::uint64_t const block = Format::slot_size(1).bytes();
    // A block that is split is thousands of leaves to look at.
    Pace const pace = GranuleLg2 == 12 ? Pace{200, 2} : Pace{80, 8};
    agrees_with_the_model_and_the_second_reader<Format, test::ArmReader<GranuleLg2>>(
        {.levels = levels, .width = width, .page_sizes = sizes, .partial = partial},
        {Format::slot_size(0).bytes(), block, GranuleLg2 == 12 ? k1GBytes : block}, pace);
}

class ArmLpaeRandom : public testing::TestWithParam<std::tuple<unsigned, Partial>> {};

TEST_P(ArmLpaeRandom, of_4K_agrees_with_the_model_and_the_second_reader)
{
    auto const [width, partial] = GetParam();
    arm_agrees<12>(std::min(width, 48U), PageSizes{kPage}, partial);
    arm_agrees<12>(std::min(width, 48U), PageSizes{kPage | k2MBytes}, partial);
    arm_agrees<12>(std::min(width, 48U), PageSizes{kPage | k2MBytes | k1GBytes}, partial);
}

TEST_P(ArmLpaeRandom, of_16K_agrees_with_the_model_and_the_second_reader)
{
    auto const [width, partial] = GetParam();
    arm_agrees<14>(std::min(width, 48U), PageSizes{0x4000}, partial);
    arm_agrees<14>(std::min(width, 48U), PageSizes{0x200'4000}, partial);
}

TEST_P(ArmLpaeRandom, of_64K_agrees_with_the_model_and_the_second_reader)
{
    auto const [width, partial] = GetParam();
    arm_agrees<16>(width, PageSizes{0x1'0000}, partial);
    arm_agrees<16>(width, PageSizes{0x2001'0000}, partial);
    arm_agrees<16>(width, PageSizes{0x400'2001'0000}, partial);
}

INSTANTIATE_TEST_SUITE_P(WidthsAndWays, ArmLpaeRandom,
                         testing::Combine(testing::Values(42U, 48U, 52U),
                                          testing::Values(Partial::splits, Partial::refuses)));

class X86Random : public testing::TestWithParam<std::tuple<unsigned, std::uint64_t>> {};

TEST_P(X86Random, agrees_with_the_model_and_the_second_reader)
{
    auto const [levels, bitmap] = GetParam();
    agrees_with_the_model_and_the_second_reader<X86_64<X86Writer::generic>, test::X86Reader>(
        {.levels = levels, .width = x86_width(levels), .page_sizes = PageSizes{bitmap}}, k4KUnits,
        Pace{200, 2});
}

INSTANTIATE_TEST_SUITE_P(LevelsAndSizes, X86Random,
                         testing::Combine(testing::Values(4U, 5U),
                                          testing::Values(kPage, kPage | k2MBytes,
                                                          kPage | k2MBytes | k1GBytes)));

class RiscvRandom : public testing::TestWithParam<std::tuple<unsigned, std::uint64_t>> {};

TEST_P(RiscvRandom, agrees_with_the_model_and_the_second_reader)
{
    auto const [levels, bitmap] = GetParam();
    agrees_with_the_model_and_the_second_reader<Riscv<>, test::RiscvReader>(
        {.levels = levels, .width = 12 + 9 * levels - 1, .page_sizes = PageSizes{bitmap}}, k4KUnits,
        Pace{200, 2});
}

INSTANTIATE_TEST_SUITE_P(LevelsAndSizes, RiscvRandom,
                         testing::Combine(testing::Values(3U, 4U, 5U),
                                          testing::Values(kPage, kPage | 0x10000 | k2MBytes,
                                                          kPage | 0x10000 | k2MBytes | k1GBytes)));

template <unsigned GranuleLg2>
void arm_stage2_agrees(unsigned levels, unsigned width, PageSizes sizes)
{
    using Format = ArmStage2<GranuleLg2>;
    std::uint64_t const block = std::uint64_t{1} << slot_lg2<Format>(1);
    agrees_with_the_model_and_the_second_reader<Format, test::ArmStage2Reader<GranuleLg2>>(
        {.levels = levels, .width = width, .page_sizes = sizes, .partial = Partial::splits},
        {std::uint64_t{1} << GranuleLg2, block, GranuleLg2 == 12 ? k1GBytes : block}, Pace{80, 8});
}

TEST(ArmStage2Random, agrees_with_the_model_and_the_second_reader)
{
    arm_stage2_agrees<12>(3, 39, PageSizes{kPage | k2MBytes});
    arm_stage2_agrees<12>(4, 48, PageSizes{kPage | k2MBytes | k1GBytes});
    arm_stage2_agrees<14>(3, 47, PageSizes{0x200'4000});
    arm_stage2_agrees<16>(2, 42, PageSizes{0x2001'0000});
    arm_stage2_agrees<16>(3, 48, PageSizes{0x2001'0000});
}

// 16M only where the driver asks for it.
TEST(ArmV7sRandom, agrees_with_the_model_and_the_second_reader)
{
    constexpr std::uint64_t k64K = 0x1'0000, k1M = 0x10'0000, k16M = 0x100'0000;
    auto const agrees = [](std::uint64_t sizes, Units units) {
        agrees_with_the_model_and_the_second_reader<ArmV7s<>, test::V7sReader>(
            {.levels = 2, .width = 32, .page_sizes = PageSizes{sizes}}, units, Pace{200, 2});
    };
    agrees(kPage, {kPage, k64K, k1M});
    agrees(kPage | k64K | k1M, {kPage, k64K, k1M});
    agrees(kPage | k64K | k1M | k16M, {kPage, k1M, k16M});
}

}  // namespace
}  // namespace pinfold::pagetable
