#include <gtest/gtest.h>

#include "base/result.hpp"

namespace pinfold {
namespace {

Result<int> half(int value)
{
    if (value % 2 != 0) return fail(Errno::inval);
    return value / 2;
}

Result<int> quarter(int value) { return TRY(half(TRY(half(value)))); }

Result<> check(int value)
{
    (void)TRY(quarter(value));
    return {};
}

TEST(Errno, has_the_number_and_the_name_of_the_kernels)
{
    EXPECT_EQ(number(Errno::nomem), ENOMEM);
    EXPECT_EQ(name(Errno::overflow), "EOVERFLOW");
    EXPECT_EQ(name(static_cast<Errno>(9999)), "E?");
}

TEST(Result, TRY_gives_the_value_or_leaves_with_the_error)
{
    EXPECT_EQ(quarter(8), 2);
    EXPECT_EQ(quarter(6).error(), Errno::inval);
    EXPECT_EQ(check(3).error(), Errno::inval);
    EXPECT_TRUE(check(4));
}

}  // namespace
}  // namespace pinfold
