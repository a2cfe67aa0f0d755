#include "host/pinned_copy.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "host/guarded_copy.hpp"
#include "host/support.hpp"

namespace pinfold::host {
namespace {

class PinnedCopy : public testing::TestWithParam<int> {
protected:
    PinnedCopy() { install_recovery(); }

    TestMapping mapping_{3, PROT_READ | PROT_WRITE, GetParam() | MAP_ANONYMOUS};
};
INSTANTIATE_TEST_SUITE_P(PrivateAndShared, PinnedCopy, testing::Values(MAP_PRIVATE, MAP_SHARED));

TEST_P(PinnedCopy, reads_and_writes_what_is_there)
{
    std::vector<std::byte> bytes(2 * kPage, std::byte{3});
    EXPECT_EQ(write_pinned(mapping_.page(0) + 100, bytes.data(), bytes.size()), 0U);
    bytes.assign(bytes.size(), std::byte{});
    EXPECT_EQ(read_pinned(bytes.data(), mapping_.page(0) + 100, bytes.size()), 0U);
    EXPECT_EQ(bytes, std::vector<std::byte>(2 * kPage, std::byte{3}));
}

TEST_P(PinnedCopy, rights_that_the_process_took_from_itself_do_not_stop_it)
{
    mapping_.fill(5);
    for (int const prot : {PROT_NONE, PROT_READ}) {
        ::mprotect(mapping_.page(1), kPage, prot);
        std::vector<std::byte> bytes(2 * kPage);
        EXPECT_EQ(read_pinned(bytes.data(), mapping_.page(0) + 100, bytes.size()), 0U);
        EXPECT_EQ(bytes, std::vector<std::byte>(2 * kPage, std::byte{5}));
        bytes.assign(bytes.size(), std::byte{6});
        EXPECT_EQ(write_pinned(mapping_.page(0) + 100, bytes.data(), bytes.size()), 0U);
        ::mprotect(mapping_.page(1), kPage, PROT_READ | PROT_WRITE);
        EXPECT_EQ(*(mapping_.page(0) + 99), std::byte{5});
        EXPECT_EQ(std::vector(mapping_.page(0) + 100, mapping_.page(2) + 100), bytes);
        EXPECT_EQ(*(mapping_.page(2) + 100), std::byte{5});
        mapping_.fill(5);
    }
}

TEST_P(PinnedCopy, what_is_gone_is_gone)
{
    mapping_.unmap(1, 1);
    std::vector<std::byte> bytes(kPage, std::byte{6});
    EXPECT_EQ(read_pinned(bytes.data(), mapping_.page(1) - 10, 50), 40U);
    EXPECT_EQ(write_pinned(mapping_.page(1) - 10, bytes.data(), 50), 40U);
}

}  // namespace
}  // namespace pinfold::host
