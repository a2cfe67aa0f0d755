#include "host/page_states.hpp"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "host/support.hpp"

namespace pinfold::host {
namespace {

class PageStatesTest : public testing::TestWithParam<PageStates::Source> {
protected:
    void SetUp() override
    {
        if (GetParam() == PageStates::Source::scan &&
            PageStates{}.source() != PageStates::Source::scan)
            GTEST_SKIP() << "no PAGEMAP_SCAN here";
    }
    static std::vector<PageState> states(TestMapping const& mapping)
    {
        std::vector<PageState> found(mapping.pages(), PageState::absent);
        PageStates const asked{GetParam()};
        auto const visit = [&](VaddrRange pages, PageState state) -> Result<> {
            for (Vaddr at = pages.start; at <= pages.last; at = at + kPage)
                found[(at - mapping.vaddr()) / kPage] = state;
            return {};
        };
        EXPECT_TRUE(
            asked.for_each({mapping.vaddr(), mapping.vaddr() + (mapping.size() - 1)}, visit));
        return found;
    }
    static void read(std::byte const* page) { (void)*static_cast<std::byte const volatile*>(page); }
};
INSTANTIATE_TEST_SUITE_P(Sources, PageStatesTest,
                         testing::Values(PageStates::Source::scan, PageStates::Source::entries));

TEST_P(PageStatesTest, anonymous_memory_is_absent_the_zero_page_or_the_processs_own)
{
    TestMapping const mapping{4};
    read(mapping.page(1));
    *mapping.page(2) = std::byte{1};
    using enum PageState;
    EXPECT_EQ(states(mapping), (std::vector{absent, zero, anonymous, absent}));
}

TEST_P(PageStatesTest, a_files_page_is_a_files_until_it_is_copied)
{
    auto const file = memory_file(3);
    TestMapping const mapping{3, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.get()};
    read(mapping.page(0));
    *mapping.page(1) = std::byte{1};
    EXPECT_EQ(states(mapping)[0], PageState::file);
    EXPECT_EQ(states(mapping)[1], PageState::anonymous);
    TestMapping const shared{1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS};
    read(shared.page(0));
    EXPECT_EQ(states(shared)[0], PageState::file);
}

TEST_P(PageStatesTest, many_runs_are_all_told)
{
    TestMapping const mapping{1500};
    for (std::size_t i = 0; i < mapping.pages(); i += 2) *mapping.page(i) = std::byte{1};
    auto const found = states(mapping);
    for (std::size_t i = 0; i < mapping.pages(); ++i)
        ASSERT_EQ(found[i], i % 2 == 0 ? PageState::anonymous : PageState::absent) << i;
}

}  // namespace
}  // namespace pinfold::host
