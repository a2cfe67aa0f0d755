#include "host/mappings.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "host/support.hpp"

namespace pinfold::host {
namespace {

struct Seen {
    VaddrRange range;
    bool readable, writable, shared;
    std::string file_name;
};

std::vector<Seen> seen_in(VaddrRange range)
{
    std::vector<Seen> seen;
    EXPECT_TRUE(Mappings{}.for_each(range, [&](Mapping const& mapping) -> Result<> {
        seen.push_back({mapping.range, mapping.readable, mapping.writable, mapping.shared,
                        std::string{mapping.file_name}});
        return {};
    }));
    return seen;
}

VaddrRange range_of(TestMapping const& mapping, std::size_t first, std::size_t pages)
{
    return {mapping.vaddr(first), mapping.vaddr(first) + (pages * kPage - 1)};
}

TEST(Mappings, are_seen_in_order_and_cut_to_the_range)
{
    auto const file = memory_file(2);
    TestMapping mapping{8};
    ASSERT_NE(::mmap(mapping.page(2), 2 * kPage, PROT_READ, MAP_SHARED | MAP_FIXED, file.get(), 0),
              MAP_FAILED);
    mapping.unmap(4, 1);
    ::mprotect(mapping.page(5), kPage, PROT_NONE);
    auto const seen = seen_in(range_of(mapping, 1, 6));
    ASSERT_EQ(seen.size(), 4U);
    EXPECT_EQ(seen[0].range, range_of(mapping, 1, 1));
    EXPECT_TRUE(seen[0].readable && seen[0].writable && !seen[0].shared);
    EXPECT_EQ(seen[0].file_name, "");
    EXPECT_EQ(seen[1].range, range_of(mapping, 2, 2));
    EXPECT_TRUE(seen[1].readable && !seen[1].writable && seen[1].shared);
    EXPECT_EQ(seen[1].file_name, "/memfd:test (deleted)");
    EXPECT_EQ(seen[2].range, range_of(mapping, 5, 1));
    EXPECT_TRUE(!seen[2].readable && !seen[2].writable);
    EXPECT_EQ(seen[3].range, range_of(mapping, 6, 1));
}

TEST(Mappings, a_hole_has_none)
{
    TestMapping mapping{3};
    mapping.unmap(1, 1);
    EXPECT_TRUE(seen_in(range_of(mapping, 1, 1)).empty());
    EXPECT_TRUE(seen_in({Vaddr{0}, Vaddr{4095}}).empty());
}

TEST(Mappings, the_first_error_ends_the_visit)
{
    unsigned visits = 0;
    auto const result =
        Mappings{}.for_each({Vaddr{0}, Vaddr{~std::uint64_t{0}}}, [&](Mapping const&) -> Result<> {
            ++visits;
            return fail(Errno::io);
        });
    EXPECT_EQ(result.error(), Errno::io);
    EXPECT_EQ(visits, 1U);
}

TEST(Mappings, more_than_a_buffer_of_them_are_all_seen)
{
    TestMapping const mapping{400};
    for (std::size_t i = 0; i < 400; i += 2) ::mprotect(mapping.page(i), kPage, PROT_READ);
    EXPECT_EQ(seen_in(range_of(mapping, 0, 400)).size(), 400U);
}

}  // namespace
}  // namespace pinfold::host
