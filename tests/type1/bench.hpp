// A container with all that it stands on, memory to map, and the comparison of what the IOMMU's
// table really holds with what ought to be mapped.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/read_section.hpp"
#include "host/guarded_copy.hpp"
#include "host/memory.hpp"
#include "host/own_process.hpp"
#include "iommu/endpoint.hpp"
#include "iommu/iommu.hpp"
#include "support/raw_walk.hpp"
#include "type1/container.hpp"

namespace pinfold::type1 {

// Memory in host pages of any size, aligned to them.
class Buffer {
public:
    Buffer(std::uint64_t pages, PageSize page) : page_{page}, size_{pages << page.lg2()}
    {
        raw_ = static_cast<std::byte*>(::mmap(nullptr, size_ + page.bytes(), PROT_READ | PROT_WRITE,
                                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        start_ = raw_ + (page.align_up(reinterpret_cast<std::uint64_t>(raw_)) -
                         reinterpret_cast<std::uint64_t>(raw_));
        std::memset(start_, 0x5a, size_);
    }
    ~Buffer() { ::munmap(raw_, size_ + page_.bytes()); }
    Buffer(Buffer const&) = delete;
    Buffer& operator=(Buffer const&) = delete;

    std::byte* page(std::uint64_t i) const { return start_ + (i << page_.lg2()); }
    Vaddr vaddr(std::uint64_t i = 0) const
    {
        return Vaddr{reinterpret_cast<std::uint64_t>(page(i))};
    }
    std::uint64_t pages() const { return size_ >> page_.lg2(); }
    // PROT_NONE stands for a hole here: the same answer, and nothing else can move in.
    void protect(std::uint64_t i, int prot) const { ::mprotect(page(i), page_.bytes(), prot); }

private:
    PageSize page_;
    std::uint64_t size_;
    std::byte* raw_;
    std::byte* start_;
};

class LockSource final : public host::LockedMemory::Source {
public:
    std::uint64_t limit_bytes() override { return limit; }
    std::uint64_t mlocked_bytes() override { return 0; }
    host::LockCap lock_cap() override { return cap; }
    std::uint64_t limit = ~std::uint64_t{0};
    host::LockCap cap = host::LockCap::no;
};

inline Errno error_of(auto const& result) { return result ? Errno{0} : result.error(); }
#define EXPECT_ERRNO(what, errno_) EXPECT_EQ(error_of(what), Errno::errno_)

// What the IOMMU API was asked, as text: "map 0x1000+0x2000", "unmap 0x1000+0x1000=0x2000".
class Trace final : public iommu::Observer {
public:
    void mapped(Iova iova, Paddr, std::uint64_t size) override
    {
        calls.push_back("map " + hex(iova.raw()) + "+" + hex(size));
    }
    void unmapped(Iova iova, std::uint64_t size, std::uint64_t unmapped) override
    {
        calls.push_back("unmap " + hex(iova.raw()) + "+" + hex(size) + "=" + hex(unmapped));
    }
    void unaligned(Iova, std::optional<Paddr>, std::uint64_t, PageSize) override {}

    std::vector<std::string> take() { return std::exchange(calls, {}); }
    std::vector<std::string> calls;

private:
    static std::string hex(std::uint64_t value)
    {
        std::array<char, 17> digits{};
        auto const end = std::to_chars(digits.data(), digits.data() + 16, value, 16).ptr;
        return std::string{digits.data(), end};
    }
};

// A mapping as it ought to be.
struct Expected {
    std::uint64_t iova, size;
    Vaddr vaddr;
    Prot prot = Prot::read_write;
};

inline IovaRange range_of(std::uint64_t start, std::uint64_t last)
{
    return {Iova{start}, Iova{last}};
}

// An IOMMU with one group of one or two endpoints behind it.
struct Unit {
    explicit Unit(iommu::Iommu::Options options = {}, MsiIsolation msi = MsiIsolation::yes,
                  unsigned number = 7)
        : iommu{iommu::Iommu::create(std::move(options)).value()},
          first{*iommu, "0000:00:04.0"},
          second{*iommu, "0000:00:04.1"},
          group{number, *iommu, {&first, &second}, msi}
    {
    }
    std::unique_ptr<iommu::Iommu> iommu;
    iommu::Endpoint first, second;
    Group group;
};

inline iommu::Iommu::Options native(std::uint64_t page_sizes, unsigned width = 48)
{
    return {.model = iommu::Model::native,
            .page_sizes = PageSizes{page_sizes},
            .address_width = width,
            .reserved = {}};
}

struct Bench {
    struct Options {
        PageSize page = k4K;
        iommu::Iommu::Options iommu = {};
        host::FrameNumbering frames = host::FrameNumbering::contiguous;
        unsigned dma_entry_limit = 65535;
        std::optional<std::uint64_t> type = 3;  // nullopt: no back end, no group
        Kernel kernel = Kernel::v7_3;
        SubpagePolicy policy = SubpagePolicy::merged;
    };
    Bench() : Bench(Options{}) {}
    explicit Bench(Options options)
        : page{options.page},
          memory{{.page_size = options.page, .numbering = options.frames, .seed = 1}},
          process{source, options.page},
          settings{.memory = memory,
                   .kernel = options.kernel,
                   .policy = options.policy,
                   .dma_entry_limit = options.dma_entry_limit},
          unit{options.iommu},
          container{settings}
    {
        host::install_recovery();
        if (!options.type) return;
        EXPECT_TRUE(container.add(unit.group));
        in = true;
        EXPECT_TRUE(container.set_iommu(*options.type));
    }
    ~Bench()
    {
        if (in) container.remove(unit.group);
        EXPECT_EQ(memory.pinned_pages(), 0U);
        EXPECT_EQ(charged(), 0U);
    }

    std::uint64_t charged() { return process.locked_memory().charged(); }
    std::uint32_t dma_avail() { return container.info()->dma_avail; }

    Result<> map(std::uint64_t iova, Vaddr vaddr, std::uint64_t size, Prot prot = Prot::read_write)
    {
        return container.map(process, {Iova{iova}, vaddr, size, prot});
    }
    Result<> update_vaddr(std::uint64_t iova, Vaddr vaddr, std::uint64_t size)
    {
        return container.map(process, {Iova{iova}, vaddr, size, Prot::none, true});
    }
    Result<std::uint64_t> unmap(std::uint64_t iova, std::uint64_t size)
    {
        return container.unmap(process, {.iova = Iova{iova}, .size = size, .dirty = {}});
    }
    Result<std::uint64_t> unmap_all()
    {
        return container.unmap(process, {.iova = Iova{0}, .size = 0, .all = true, .dirty = {}});
    }
    Result<std::uint64_t> invalidate_vaddr(std::uint64_t iova, std::uint64_t size)
    {
        return container.unmap(
            process, {.iova = Iova{iova}, .size = size, .invalidate_vaddr = true, .dirty = {}});
    }

    // Compares `domain`, leaf by leaf, with what ought to be mapped: every page leads to the bytes
    // of its vaddr with the right rights, and nothing else is there.
    void expect_maps(iommu::Domain& domain, std::vector<Expected> const& all)
    {
        ReadSection const section;
        std::uint64_t bytes = 0;
        for (Expected const& one : all) {
            bytes += one.size;
            for (std::uint64_t offset = 0; offset < one.size; offset += k4K.bytes())
                expect_leads(domain, one.iova + offset, Vaddr{one.vaddr.raw() + offset}, one.prot);
        }
        auto const raw = domain.raw_table();
        if (!raw) return;
        auto const tree = test::raw_walk(raw->root.raw(), raw->levels);
        EXPECT_TRUE(tree.well_formed);
        for (test::RawLeaf const& leaf : tree.leaves) bytes -= leaf.bytes;
        EXPECT_EQ(bytes, 0U) << "the table maps other than what was mapped";
        for (test::RawLeaf const& leaf : tree.leaves) expect_leaf(leaf, all);
    }

    // The whole state after a call: tables, pins, charges and the counter of mappings.
    void expect_state(std::vector<Expected> const& all,
                      std::vector<iommu::Endpoint*> endpoints = {})
    {
        endpoints.push_back(&unit.first);
        endpoints.push_back(&unit.second);
        for (iommu::Endpoint* const endpoint : endpoints) {
            ASSERT_NE(endpoint->domain(), nullptr);
            expect_maps(*endpoint->domain(), all);
        }
        // A mapping costs every host page that it has a byte of; shared ones cost once under the
        // policy that lets mappings share.
        std::uint64_t pages = 0;
        std::set<std::uint64_t> frames;
        for (Expected const& one : all) {
            std::uint64_t const last = one.vaddr.raw() + (one.size - 1);
            for (auto at = page.align_down(one.vaddr.raw()); at <= last; at += page.bytes()) {
                frames.insert(at);
                ++pages;
            }
        }
        EXPECT_EQ(charged(), settings.policy == SubpagePolicy::subpage ? frames.size() : pages);
        EXPECT_EQ(memory.pinned_pages(), frames.size());
        EXPECT_EQ(dma_avail(), settings.dma_entry_limit - all.size());
    }

    PageSize page;
    host::Memory memory;
    LockSource source;
    host::OwnProcess process;
    Settings settings;
    Unit unit;
    Container container;
    bool in = false;

private:
    void expect_leads(iommu::Domain& domain, std::uint64_t iova, Vaddr vaddr, Prot prot)
    {
        auto const leaf = domain.walk(Iova{iova});
        ASSERT_TRUE(leaf) << std::hex << iova;
        ASSERT_EQ(leaf->prot, prot) << std::hex << iova;
        Paddr const paddr = leaf->paddr + (Iova{iova} - leaf->iova.start);
        ASSERT_EQ(memory.at(paddr), reinterpret_cast<std::byte*>(vaddr.raw())) << std::hex << iova;
    }
    static void expect_leaf(test::RawLeaf const& leaf, std::vector<Expected> const& all)
    {
        bool const inside = std::ranges::any_of(all, [&](Expected const& one) {
            return leaf.iova >= one.iova && leaf.iova + leaf.bytes <= one.iova + one.size &&
                   leaf.rights == static_cast<unsigned>(one.prot);
        });
        EXPECT_TRUE(inside) << "a leaf at " << std::hex << leaf.iova << " that nobody mapped";
    }
};

}  // namespace pinfold::type1
