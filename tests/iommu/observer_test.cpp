#include "iommu/observer.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "iommu/unit.hpp"

namespace pinfold::iommu {
namespace {

constexpr std::uint64_t kPage = 0x1000;
constexpr std::uint64_t k2MBytes = 0x200000;

// What it was told, one line for each call, numbers in hexadecimal.
class Witness final : public Observer {
public:
    void mapped(Iova iova, Paddr paddr, std::uint64_t size) override
    {
        tell("map", {iova.raw(), paddr.raw(), size});
    }
    void unmapped(Iova iova, std::uint64_t size, std::uint64_t unmapped) override
    {
        tell("unmap", {iova.raw(), size, unmapped});
    }
    void unaligned(Iova iova, std::optional<Paddr> paddr, std::uint64_t size,
                   PageSize smallest) override
    {
        if (paddr)
            tell("unaligned map", {iova.raw(), paddr->raw(), size, smallest.bytes()});
        else
            tell("unaligned unmap", {iova.raw(), size, smallest.bytes()});
    }

    std::vector<std::string> take() { return std::exchange(lines_, {}); }

private:
    void tell(std::string line, std::initializer_list<std::uint64_t> numbers)
    {
        for (auto const number : numbers) {
            char text[20];
            std::snprintf(text, sizeof text, " %llx", static_cast<unsigned long long>(number));
            line += text;
        }
        lines_.push_back(std::move(line));
    }
    std::vector<std::string> lines_;
};

using Lines = std::vector<std::string>;

TEST(Observer, hears_of_each_call_as_it_was_asked)
{
    Witness witness;
    for (auto options : {Iommu::Options{}, native_options()}) {
        options.observer = &witness;
        Unit unit{options};
        ASSERT_TRUE(unit.map(0x10000, 0x7000000, 3 * kPage));
        EXPECT_EQ(unit.unmap(0x10000, 3 * kPage), 3 * kPage);
        EXPECT_EQ(witness.take(), (Lines{"map 10000 7000000 3000", "unmap 10000 3000 3000"}));
    }
}

TEST(Observer, hears_what_went_and_not_only_what_was_asked)
{
    Witness witness;
    Unit unit{{.reserved = {}, .observer = &witness}};
    ASSERT_TRUE(unit.map(k2MBytes, 0, k2MBytes));
    EXPECT_EQ(unit.unmap(0, kPage), 0);
    EXPECT_EQ(unit.unmap(k2MBytes, kPage), k2MBytes);
    EXPECT_EQ(witness.take(),
              (Lines{"map 200000 0 200000", "unmap 0 1000 0", "unmap 200000 1000 200000"}));
}

TEST(Observer, hears_of_the_roll_back_and_not_of_the_map_that_failed)
{
    Witness witness;
    Unit unit{{.reserved = {}, .observer = &witness}};
    ASSERT_TRUE(unit.map(2 * kPage, 0x5000, kPage));
    EXPECT_EQ(unit.map(0, 0xb000, 3 * kPage), fail(Errno::addrinuse));
    EXPECT_EQ(unit.map(2 * kPage, 0xb000, kPage), fail(Errno::addrinuse));
    EXPECT_EQ(witness.take(), (Lines{"map 2000 5000 1000", "unmap 0 2000 2000", "unmap 2000 0 0"}));
}

TEST(Observer, hears_of_what_is_misaligned)
{
    Witness witness;
    Unit unit{{.reserved = {}, .observer = &witness}};
    EXPECT_EQ(unit.map(0x10000, 0x1800, kPage), fail(Errno::inval));
    EXPECT_EQ(unit.unmap(0x10001, kPage), 0);
    EXPECT_EQ(witness.take(),
              (Lines{"unaligned map 10000 1800 1000 1000", "unaligned unmap 10001 1000 1000"}));
}

}  // namespace
}  // namespace pinfold::iommu
