#include "machine/recorder.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace pinfold::machine {
namespace {

struct Kept final : Journal {
    void log(std::string_view line) override { logged.emplace_back(line); }
    void trace(std::string_view line) override { traced.emplace_back(line); }
    std::vector<std::string> logged, traced;
};

TEST(Recorder, calls_of_the_iommu_layer_are_lines_of_the_trace)
{
    Kept kept;
    Recorder recorder{kept};
    recorder.mapped(Iova{0x10000}, Paddr{0x7000}, 0x2000);
    recorder.unmapped(Iova{~std::uint64_t{0xfff}}, 0x1000, 0);
    EXPECT_EQ(kept.traced, (std::vector<std::string>{
                               "map iova=0x10000 paddr=0x7000 size=0x2000",
                               "unmap iova=0xfffffffffffff000 size=0x1000 unmapped_size=0x0"}));
    EXPECT_TRUE(kept.logged.empty());
}

TEST(Recorder, calls_that_are_not_aligned_are_lines_of_the_log)
{
    Kept kept;
    Recorder recorder{kept};
    recorder.unaligned(Iova{0x800}, Paddr{0x7000}, 0x1000, k4K);
    recorder.unaligned(Iova{0x800}, std::nullopt, 0x1000, k64K);
    EXPECT_EQ(
        kept.logged,
        (std::vector<std::string>{
            "iommu: unaligned: iova 0x800 pa 0x0000000000007000 size 0x1000 min_pagesz 0x1000",
            "iommu: unaligned: iova 0x800 size 0x1000 min_pagesz 0x10000"}));
}

}  // namespace
}  // namespace pinfold::machine
