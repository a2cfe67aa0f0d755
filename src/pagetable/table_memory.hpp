// The hosted TableSource: one arena of address space, whose pages cost memory once they are used,
// also in a program that locks all of its memory. As a rule a table's paddr is the address of its
// words in this process; an arena can name its pages from another base, for formats that hold fewer
// bits or for a reader elsewhere.
//
// Thread safety: everything from any thread. Nothing waits.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/address.hpp"
#include "base/page_size.hpp"
#include "base/result.hpp"
#include "pagetable/table_source.hpp"

namespace pinfold::pagetable {

class TableMemory {
public:
    static constexpr std::uint64_t kUnlimited = ~std::uint64_t{0};

    struct Options {
        PageSize page;                      // of which tables are made
        std::uint64_t budget = kUnlimited;  // the most pages that may be in use at a time
        // Of the arena's first page, a multiple of 64 pages. nullopt: its address.
        std::optional<Paddr> base = std::nullopt;
        // The arena is smaller where address space is short. 64 GiB of 4 KiB tables map 32 TiB in
        // leaves of 4 KiB.
        std::uint64_t arena_bytes = std::uint64_t{64} << 30;
    };

    // ENOMEM: no address space.
    static Result<std::shared_ptr<TableMemory>> create(Options const& options);
    static Result<std::shared_ptr<TableMemory>> create(PageSize page, std::uint64_t budget)
    {
        return create({.page = page, .budget = budget});
    }
    ~TableMemory();
    TableMemory(TableMemory const&) = delete;
    TableMemory& operator=(TableMemory const&) = delete;

    // TableSource. nullopt: the budget or the arena is used up, or a block is larger than 64 pages.
    std::optional<TableBlock> allocate(unsigned lg2);
    void free(Paddr first, Paddr last, std::uint64_t count, unsigned lg2);
    void* words(Paddr table) const
    {
        return page_of(table) < accessible() ? words_of_table(table) : nullptr;
    }
    void* words_of_table(Paddr table) const
    {
        // NOLINTNEXTLINE(performance-no-int-to-ptr): an arena's addresses and paddrs differ by it
        return reinterpret_cast<void*>(table.raw() + to_words_);
    }
    TableInfo* info(Paddr table) const
    {
        std::uint64_t const page = page_of(table);
        return page < accessible() ? infos_ + page : nullptr;
    }
    std::uint64_t new_owner() { return owners_.fetch_add(1, std::memory_order_relaxed) + 1; }
    unsigned block_lg2() const { return page_.lg2(); }
    template <class Visit>
    void each(Visit&& visit)
    {
        std::uint32_t const end = untouched_.load(std::memory_order_acquire);
        for (std::uint32_t page = 0; page < end; ++page) visit(paddr_of(page), infos_[page]);
    }

    bool contains(Paddr table) const { return words(table) != nullptr; }
    std::uint64_t pages_in_use() const { return in_use_.load(std::memory_order_relaxed); }
    PageSize page_size() const { return page_; }
    // For tests that make allocations fail at a chosen moment.
    void set_budget(std::uint64_t pages) { budget_.store(pages, std::memory_order_relaxed); }
    // From the first page to the last that was ever used: what an image of the tables must hold.
    std::span<std::byte const> used() const;
    Paddr base() const { return Paddr{base_}; }

private:
    static constexpr unsigned kMaxOrder = 6;  // a block is at most 2^6 pages

    TableMemory(Options const& options, std::span<std::byte> mapping, std::uint64_t arena_bytes);

    Paddr paddr_of(std::uint32_t page) const
    {
        return Paddr{base_ + (std::uint64_t{page} << page_.lg2())};
    }
    // Not a page of the arena if `table` is outside it or inside a page: rotated, whatever is wrong
    // makes the number too large.
    std::uint64_t page_of(Paddr table) const
    {
        return std::rotr(table.raw() - base_, static_cast<int>(page_.lg2()));
    }
    // How many pages can be read and written: those that were handed out, or soon will be.
    std::uint64_t accessible() const { return accessible_.load(std::memory_order_relaxed); }
    std::optional<std::uint32_t> pop(unsigned order);
    void push(unsigned order, std::uint32_t first, std::uint32_t last);
    std::optional<std::uint32_t> take_untouched(unsigned order);
    bool make_accessible(std::uint64_t bytes);

    PageSize page_;
    std::span<std::byte> mapping_;  // the arena, and a TableInfo for each of its pages
    std::byte* arena_;
    std::uint64_t arena_bytes_;
    std::uint64_t base_;
    std::uint64_t to_words_;  // from a paddr to the address of its words, modulo 2^64
    TableInfo* infos_;

    std::atomic<std::uint64_t> budget_;
    std::atomic<std::uint64_t> in_use_{0};
    std::atomic<std::uint64_t> owners_{0};
    std::atomic<std::uint32_t> untouched_{0};  // the first page never handed out
    // Pages of the arena; behind them it is address space only.
    std::atomic<std::uint64_t> accessible_{0};
    // Free blocks by order, each a stack: the number of the first block, counted from 1, and above
    // it a count of the changes, so that a stack that changed twice is not taken for unchanged.
    std::array<std::atomic<std::uint64_t>, kMaxOrder + 1> free_{};
};

static_assert(TableSource<TableMemory>);

}  // namespace pinfold::pagetable
