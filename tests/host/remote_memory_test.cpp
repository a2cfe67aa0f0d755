// This process stands for the other one: what counts is that copies go through /proc/PID/mem and
// not through the places themselves, which have no access.
#include "host/remote_memory.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "base/read_section.hpp"
#include "host/guarded_copy.hpp"
#include "host/pinned_copy.hpp"
#include "host/raw_memory.hpp"
#include "host/support.hpp"

namespace pinfold::host {
namespace {

class RemoteMemoryTest : public testing::Test {
protected:
    RemoteMemoryTest() { install_recovery(); }

    static Vaddr vaddr(std::byte const* at) { return Vaddr{reinterpret_cast<std::uint64_t>(at)}; }

    TestMapping mapping_{3, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS};
    std::unique_ptr<RemoteMemory> remote_ =
        std::make_unique<RemoteMemory>(raw::open("/proc/self/mem", O_RDWR));
};

TEST_F(RemoteMemoryTest, places_are_copied_to_and_from_as_the_memory_that_they_stand_for)
{
    ReadSection const section;
    std::byte* const place = remote_->place(vaddr(mapping_.page(0)));
    ASSERT_NE(place, nullptr);
    EXPECT_NE(place, mapping_.page(0));
    EXPECT_TRUE(is_remote(place));
    EXPECT_FALSE(is_remote(mapping_.page(0)));
    mapping_.fill(5);
    std::vector<std::byte> bytes(2 * kPage);
    EXPECT_EQ(read_pinned(bytes.data(), place + 100, bytes.size()), 0U);
    EXPECT_EQ(bytes, std::vector<std::byte>(2 * kPage, std::byte{5}));
    bytes.assign(bytes.size(), std::byte{7});
    EXPECT_EQ(write_pinned(place + 100, bytes.data(), bytes.size()), 0U);
    EXPECT_EQ(mapping_.page(0)[99], std::byte{5});
    EXPECT_EQ(mapping_.page(0)[100], std::byte{7});
    EXPECT_EQ(mapping_.page(2)[99], std::byte{7});
    EXPECT_EQ(mapping_.page(2)[100], std::byte{5});
}

TEST_F(RemoteMemoryTest, neighbours_have_neighbouring_places)
{
    std::byte* const place = remote_->place(vaddr(mapping_.page(0)));
    bool const one_window =
        (vaddr(mapping_.page(0)).raw() >> 30) == (vaddr(mapping_.page(1)).raw() >> 30);
    if (one_window) {
        EXPECT_EQ(remote_->place(vaddr(mapping_.page(1))), place + kPage);
    }
    EXPECT_EQ(remote_->place(vaddr(mapping_.page(0))), place);
}

TEST_F(RemoteMemoryTest, what_the_other_has_unmapped_is_not_copied)
{
    ReadSection const section;
    std::byte* const place = remote_->place(vaddr(mapping_.page(0)));
    ::munmap(mapping_.page(1), kPage);
    std::vector<std::byte> bytes(2 * kPage, std::byte{1});
    EXPECT_EQ(read_pinned(bytes.data(), place, bytes.size()), kPage);
    EXPECT_EQ(write_pinned(place, bytes.data(), bytes.size()), kPage);
}

TEST_F(RemoteMemoryTest, nothing_is_copied_once_the_other_has_ended)
{
    std::byte* const place = remote_->place(vaddr(mapping_.page(0)));
    remote_.reset();
    ReadSection const section;
    std::byte byte{};
    EXPECT_TRUE(is_remote(place));
    EXPECT_EQ(read_pinned(&byte, place, 1), 1U);
    EXPECT_EQ(write_pinned(place, &byte, 1), 1U);
}

TEST_F(RemoteMemoryTest, a_process_whose_memory_cannot_be_opened_has_no_places)
{
    RemoteMemory closed{UniqueFd{}};
    EXPECT_EQ(closed.place(vaddr(mapping_.page(0))), nullptr);
}

}  // namespace
}  // namespace pinfold::host
