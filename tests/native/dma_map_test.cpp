#include "pinfold/dma_map.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <fstream>
#include <random>
#include <string>

#include "native/model.hpp"
#include "support/seed.hpp"

namespace pinfold {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr Iova kIova{0x10000};
constexpr auto kNone = std::numeric_limits<std::uint64_t>::max();

int memfd(std::uint64_t bytes)
{
    int const fd = ::memfd_create("client", MFD_CLOEXEC);
    EXPECT_EQ(::ftruncate(fd, static_cast<off_t>(bytes)), 0);
    return fd;
}

std::size_t mappings_of_memfds()
{
    std::ifstream maps{"/proc/self/maps"};
    std::size_t count = 0;
    for (std::string line; std::getline(maps, line);) count += line.contains("memfd:client");
    return count;
}

class DmaMapTest : public testing::Test {
protected:
    DmaMapTest() : reader{made->add_reader(Reading::fenced).value()} {}

    std::byte* at(Iova iova, std::uint64_t size = 1, Access access = Access::read)
    {
        DmaSection const section{reader};
        return reader.translate(iova, size, access);
    }
    std::optional<DmaFault> fault(Iova iova, std::uint64_t size, Access access)
    {
        DmaSection const section{reader};
        std::array<iovec, 8> pieces{};
        return reader.segments(iova, size, access, pieces).fault;
    }
    alignas(kPage) inline static std::array<std::byte, 16 * kPage> memory{};
    std::unique_ptr<DmaMap> made = DmaMap::create({}).value();
    DmaMap& map = *made;
    DmaReader reader;
};

TEST_F(DmaMapTest, a_device_reaches_what_is_mapped_and_nothing_beside_it)
{
    ASSERT_TRUE(map.map(kIova, memory.data(), 2 * kPage, Prot::read_write));
    EXPECT_EQ(at(kIova + 5), memory.data() + 5);
    EXPECT_EQ(at(kIova, 2 * kPage), memory.data());
    EXPECT_EQ(at(kIova, 2 * kPage + 1), nullptr);
    EXPECT_EQ(at(kIova - 1), nullptr);
    EXPECT_EQ(at(kIova, 0), nullptr);
    EXPECT_EQ(map.unmap(kIova, 2 * kPage), 2 * kPage);
    EXPECT_EQ(at(kIova), nullptr);
}

TEST_F(DmaMapTest, a_fault_names_its_first_byte_and_its_reason)
{
    ASSERT_TRUE(map.map(kIova, memory.data(), kPage, Prot::read));
    ASSERT_TRUE(map.map_without_memory(kIova + kPage, kPage, Prot::read_write));
    auto const hole = fault(kIova - 10, 20, Access::read);
    EXPECT_EQ(hole->iova, kIova - 10);
    EXPECT_EQ(hole->reason, DmaFaultReason::not_mapped);
    auto const forbidden = fault(kIova + 10, 20, Access::write);
    EXPECT_EQ(forbidden->iova, kIova + 10);
    EXPECT_EQ(forbidden->reason, DmaFaultReason::no_permission);
    auto const message = fault(kIova + kPage - 10, 20, Access::read);
    EXPECT_EQ(message->iova, kIova + kPage);
    EXPECT_EQ(message->reason, DmaFaultReason::no_memory);
    EXPECT_EQ(at(kIova + kPage), nullptr);
    auto const wraps = fault(Iova{~std::uint64_t{0} - 5}, 20, Access::read);
    EXPECT_EQ(wraps->reason, DmaFaultReason::not_mapped);
    EXPECT_FALSE(fault(kIova + 10, 20, Access::read));
}

TEST_F(DmaMapTest, pieces_are_merged_where_they_are_contiguous_here)
{
    ASSERT_TRUE(map.map(kIova, memory.data(), kPage, Prot::read));
    ASSERT_TRUE(map.map(kIova + kPage, memory.data() + kPage, kPage, Prot::read_write));
    ASSERT_TRUE(map.map(kIova + 2 * kPage, memory.data() + 5 * kPage, kPage, Prot::read));
    DmaSection const section{reader};
    std::array<iovec, 4> pieces{};
    auto const found = reader.segments(kIova + 100, 3 * kPage - 200, Access::read, pieces);
    ASSERT_EQ(found.count, 2U);
    EXPECT_EQ(pieces[0].iov_base, memory.data() + 100);
    EXPECT_EQ(pieces[0].iov_len, 2 * kPage - 100);
    EXPECT_EQ(pieces[1].iov_base, memory.data() + 5 * kPage);
    EXPECT_EQ(pieces[1].iov_len, kPage - 100);
    EXPECT_EQ(found.bytes, 3 * kPage - 200);
    EXPECT_EQ(reader.translate(kIova + 10, 2 * kPage - 10, Access::read), memory.data() + 10)
        << "two mappings, one piece";

    auto const first = reader.segments(kIova, 3 * kPage, Access::read, {pieces.data(), 1});
    EXPECT_EQ(first.bytes, 2 * kPage);
    EXPECT_FALSE(first.fault) << "only the room for pieces has ended";
}

TEST_F(DmaMapTest, the_rules_are_those_of_Type1v2_in_its_order)
{
    auto* const bytes = memory.data();
    ASSERT_TRUE(map.map(kIova, bytes, 2 * kPage, Prot::read));
    EXPECT_EQ(map.map(kIova + 1, bytes, kPage, Prot::read).error(), Errno::inval);
    EXPECT_EQ(map.map(kIova, bytes + 1, kPage, Prot::read).error(), Errno::inval);
    EXPECT_EQ(map.map(kIova, bytes, kPage - 1, Prot::read).error(), Errno::inval);
    EXPECT_EQ(map.map(kIova, bytes, 0, Prot::read).error(), Errno::inval);
    EXPECT_EQ(map.map(kIova, bytes, kPage, Prot::none).error(), Errno::inval);
    EXPECT_EQ(map.map(kIova, bytes, kPage, static_cast<Prot>(5)).error(), Errno::inval);
    EXPECT_EQ(map.map(kIova, bytes, ~std::uint64_t{0xfff}, Prot::read).error(), Errno::overflow);
    EXPECT_EQ(map.map(Iova{~std::uint64_t{0xfff}}, bytes, 2 * kPage, Prot::read).error(),
              Errno::overflow);
    EXPECT_EQ(map.map(kIova + kPage, bytes, 2 * kPage, Prot::read).error(), Errno::exist);
    EXPECT_EQ(map.unmap(kIova, kPage).error(), Errno::inval) << "that would cut it";
    EXPECT_EQ(map.unmap(kIova + kPage, 8 * kPage).error(), Errno::inval);
    EXPECT_EQ(map.unmap(kIova, 0).error(), Errno::inval);
    EXPECT_EQ(map.unmap(kIova + 1, kPage).error(), Errno::inval);
    EXPECT_EQ(map.unmap(kIova, ~std::uint64_t{0xfff}).error(), Errno::overflow);
    EXPECT_EQ(map.unmap(kIova - kPage, 8 * kPage), 2 * kPage);
    EXPECT_EQ(map.unmap(kIova, kPage), 0U);
}

TEST_F(DmaMapTest, what_is_beyond_the_width_is_EINVAL_after_overlap_and_limit)
{
    auto const narrow =
        DmaMap::create({.iova_width = 16, .granule = k4K, .mapping_limit = 1}).value();
    EXPECT_EQ(narrow->map(Iova{0x10000}, memory.data(), kPage, Prot::read).error(), Errno::inval);
    ASSERT_TRUE(narrow->map(Iova{0xf000}, memory.data(), kPage, Prot::read));
    EXPECT_EQ(narrow->map(Iova{0xf000}, memory.data(), 2 * kPage, Prot::read).error(),
              Errno::exist);
    EXPECT_EQ(narrow->map(Iova{0x10000}, memory.data(), kPage, Prot::read).error(), Errno::nospc);
    EXPECT_EQ(narrow->unmap(Iova{0x20000}, kPage), 0U);
    EXPECT_EQ(narrow->unmap(Iova{0xf000}, 2 * kPage), kPage);
    for (auto const options : {DmaMap::Options{.iova_width = 65}, DmaMap::Options{.iova_width = 12},
                               DmaMap::Options{.granule = PageSize::lg2_of(11)}})
        EXPECT_EQ(DmaMap::create(options).error(), Errno::inval);
}

TEST_F(DmaMapTest, the_last_byte_of_64_bits_can_be_mapped)
{
    Iova const top{~std::uint64_t{0xfff}};
    ASSERT_TRUE(map.map(top, memory.data(), kPage, Prot::read));
    EXPECT_EQ(at(top + 0xfff), memory.data() + 0xfff);
    EXPECT_EQ(map.region(Iova{0})->iova.start, top);
    EXPECT_EQ(map.unmap_all(), kPage);
    EXPECT_FALSE(map.region(Iova{0}));
}

TEST_F(DmaMapTest, an_access_that_passes_the_end_of_48_bits_faults_there)
{
    auto const narrow = DmaMap::create({.iova_width = 48}).value();
    auto const device = narrow->add_reader(Reading::fenced).value();
    Iova const end{std::uint64_t{1} << 48};
    ASSERT_TRUE(narrow->map(end - kPage, memory.data(), kPage, Prot::read_write));
    for (std::uint64_t const size : {2 * kPage, kNone / 2, kNone}) {
        DmaSection const section{device};
        std::array<iovec, 4> pieces{};
        auto const found = device.segments(end - kPage, size, Access::read, pieces);
        ASSERT_EQ(found.count, 1U) << size;
        EXPECT_EQ(pieces[0].iov_base, memory.data());
        EXPECT_EQ(found.bytes, kPage);
        ASSERT_TRUE(found.fault);
        EXPECT_EQ(found.fault->iova, end);
        EXPECT_EQ(found.fault->reason, DmaFaultReason::not_mapped);
        EXPECT_EQ(device.segments(end + 5, size, Access::read, pieces).fault->iova, end + 5);
        EXPECT_EQ(device.segments(end - 2 * kPage, size, Access::read, pieces).fault->iova,
                  end - 2 * kPage);
    }
    std::array<std::byte, 64> bytes;
    bytes.fill(std::byte{7});
    memory[kPage - 32] = memory[kPage - 1] = std::byte{0};
    EXPECT_EQ(device.write(end - 32, bytes).error(), Errno::fault);
    EXPECT_EQ(memory[kPage - 32], std::byte{7});
    EXPECT_EQ(memory[kPage - 1], std::byte{7});
    bytes.fill(std::byte{0});
    EXPECT_EQ(device.read(end - 32, bytes).error(), Errno::fault);
    EXPECT_EQ(bytes[31], std::byte{7});
    EXPECT_EQ(bytes[32], std::byte{0});
}

TEST_F(DmaMapTest, several_ranges_go_together_or_none_does)
{
    ASSERT_TRUE(map.map(kIova, memory.data(), 2 * kPage, Prot::read));
    ASSERT_TRUE(map.map(kIova + 4 * kPage, memory.data(), kPage, Prot::read));
    std::array const cutting{IovaRange{kIova + 4 * kPage, kIova + 5 * kPage - 1},
                             IovaRange{kIova, kIova + kPage - 1}};
    EXPECT_EQ(map.unmap(cutting).error(), Errno::inval);
    EXPECT_EQ(map.mappings(), 2U);
    std::array const both{IovaRange{kIova + 4 * kPage, kIova + 5 * kPage - 1},
                          IovaRange{kIova, kIova + 2 * kPage - 1}};
    EXPECT_EQ(map.unmap(both), 3 * kPage);
    EXPECT_EQ(map.mappings(), 0U);
}

TEST_F(DmaMapTest, of_one_writer_answers_as_one_of_many_does)
{
    auto const one = DmaMap::create({.writers = Writers::one}).value();
    auto const device = one->add_reader(Reading::fenced).value();
    ASSERT_TRUE(one->map(kIova, memory.data(), kPage, Prot::read));
    EXPECT_EQ(one->map(kIova, memory.data(), kPage, Prot::read).error(), Errno::exist);
    {
        DmaSection const section{device};
        EXPECT_EQ(device.translate(kIova, 1, Access::read), memory.data());
    }
    EXPECT_EQ(one->unmap(kIova + 1, kPage).error(), Errno::inval);
    EXPECT_EQ(one->unmap(kIova, kPage), kPage);
    EXPECT_EQ(one->mappings(), 0U);
}

TEST_F(DmaMapTest, each_unmap_of_a_batch_has_its_own_answer)
{
    ASSERT_TRUE(map.map(kIova, memory.data(), 2 * kPage, Prot::read));
    ASSERT_TRUE(map.map(kIova + 4 * kPage, memory.data(), kPage, Prot::read));
    DmaBatch batch{map};
    EXPECT_EQ(batch.unmap(kIova, kPage).error(), Errno::inval) << "that would cut it";
    EXPECT_EQ(batch.unmap(kIova + 1, kPage).error(), Errno::inval);
    EXPECT_EQ(batch.unmap(kIova, 0).error(), Errno::inval);
    EXPECT_EQ(batch.unmap(Iova{~std::uint64_t{0xfff}}, 2 * kPage).error(), Errno::overflow);
    EXPECT_EQ(batch.unmap(kIova + 4 * kPage, 8 * kPage), kPage);
    EXPECT_EQ(batch.unmap(kIova + 4 * kPage, 8 * kPage), 0U);
    EXPECT_EQ(map.usage({}).bytes, 2 * kPage);
    batch.wait();
    EXPECT_EQ(batch.unmap(kIova, 2 * kPage), 2 * kPage);
    EXPECT_EQ(at(kIova), nullptr);
}

TEST_F(DmaMapTest, a_file_is_the_devices_until_a_batch_has_waited)
{
    int const fd = memfd(2 * kPage);
    {
        auto const file = map.file(fd).value();
        ASSERT_TRUE(map.map(kIova, file, 0, kPage, Prot::read));
        ASSERT_EQ(::ftruncate(fd, 4 * kPage), 0);
    }
    DmaBatch batch{map};
    EXPECT_EQ(batch.unmap(kIova, kPage), kPage);
    {
        auto const file = map.file(fd).value();  // of which the short view is an old one soon
        ASSERT_TRUE(map.map(kIova, file, 3 * kPage, kPage, Prot::read));
    }
    EXPECT_EQ(mappings_of_memfds(), 2U);
    EXPECT_EQ(batch.unmap(kIova, kPage), kPage);
    EXPECT_EQ(mappings_of_memfds(), 2U);
    batch.wait();
    EXPECT_EQ(mappings_of_memfds(), 0U);
    (void)::close(fd);
}

TEST_F(DmaMapTest, an_owner_is_charged_limited_and_removed_with_what_it_has)
{
    auto const owner = map.add_owner({.bytes = 3 * kPage, .mappings = 2}).value();
    auto const other = map.add_owner({.bytes = kNone, .mappings = kNone}).value();
    ASSERT_TRUE(map.map(kIova, memory.data(), 2 * kPage, Prot::read, owner));
    EXPECT_EQ(map.map(kIova + 8 * kPage, memory.data(), 2 * kPage, Prot::read, owner).error(),
              Errno::nomem);
    ASSERT_TRUE(map.map(kIova + 8 * kPage, memory.data(), kPage, Prot::read, owner));
    EXPECT_EQ(map.map_without_memory(kIova + 9 * kPage, kPage, Prot::read, owner).error(),
              Errno::nospc);
    ASSERT_TRUE(map.map(kIova + 4 * kPage, memory.data(), kPage, Prot::read, other));
    EXPECT_EQ(map.usage(owner).bytes, 3 * kPage);
    EXPECT_EQ(map.usage(owner).mappings, 2U);
    EXPECT_EQ(map.region(kIova + kPage)->owner, owner);
    ASSERT_TRUE(map.remove_owner(owner));
    EXPECT_EQ(map.mappings(), 1U);
    EXPECT_EQ(at(kIova), nullptr);
    EXPECT_EQ(map.map(kIova, memory.data(), kPage, Prot::read, owner).error(), Errno::inval);
    EXPECT_EQ(map.remove_owner(owner).error(), Errno::inval);
    EXPECT_EQ(map.remove_owner({}).error(), Errno::inval);
    EXPECT_EQ(map.add_owner({.bytes = 1, .mappings = 1}).value(), owner) << "its place is free";
    EXPECT_EQ(map.usage(owner).bytes, 0U);
}

TEST_F(DmaMapTest, a_file_is_mapped_once_however_often_and_by_whatever_descriptor)
{
    int const fd = memfd(16 * kPage);
    int const again = ::dup(fd);
    {
        auto const file = map.file(fd).value();
        auto const same = map.file(again).value();
        (void)::close(again);
        for (std::uint64_t page = 0; page < 8; ++page)
            ASSERT_TRUE(map.map(kIova + page * kPage, page % 2 == 0 ? file : same,
                                (15 - page) * kPage, kPage, Prot::read_write));
        EXPECT_EQ(mappings_of_memfds(), 1U);
    }
    char const text[] = "seen";
    ASSERT_EQ(::pwrite(fd, text, sizeof text, 12 * kPage), sizeof text);
    EXPECT_EQ(std::memcmp(at(kIova + 3 * kPage), text, sizeof text), 0);
    EXPECT_EQ(map.unmap(kIova, 7 * kPage), 7 * kPage);
    EXPECT_EQ(mappings_of_memfds(), 1U) << "one mapping is left";
    EXPECT_EQ(map.unmap_all(), kPage);
    EXPECT_EQ(mappings_of_memfds(), 0U);
    (void)::close(fd);
}

TEST_F(DmaMapTest, a_file_that_grows_is_mapped_anew_and_nothing_moves)
{
    int const fd = memfd(2 * kPage);
    {
        auto const file = map.file(fd).value();
        ASSERT_TRUE(map.map(kIova, file, 0, 2 * kPage, Prot::read_write));
        auto* const before = at(kIova);
        EXPECT_EQ(map.map(kIova + 8 * kPage, file, 2 * kPage, kPage, Prot::read).error(),
                  Errno::fault);
        ASSERT_EQ(::ftruncate(fd, 4 * kPage), 0);
        ASSERT_TRUE(map.map(kIova + 8 * kPage, file, 3 * kPage, kPage, Prot::read_write));
        EXPECT_EQ(at(kIova), before);
        ASSERT_EQ(::pwrite(fd, "x", 1, 3 * kPage), 1);
        EXPECT_EQ(*at(kIova + 8 * kPage), std::byte{'x'});
        EXPECT_EQ(map.unmap(kIova, 2 * kPage), 2 * kPage);
        EXPECT_EQ(mappings_of_memfds(), 1U) << "the short one went";
        EXPECT_NE(map.unmap_all(), 0U);
    }
    EXPECT_EQ(mappings_of_memfds(), 0U);
    (void)::close(fd);
}

TEST_F(DmaMapTest, a_descriptor_that_may_not_write_gives_no_writing)
{
    int const fd = memfd(2 * kPage);
    int const reading = ::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_RDONLY);
    {
        auto const file = map.file(reading).value();
        EXPECT_EQ(map.map(kIova, file, 0, kPage, Prot::read_write).error(), Errno::acces);
        ASSERT_TRUE(map.map(kIova, file, 0, kPage, Prot::read));
        EXPECT_EQ(at(kIova, 1, Access::write), nullptr);
        EXPECT_NE(at(kIova), nullptr);
        EXPECT_EQ(
            map.map(kIova + kPage, file, ~std::uint64_t{0xfff}, 2 * kPage, Prot::read).error(),
            Errno::overflow);
        EXPECT_EQ(map.map(kIova + kPage, file, 1, kPage, Prot::read).error(), Errno::inval);
    }
    EXPECT_EQ(map.file(-1).error(), Errno::badf);
    int const null = ::open("/dev/null", O_RDWR);
    EXPECT_EQ(map.file(null).error(), Errno::nodev);
    int const writing = ::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_WRONLY);
    EXPECT_EQ(map.file(writing).error(), Errno::acces);
    for (int const each : {fd, reading, null, writing}) (void)::close(each);
}

TEST_F(DmaMapTest, copies_go_across_pieces_up_to_the_fault)
{
    ASSERT_TRUE(map.map(kIova, memory.data() + 4 * kPage, kPage, Prot::read_write));
    ASSERT_TRUE(map.map(kIova + kPage, memory.data(), kPage, Prot::read_write));
    std::array<std::byte, 64> bytes;
    bytes.fill(std::byte{7});
    ASSERT_TRUE(reader.write(kIova + kPage - 32, bytes));
    EXPECT_EQ(memory[5 * kPage - 1], std::byte{7});
    EXPECT_EQ(memory[31], std::byte{7});
    std::array<std::byte, 64> back{};
    EXPECT_TRUE(reader.read(kIova + kPage - 32, back));
    EXPECT_EQ(back, bytes);
    EXPECT_EQ(reader.write(kIova + 2 * kPage - 32, bytes).error(), Errno::fault);
    EXPECT_EQ(memory[kPage - 1], std::byte{7}) << "what came before the fault was written";
}

TEST_F(DmaMapTest, no_memory_for_tables_is_ENOMEM_and_changes_nothing)
{
    native::FailingMemory failing{kNone};
    auto const poor = DmaMap::create({.memory = &failing}).value();
    ASSERT_TRUE(poor->map(kIova, memory.data(), kPage, Prot::read));
    failing.allow(0);
    std::uint64_t mapped = 1;
    while (poor->map(kIova + 2 * mapped * kPage, memory.data(), kPage, Prot::read)) ++mapped;
    EXPECT_EQ(poor->map(kIova + 2 * mapped * kPage, memory.data(), kPage, Prot::read).error(),
              Errno::nomem);
    EXPECT_EQ(poor->mappings(), mapped);
    EXPECT_EQ(poor->usage({}).mappings, mapped);
    EXPECT_EQ(poor->start_dirty_log().error(), Errno::nomem);
    failing.allow(3);
    EXPECT_EQ(poor->start_dirty_log().error(), Errno::nomem);
    EXPECT_EQ(poor->unmap_all(), mapped * kPage);
    failing.allow(kNone);
    EXPECT_TRUE(poor->start_dirty_log());
    failing.allow(0);
    EXPECT_EQ(poor->map(Iova{1ULL << 40}, memory.data(), kPage, Prot::read).error(), Errno::nomem)
        << "its pages could not be logged";
    EXPECT_EQ(poor->mappings(), 0U);
}

// The model has Type1's rule of unmapping beside the index's own.
TEST_F(DmaMapTest, random_calls_agree_with_a_list_of_pages)
{
    std::uint64_t const seed = test::seed();
    SCOPED_TRACE("PINFOLD_SEED=" + std::to_string(seed));
    std::mt19937_64 random{seed};
    constexpr std::uint64_t kPages = 600;
    std::uint64_t const base = 0x3fff'0000 / kPage;  // a GiB's end lies inside
    std::array<std::uint64_t, kPages> owner{};       // the number of the call that mapped it
    auto* const window = reinterpret_cast<std::byte*>(std::uint64_t{1} << 44);
    DmaBatch batch{map};
    for (std::uint64_t call = 1; call < 20'000; ++call) {
        std::uint64_t const first = random() % kPages;
        std::uint64_t const last =
            std::min(kPages - 1, first + random() % (random() % 4 == 0 ? 300 : 4));
        Iova const iova{(base + first) * kPage};
        std::uint64_t const size = (last - first + 1) * kPage;
        if (random() % 2 == 0) {
            bool const free = std::all_of(&owner[first], &owner[last] + 1,
                                          [](std::uint64_t page) { return page == 0; });
            ASSERT_EQ(map.map(iova, window + call * 1024 * kPage, size, Prot::read).has_value(),
                      free);
            if (free) std::fill(&owner[first], &owner[last] + 1, call);
        } else {
            bool const cuts =
                (owner[first] != 0 && first > 0 && owner[first - 1] == owner[first]) ||
                (owner[last] != 0 && last + 1 < kPages && owner[last + 1] == owner[last]);
            std::array const twice{IovaRange{iova, iova + (size - 1)},
                                   IovaRange{iova, iova + (size - 1)}};
            std::uint64_t const way = random() % 3;
            auto const gone = way == 0   ? map.unmap(iova, size)
                              : way == 1 ? map.unmap(twice)
                                         : batch.unmap(iova, size);
            if (random() % 16 == 0) batch.wait();
            ASSERT_EQ(gone.has_value(), !cuts);
            if (cuts) continue;
            auto const mapped = static_cast<std::uint64_t>(std::count_if(
                &owner[first], &owner[last] + 1, [](auto page) { return page != 0; }));
            ASSERT_EQ(gone, mapped * kPage);
            std::fill(&owner[first], &owner[last] + 1, 0);
        }
        std::uint64_t const probe = random() % kPages;
        auto* const found = at(Iova{(base + probe) * kPage});
        std::uint64_t start = probe;
        while (start > 0 && owner[start - 1] == owner[probe]) --start;
        auto* const expected =
            owner[probe] == 0 ? nullptr : window + (owner[probe] * 1024 + probe - start) * kPage;
        ASSERT_EQ(found, expected);
    }
}

}  // namespace
}  // namespace pinfold
