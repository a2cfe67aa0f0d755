// Who is charged for what (rules P-1 to P-12), and which module parameters are read when (rules K-1
// to K-3).
#include <gtest/gtest.h>

#include <memory>

#include "bench.hpp"

namespace pinfold::type1 {
namespace {

constexpr std::uint64_t kI = 0x10000000;

// A process with an account of its own, which can end.
struct Mapper {
    explicit Mapper(PageSize page = k4K) : process{std::make_unique<host::OwnProcess>(source, page)}
    {
    }
    LockSource source;
    std::unique_ptr<host::OwnProcess> process;
    host::LockedMemory& account() { return process->locked_memory(); }
};

// What mlock() has locked, beside a limit.
class Mlocked final : public host::LockedMemory::Source {
public:
    std::uint64_t limit_bytes() override { return 4 * 0x1000; }
    std::uint64_t mlocked_bytes() override { return 2 * 0x1000 + 1; }
    host::LockCap lock_cap() override { return host::LockCap::no; }
};

MapRequest one_page(std::uint64_t iova, Vaddr vaddr)
{
    return {Iova{iova}, vaddr, 0x1000, Prot::read_write};
}

TEST(Accounting, p1_what_mlock_has_locked_counts_too)
{
    Bench bench;
    Mlocked source;
    host::OwnProcess process{source, k4K};
    Buffer const buffer{2, k4K};
    EXPECT_TRUE(bench.container.map(process, one_page(kI, buffer.vaddr())));
    EXPECT_ERRNO(bench.container.map(process, one_page(kI + 0x1000, buffer.vaddr(1))), nomem);
    EXPECT_TRUE(bench.unmap_all());
    EXPECT_EQ(process.locked_memory().charged(), 0U);
}

TEST(Accounting, p2_the_limit_is_read_at_each_charge)
{
    Bench bench;
    Buffer const buffer{2, k4K};
    bench.source.limit = 0xfff;
    EXPECT_ERRNO(bench.map(kI, buffer.vaddr(), 0x1000), nomem);
    bench.source.limit = 0x1fff;
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 0x1000));
    EXPECT_ERRNO(bench.map(kI + 0x1000, buffer.vaddr(), 0x1000), nomem);
    bench.source.limit = 0x2000;
    EXPECT_TRUE(bench.map(kI + 0x1000, buffer.vaddr(), 0x1000));
}

TEST(Accounting, p4_the_capability_is_that_of_the_call_that_maps)
{
    Bench bench;
    Buffer const buffer{3, k4K};
    bench.source.limit = 0x1000;
    bench.source.cap = host::LockCap::yes;
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 0x2000));
    EXPECT_EQ(bench.charged(), 2U);
    bench.source.cap = host::LockCap::no;
    EXPECT_ERRNO(bench.map(kI + 0x2000, buffer.vaddr(2), 0x1000), nomem);
    EXPECT_EQ(bench.unmap(kI, 0x2000), 0x2000U);
    EXPECT_EQ(bench.charged(), 0U);
}

TEST(Accounting, p6_two_domains_cost_once_and_two_containers_twice)
{
    Bench bench;
    Unit second{native(0x1000)}, third;
    Buffer const buffer{2, k4K};
    EXPECT_TRUE(bench.container.add(second.group));
    Container other{bench.settings};
    EXPECT_TRUE(other.add(third.group));
    EXPECT_TRUE(other.set_iommu(3));

    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 0x2000));
    EXPECT_EQ(bench.charged(), 2U);
    EXPECT_TRUE(other.map(bench.process, {Iova{kI}, buffer.vaddr(), 0x2000, Prot::read}));
    EXPECT_EQ(bench.charged(), 4U);
    EXPECT_EQ(bench.memory.pinned_pages(), 2U);
    bench.container.remove(second.group);
    EXPECT_EQ(bench.charged(), 4U);
    other.remove(third.group);
    EXPECT_EQ(bench.charged(), 2U);
}

TEST(Accounting, p7_a_host_page_costs_one_however_small_the_pages_of_the_IOMMU_are)
{
    Bench bench{{.page = k64K, .iommu = {.page_sizes = PageSizes{0x1000}, .reserved = {}}}};
    Buffer const buffer{2, k64K};
    bench.source.limit = 0x20000;
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 0x20000));
    EXPECT_EQ(bench.charged(), 2U);
    EXPECT_EQ(bench.unit.first.domain()->leaves()[12], 32U);
}

TEST(Accounting, p10_each_process_pays_for_what_it_maps_and_anybody_may_unmap_it)
{
    Bench bench;
    Mapper child;
    Buffer const buffer{2, k4K};
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 0x1000));
    EXPECT_TRUE(bench.container.map(*child.process, one_page(kI + 0x1000, buffer.vaddr(1))));
    EXPECT_EQ(bench.charged(), 1U);
    EXPECT_EQ(child.account().charged(), 1U);
    EXPECT_TRUE(
        bench.container.unmap(*child.process, {.iova = Iova{kI}, .size = 0x1000, .dirty = {}}));
    EXPECT_EQ(bench.charged(), 0U);
    EXPECT_EQ(child.account().charged(), 1U);
    EXPECT_TRUE(bench.unmap_all());
    EXPECT_EQ(child.account().charged(), 0U);
}

// The pages stay pinned, and reachable as far as there is memory; nobody is uncharged.
TEST(Accounting, p11_and_12_mappings_outlive_the_process_that_made_them)
{
    Bench bench;
    auto child = std::make_unique<Mapper>();
    Buffer const buffer{2, k4K};
    EXPECT_TRUE(bench.container.map(*child->process, one_page(kI, buffer.vaddr())));
    EXPECT_TRUE(bench.container.map(*child->process, one_page(kI + 0x1000, buffer.vaddr(1))));
    EXPECT_EQ(bench.invalidate_vaddr(kI, 0x1000), 0x1000U);
    child.reset();
    EXPECT_EQ(bench.memory.pinned_pages(), 2U);

    // Another process takes one over, at its own cost.
    EXPECT_TRUE(bench.update_vaddr(kI, buffer.vaddr(), 0x1000));
    EXPECT_EQ(bench.charged(), 1U);
    EXPECT_EQ(bench.unmap(kI, 0x1000), 0x1000U);
    EXPECT_EQ(bench.charged(), 0U);
    EXPECT_EQ(bench.unmap(kI + 0x1000, 0x1000), 0x1000U);
    bench.expect_state({});
}

TEST(Accounting, p11_the_container_may_end_after_the_process_that_mapped)
{
    Bench bench;
    Buffer const buffer{1, k4K};
    auto child = std::make_unique<Mapper>();
    EXPECT_TRUE(bench.container.map(*child->process, one_page(kI, buffer.vaddr())));
    child.reset();
    bench.container.remove(bench.unit.group);
    bench.in = false;
    EXPECT_EQ(bench.memory.pinned_pages(), 0U);
}

// What a report says would have been needed counts what a refused call still wanted.
TEST(Accounting, a_refused_call_counts_all_that_it_would_have_been_charged_for)
{
    Bench bench{{.frames = host::FrameNumbering::scattered}};
    Buffer const buffer{8, k4K};
    bench.source.limit = 0x2000;
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 0x1000));
    EXPECT_ERRNO(bench.map(kI + 0x10000, buffer.vaddr(1), 0x7000), nomem);
    EXPECT_EQ(bench.process.locked_memory().needed_bytes(), 0x8000U);
    bench.expect_state({{kI, 0x1000, buffer.vaddr()}});
}

TEST(Parameters, k1_unsafe_interrupts_are_judged_at_each_attach)
{
    Bench bench;
    Unit unsafe{{.reserved = {}}, MsiIsolation::no};
    EXPECT_ERRNO(bench.container.add(unsafe.group), perm);
    bench.settings.allow_unsafe_interrupts = true;
    EXPECT_TRUE(bench.container.add(unsafe.group));
    bench.settings.allow_unsafe_interrupts = false;
    bench.container.remove(unsafe.group);
    EXPECT_ERRNO(bench.container.add(unsafe.group), perm);
}

TEST(Parameters, k2_huge_pages_are_switched_off_and_on_between_calls)
{
    Trace trace;
    Bench bench{{.iommu = {.reserved = {}, .observer = &trace}}};
    Buffer const buffer{2, k4K};
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 0x2000));
    bench.settings.disable_hugepages = true;
    EXPECT_TRUE(bench.map(kI + 0x2000, buffer.vaddr(), 0x2000));
    bench.settings.disable_hugepages = false;
    EXPECT_TRUE(bench.map(kI + 0x4000, buffer.vaddr(), 0x2000));
    EXPECT_EQ(trace.take(), (std::vector<std::string>{"map 10000000+2000", "map 10002000+1000",
                                                      "map 10003000+1000", "map 10004000+2000"}));
}

TEST(Parameters, k3_the_limit_on_mappings_is_taken_at_SET_IOMMU)
{
    Bench bench{{.dma_entry_limit = 1}};
    Buffer const buffer{1, k4K};
    bench.settings.dma_entry_limit = 2;
    EXPECT_EQ(bench.dma_avail(), 1U);
    EXPECT_TRUE(bench.map(kI, buffer.vaddr(), 0x1000));
    EXPECT_ERRNO(bench.map(kI + 0x1000, buffer.vaddr(), 0x1000), nospc);
    bench.container.remove(bench.unit.group);
    EXPECT_TRUE(bench.container.add(bench.unit.group));
    EXPECT_TRUE(bench.container.set_iommu(3));
    EXPECT_EQ(bench.dma_avail(), 2U);
}

}  // namespace
}  // namespace pinfold::type1
