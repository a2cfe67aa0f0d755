#include "preload/offer.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <string_view>

namespace pinfold::preload {
namespace {

TEST(Offer, names_its_connections_as_they_are_read_again)
{
    Offer offer;
    std::array<char, 64> text{};
    offer.hand_on(text);
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
    for (int const fd : numbers) EXPECT_EQ(::fcntl(fd, F_GETFD), FD_CLOEXEC);
    offer.hand_on(text);
    EXPECT_EQ(held_in(text.data()).descriptors, numbers);
    EXPECT_EQ(held_in(text.data()).from, ::getpid());
    for (int const fd : numbers) EXPECT_EQ(::fcntl(fd, F_GETFD), 0);
    offer.keep_back();
    for (int const fd : numbers) EXPECT_EQ(::fcntl(fd, F_GETFD), FD_CLOEXEC);
    // Whatever the room, no number is cut in two, and what is not named is not inherited.
    for (std::size_t room = 1; room < 20; ++room) {
        std::array<char, 20> small{};
        offer.hand_on(std::span{small}.first(room));
        auto const read = held_in(small.data()).descriptors;
        ASSERT_LE(read.size(), numbers.size());
        EXPECT_TRUE(std::equal(read.begin(), read.end(), numbers.begin())) << small.data();
        for (std::size_t i = 0; i < numbers.size(); ++i)
            EXPECT_EQ(::fcntl(numbers[i], F_GETFD), i < read.size() ? 0 : FD_CLOEXEC);
        EXPECT_EQ(std::string_view{small.data()}.empty(), read.empty());
        EXPECT_FALSE(std::string_view{small.data()}.ends_with(','));
        offer.keep_back();
    }
}

TEST(Offer, a_text_of_something_else_holds_nothing)
{
    for (char const* const text : {"", "7", "7,3", "x:3", "7:x", "99999999999999999999:3", "7 3"})
        EXPECT_TRUE(held_in(text).descriptors.empty()) << text;
    EXPECT_EQ(held_in("").from, -1);
    EXPECT_EQ(held_in("7:3,x").descriptors, std::vector<int>{3});
    EXPECT_EQ(held_in("7:3,4").descriptors, (std::vector<int>{3, 4}));
    EXPECT_EQ(held_in("7:3,4").from, 7);
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
