#include "machine/machine.hpp"

#include <gtest/gtest.h>
#include <linux/vfio.h>
#include <sys/mman.h>

#include <map>

#include "host/guarded_copy.hpp"
#include "host/lock_source.hpp"
#include "host/own_process.hpp"
#include "machine/counters.hpp"

namespace pinfold::machine {
namespace {

// This process, with descriptor numbers that only this table knows.
class TestClient final : public uapi::Client {
public:
    explicit TestClient(std::uint64_t memlock) : source_{memlock}, process_{source_, k4K} {}

    host::Process& process() override { return process_; }
    Result<uapi::FileId> file(int fd) override
    {
        auto const found = files_.find(fd);
        if (found == files_.end()) return fail(Errno::badf);
        return found->second;
    }
    Result<UniqueFd> eventfd(int) override { return fail(Errno::badf); }
    Result<int> install(uapi::FileId file) override
    {
        files_[++last_] = file;
        return last_;
    }

private:
    host::FixedLockSource source_;
    host::OwnProcess process_;
    std::map<int, uapi::FileId> files_;
    int last_ = 100;
};

Description with_devices(std::vector<std::string> const& devices)
{
    auto machine = presets()[0].make();
    for (auto const& device : devices) machine.devices.push_back(*parse_device(device));
    return machine;
}

// A container with group 0 in it and Type1v2 set.
class MachineTest : public testing::Test {
protected:
    void SetUp() override
    {
        host::install_recovery();
        auto built =
            Machine::build(with_devices({"edu,bdf=0000:00:04.0"}), client_.process(), &journal_);
        ASSERT_TRUE(built) << built.error();
        machine_ = std::move(*built);
        container_ = *client_.install(*machine_->door().open_container());
        group_ = *client_.install(*machine_->door().open_group(0));
        ASSERT_TRUE(ioctl(group_, VFIO_GROUP_SET_CONTAINER, &container_));
        ASSERT_TRUE(
            machine_->door().call(client_, call(container_, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU)));
        memory_ =
            ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    }
    void TearDown() override { ::munmap(memory_, kSize); }

    uapi::Call call(int fd, unsigned long request, std::uint64_t arg)
    {
        return {
            .file = *client_.file(fd), .request = static_cast<std::uint32_t>(request), .arg = arg};
    }
    uapi::Reply ioctl(int fd, unsigned long request, void* argument)
    {
        return machine_->door().call(client_,
                                     call(fd, request, reinterpret_cast<std::uint64_t>(argument)));
    }
    uapi::Reply map(std::uint64_t iova, std::uint64_t size)
    {
        vfio_iommu_type1_dma_map request{sizeof request,
                                         VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
                                         reinterpret_cast<std::uint64_t>(memory_), iova, size};
        return ioctl(container_, VFIO_IOMMU_MAP_DMA, &request);
    }
    uapi::Reply unmap(std::uint64_t iova, std::uint64_t size)
    {
        vfio_iommu_type1_dma_unmap request{};
        request.argsz = sizeof request;
        request.iova = iova;
        request.size = size;
        return ioctl(container_, VFIO_IOMMU_UNMAP_DMA, &request);
    }
    Counters published()
    {
        machine_->publish(counters_);
        return counters_;
    }

    static constexpr std::size_t kSize = 16 << 12;
    struct Kept final : Journal {
        void log(std::string_view line) override { logged += line; }
        void trace(std::string_view line) override { traced += line; }
        std::string logged, traced;
    };
    Kept journal_;
    TestClient client_{kSize};
    std::unique_ptr<Machine> machine_;
    int container_ = -1, group_ = -1;
    void* memory_ = nullptr;
    Counters counters_;
};

TEST_F(MachineTest, what_a_kernel_would_log_and_trace_is_in_the_journal)
{
    ASSERT_TRUE(map(0x10000, 0x1000));
    EXPECT_TRUE(journal_.traced.starts_with("map iova=0x10000 paddr=")) << journal_.traced;
    EXPECT_EQ(journal_.logged, "");
    EXPECT_FALSE(map(0x20000, kSize));
    EXPECT_TRUE(journal_.logged.contains("RLIMIT_MEMLOCK (65536) exceeded")) << journal_.logged;
}

TEST(Machine, one_whose_IOMMU_has_larger_pages_than_the_host_is_unverified)
{
    host::FixedLockSource nothing{0};
    host::OwnProcess process{nothing, k4K};
    auto description = with_devices({"edu,bdf=0000:00:04.0"});
    for (auto const page : {k4K, k64K}) {
        description.iommu.model = iommu::Model::native;
        description.iommu.page_sizes = PageSizes{page.bytes()};
        auto const machine = Machine::build(description, process).value();
        Counters counters;
        machine->publish(counters);
        EXPECT_EQ(counters.unverified, page == k64K ? 1U : 0U);
    }
}

// What SET_IOMMU answers where only `group` is in the container.
Errno entry(Machine& machine, TestClient& client, unsigned group)
{
    auto& door = machine.door();
    auto const call = [&](int fd, unsigned long request, std::uint64_t argument) {
        return door.call(client, {.file = *client.file(fd),
                                  .request = static_cast<std::uint32_t>(request),
                                  .arg = argument});
    };
    int container = *client.install(*door.open_container());
    int const file = *client.install(*door.open_group(group));
    EXPECT_TRUE(call(file, VFIO_GROUP_SET_CONTAINER, reinterpret_cast<std::uint64_t>(&container)));
    auto const entered = call(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU);
    door.release(*client.file(file));
    door.release(*client.file(container));
    return entered ? Errno{} : entered.error();
}

TEST(Machine, interrupts_are_isolated_by_a_groups_own_IOMMU_and_in_6_1_by_all)
{
    for (auto const kernel : {Kernel::v6_1, Kernel::v6_12, Kernel::v7_3}) {
        auto description =
            with_devices({"edu,bdf=0000:00:04.0,group=0", "edu,bdf=0000:00:05.0,group=1"});
        description.kernel = kernel;
        description.extra_iommus.push_back({"plain", description.iommu});
        description.extra_iommus[0].options.remaps_interrupts = false;
        description.devices[1].iommu = "plain";
        TestClient client{0};
        auto const machine = Machine::build(description, client.process()).value();
        EXPECT_EQ(entry(*machine, client, 0), kernel == Kernel::v6_1 ? Errno::perm : Errno{});
        EXPECT_EQ(entry(*machine, client, 1), Errno::perm);

        description.allow_unsafe_interrupts = true;
        auto const lenient = Machine::build(description, client.process()).value();
        EXPECT_EQ(entry(*lenient, client, 0), Errno{});
        EXPECT_EQ(entry(*lenient, client, 1), Errno{});
    }
}

TEST_F(MachineTest, mappings_are_counted_now_at_peak_and_in_all)
{
    ASSERT_TRUE(map(0x100000, 0x3000));
    ASSERT_TRUE(map(0x200000, 0x2000));
    ASSERT_TRUE(unmap(0x100000, 0x3000));
    auto const seen = published();
    EXPECT_EQ(seen.maps, 2U);
    EXPECT_EQ(seen.unmaps, 1U);
    EXPECT_EQ(seen.mapped_bytes, 0x5000U);
    EXPECT_EQ(seen.live_mappings, 1U);
    EXPECT_EQ(seen.peak_live_mappings, 2U);
    EXPECT_EQ(seen.live_bytes, 0x2000U);
    EXPECT_EQ(seen.peak_live_bytes, 0x5000U);
}

TEST_F(MachineTest, leaves_and_pins_are_told_after_everything_has_gone)
{
    ASSERT_TRUE(map(0x100000, 0x3000));
    ASSERT_TRUE(unmap(0x100000, 0x3000));
    auto const seen = published();
    EXPECT_EQ(seen.leaves[12], 3U);
    EXPECT_EQ(seen.page_size, 4096U);
    EXPECT_EQ(seen.pinned_pages, 0U);
    EXPECT_EQ(seen.peak_pinned_pages, 3U);
    EXPECT_EQ(seen.charged_pages, 0U);
    EXPECT_EQ(seen.peak_charged_pages, 3U);
    EXPECT_EQ(seen.memlock_limit, kSize);
    EXPECT_EQ(seen.memlock_binds, 1U);
}

TEST_F(MachineTest, live_leaves_are_told_while_they_are_mapped)
{
    ASSERT_TRUE(map(0x100000, 0x3000));
    EXPECT_EQ(published().leaves[12], 3U);
}

TEST_F(MachineTest, a_refusal_by_the_limit_tells_what_would_have_done)
{
    ASSERT_TRUE(map(0, kSize));
    EXPECT_EQ(published().memlock_needed, kSize);
    auto const refused = map(0x100000, 0x2000);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error(), Errno::nomem);
    auto const seen = published();
    EXPECT_GT(seen.memlock_needed, seen.memlock_limit);
    EXPECT_EQ(seen.maps, 1U);
}

TEST_F(MachineTest, a_container_that_closes_takes_its_mappings_out_of_the_count)
{
    ASSERT_TRUE(map(0x100000, 0x3000));
    machine_->door().release(*client_.file(container_));
    machine_->door().release(*client_.file(group_));
    auto const seen = published();
    EXPECT_EQ(seen.live_mappings, 0U);
    EXPECT_EQ(seen.pinned_pages, 0U);
    EXPECT_EQ(seen.leaves[12], 3U);
}

TEST_F(MachineTest, a_device_has_a_line)
{
    auto const seen = published();
    ASSERT_EQ(seen.device_count, 1U);
    EXPECT_STREQ(seen.devices[0].bdf.data(), "0000:00:04.0");
    EXPECT_STREQ(seen.devices[0].model.data(), "edu");
    EXPECT_EQ(seen.faults, 0U);
}

TEST(Machine, functions_show_their_identity_and_bars_that_do_not_overlap)
{
    TestClient client{0};
    auto const machine = Machine::build(
        with_devices({"edu,bdf=00:04.0", "edu,bdf=00:05.0,group=7", "edu,bdf=00:06.0"}),
        client.process());
    ASSERT_TRUE(machine) << machine.error();
    auto const faces = (*machine)->faces();
    ASSERT_EQ(faces.size(), 3U);
    EXPECT_EQ(faces[1].group, 7U);
    std::map<std::uint64_t, std::uint64_t> taken;
    for (auto const& face : faces) {
        EXPECT_EQ(face.identity.vendor, 0x1234);
        EXPECT_EQ(face.identity.device, 0x11e8);
        EXPECT_EQ(face.config.at(0), std::byte{0x34});
        auto const size = face.identity.bars[0].size;
        EXPECT_NE(face.bar_addresses[0], 0U);
        EXPECT_EQ(face.bar_addresses[0] % size, 0U);
        EXPECT_TRUE(taken.emplace(face.bar_addresses[0], size).second);
    }
    for (auto at = taken.begin(); std::next(at) != taken.end(); ++at)
        EXPECT_LE(at->first + at->second, std::next(at)->first);
}

TEST(Machine, a_group_holds_all_its_devices_and_no_other_group_opens)
{
    TestClient client{0};
    auto const machine = Machine::build(
        with_devices({"edu,bdf=00:04.0,group=3", "edu,bdf=00:05.0,group=3"}), client.process());
    ASSERT_TRUE(machine) << machine.error();
    EXPECT_TRUE((*machine)->door().open_group(3));
    auto const other = (*machine)->door().open_group(0);
    ASSERT_FALSE(other);
    EXPECT_EQ(other.error(), Errno::noent);
}

TEST(Machine, takes_away_the_device_that_is_at_an_address_and_no_other)
{
    TestClient client{0};
    auto const machine =
        Machine::build(with_devices({"edu,bdf=00:04.0"}), client.process()).value();
    EXPECT_FALSE(machine->unplug(Bdf::parse("0000:00:05.0").value()));
    EXPECT_TRUE(machine->unplug(Bdf::parse("0000:00:04.0").value()));
    EXPECT_TRUE(machine->unplug(Bdf::parse("0000:00:04.0").value())) << "again, without effect";
}

TEST(Machine, what_is_behind_one_port_is_reset_together)
{
    host::install_recovery();
    TestClient client{0};
    auto const machine = Machine::build(with_devices({"edu,bdf=01:00.1", "edu,bdf=01:00.0",
                                                      "edu,bdf=02:00.0", "edu,bdf=00:04.0"}),
                                        client.process())
                             .value();
    auto& door = machine->door();
    auto const call = [&](int fd, std::uint32_t request, void const* argument) {
        return door.call(client, {.file = client.file(fd).value(),
                                  .request = request,
                                  .arg = reinterpret_cast<std::uint64_t>(argument)});
    };
    auto const listed = [&](unsigned group, char const* name) {
        int const container = client.install(door.open_container().value()).value();
        int const fd = client.install(door.open_group(group).value()).value();
        EXPECT_TRUE(call(fd, VFIO_GROUP_SET_CONTAINER, &container));
        EXPECT_TRUE(door.call(client, {.file = client.file(container).value(),
                                       .request = VFIO_SET_IOMMU,
                                       .arg = VFIO_TYPE1v2_IOMMU}));
        int const device = static_cast<int>(call(fd, VFIO_GROUP_GET_DEVICE_FD, name).value());
        std::array<std::uint32_t, 16> room{sizeof room};
        bool const done{call(device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, room.data())};
        door.release(client.file(device).value());
        door.release(client.file(fd).value());
        door.release(client.file(container).value());
        return done ? std::vector(room.begin() + 2, room.begin() + 3 + 2 * room[2])
                    : std::vector<std::uint32_t>{};
    };
    // How many, and for each its group, segment, bus and function, in the order of functions.
    using List = std::vector<std::uint32_t>;
    EXPECT_EQ(listed(0, "0000:01:00.1"), (List{2, 1, 0x0001'0000, 0, 0x0101'0000}));
    EXPECT_EQ(listed(2, "0000:02:00.0"), (List{1, 2, 0x0002'0000}));
    EXPECT_EQ(listed(3, "0000:00:04.0"), List{}) << "nobody resets the root bus";
    EXPECT_EQ(machine->faces()[0].bar_addresses[0] % 0x10'0000, 0U) << "as its port's window";
    EXPECT_EQ(machine->faces()[2].bar_addresses[0] % 0x10'0000, 0U);
    constexpr std::size_t kHeaderType = 0xe;
    EXPECT_EQ(machine->faces()[1].config[kHeaderType], std::byte{0x80});
    EXPECT_EQ(machine->faces()[0].config[kHeaderType], std::byte{0});
}

TEST(Machine, ports_that_are_each_others_peers_meet_and_others_are_told_apart)
{
    TestClient client{0};
    EXPECT_TRUE(Machine::build(with_devices({"virtio-net,bdf=00:04.0,peer=00:05.0",
                                             "virtio-net,bdf=00:05.0,peer=00:04.0"}),
                               client.process()));
    auto const alone =
        Machine::build(with_devices({"virtio-net,bdf=00:04.0,peer=00:05.0"}), client.process());
    ASSERT_FALSE(alone);
    EXPECT_TRUE(alone.error().contains("peer=0000:00:05.0: there is no device")) << alone.error();
    EXPECT_TRUE(alone.error().starts_with("--device")) << alone.error();
}

TEST(Machine, what_cannot_be_built_is_told_with_the_device)
{
    TestClient client{0};
    auto const machine =
        Machine::build(with_devices({"nvme,bdf=00:04.0,disk=/does/not/exist"}), client.process());
    ASSERT_FALSE(machine);
    EXPECT_TRUE(machine.error().contains("/does/not/exist")) << machine.error();
}

}  // namespace
}  // namespace pinfold::machine
