#include "preload/offer.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <array>
#include <string_view>

namespace pinfold::preload {
namespace {

TEST(Offer, names_its_connections_as_they_are_read_again)
{
    Offer offer;
    std::array<char, 64> text{};
    offer.name(text);
    EXPECT_STREQ(text.data(), "");
    EXPECT_TRUE(offer.empty());
    std::vector<Connection> others;
    std::vector<int> numbers;
    for (int i = 0; i < 3; ++i) {
        auto ends = Connection::pair();
        ASSERT_TRUE(ends);
        numbers.push_back((*ends)[0].descriptor());
        offer.add(std::move((*ends)[0]));
        others.push_back(std::move((*ends)[1]));
    }
    offer.name(text);
    EXPECT_EQ(descriptors_in(text.data()), numbers);
    for (int const fd : numbers) EXPECT_EQ(::fcntl(fd, F_GETFD), FD_CLOEXEC);
    offer.inherit(true);
    for (int const fd : numbers) EXPECT_EQ(::fcntl(fd, F_GETFD), 0);
    offer.inherit(false);
    for (int const fd : numbers) EXPECT_EQ(::fcntl(fd, F_GETFD), FD_CLOEXEC);
    // Whatever the room, no number is cut in two.
    for (std::size_t room = 1; room < 20; ++room) {
        std::array<char, 20> small{};
        offer.name(std::span{small}.first(room));
        auto const read = descriptors_in(small.data());
        ASSERT_LE(read.size(), numbers.size());
        EXPECT_TRUE(std::equal(read.begin(), read.end(), numbers.begin())) << small.data();
        EXPECT_FALSE(std::string_view{small.data()}.ends_with(','));
    }
}

TEST(Offer, a_text_of_something_else_holds_nothing)
{
    EXPECT_TRUE(descriptors_in("").empty());
    EXPECT_TRUE(descriptors_in("x,3").empty());
    EXPECT_EQ(descriptors_in("3,x"), std::vector<int>{3});
    EXPECT_TRUE(descriptors_in("99999999999999999999").empty());
    EXPECT_EQ(descriptors_in("7 8"), (std::vector<int>{7, 8}));
}

TEST(Offer, what_a_program_would_inherit_is_seen)
{
    int const kept = ::open("/dev/null", O_RDONLY);
    int const closed = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    EXPECT_TRUE(any_inheritable([&](int fd) { return fd == kept; }));
    EXPECT_FALSE(any_inheritable([&](int fd) { return fd == closed; }));
    EXPECT_FALSE(any_inheritable([](int) { return false; }));
    ::close(kept);
    ::close(closed);
}

}  // namespace
}  // namespace pinfold::preload
