#include "preload/fd_table.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <vector>

namespace pinfold::preload {
namespace {

class FdTableTest : public testing::Test {
protected:
    std::vector<std::uint32_t> owners = std::vector<std::uint32_t>(PINFOLD_TABLE_SIZE);
    FdTable table{owners.data()};
};

TEST_F(FdTableTest, a_file_lives_until_its_last_descriptor_goes)
{
    constexpr auto kFile = uapi::FileId{5};
    ASSERT_TRUE(table.add(3, kFile));
    ASSERT_TRUE(table.add(4, kFile));
    table.retain(kFile);
    EXPECT_EQ(table.owner(3), 5U);
    EXPECT_FALSE(table.drop(kFile));
    EXPECT_FALSE(table.drop(kFile));
    EXPECT_TRUE(table.drop(kFile));
    EXPECT_FALSE(table.drop(kFile)) << "a file that is gone stays gone";
}

TEST_F(FdTableTest, numbers_beyond_the_table_are_nobodys)
{
    EXPECT_EQ(table.owner(-1), PINFOLD_FOREIGN);
    EXPECT_EQ(table.owner(PINFOLD_TABLE_SIZE), PINFOLD_FOREIGN);
    EXPECT_EQ(table.add(PINFOLD_TABLE_SIZE, uapi::FileId{1}).error(), Errno::mfile);
    EXPECT_EQ(table.add(-1, uapi::FileId{1}).error(), Errno::mfile);
}

TEST_F(FdTableTest, in_a_child_files_have_the_numbers_that_they_are_given_or_are_orphans)
{
    constexpr auto kShared = uapi::FileId{5};
    constexpr auto kNow = uapi::FileId{9};
    ASSERT_TRUE(table.add(3, kShared));
    ASSERT_TRUE(table.add(4, kShared));
    ASSERT_TRUE(table.add(6, uapi::FileId{7}));
    table.retain(kShared);  // for another process
    table.rebind([&](uapi::FileId file) { return file == kShared ? kNow : uapi::FileId::none; });
    EXPECT_EQ(table.owner(3), 9U);
    EXPECT_EQ(table.owner(4), 9U);
    EXPECT_EQ(table.owner(6), PINFOLD_ORPHAN);
    EXPECT_FALSE(table.drop(kNow));
    EXPECT_TRUE(table.drop(kNow));
}

TEST_F(FdTableTest, the_engines_own_descriptors_are_high_marked_and_unmarked_when_closed)
{
    FdTable::hide_own_descriptors(owners.data());
    int number = -1;
    {
        UniqueFd const own{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
        number = own.get();
        EXPECT_GT(number, 100);
        EXPECT_EQ(table.owner(number), PINFOLD_INTERNAL);
        EXPECT_NE(::fcntl(number, F_GETFD) & FD_CLOEXEC, 0);
    }
    EXPECT_EQ(table.owner(number), PINFOLD_FOREIGN);
    EXPECT_EQ(::fcntl(number, F_GETFD), -1);
    UniqueFd::set_keeper(nullptr);
}

}  // namespace
}  // namespace pinfold::preload
