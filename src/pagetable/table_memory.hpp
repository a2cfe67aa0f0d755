// The pages that page tables live in: one arena, whose pages are named by their own addresses, so
// that a table's words are found without a look-up. Every page in use belongs to a TableList, by
// links kept beside the arena: taking a page out of a tree or freeing a whole tree allocates
// nothing, fails never, and does not depend on what stands in the tables' words.
//
// Thread safety: allocate(), release() and the counts from any thread; a TableList, and move() on
// it, from one thread at a time; words() and contains() from any.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>

#include "base/address.hpp"
#include "base/page_size.hpp"
#include "base/result.hpp"
#include "pagetable/format.hpp"

namespace pinfold::pagetable {

// Pages of one TableMemory. Does not free them when it goes: see TableMemory::release().
class TableList {
public:
    TableList() = default;
    TableList(TableList const&) = delete;
    TableList& operator=(TableList const&) = delete;

    std::uint64_t pages() const { return pages_; }
    bool empty() const { return pages_ == 0; }

private:
    friend class TableMemory;
    std::uint32_t first_ = 0;  // a page's number, counted from 1; 0: none
    std::uint64_t pages_ = 0;
};

class TableMemory {
public:
    static constexpr std::uint64_t kUnlimited = ~std::uint64_t{0};

    // `budget` is the most pages that may be in use at a time. ENOMEM: no address space.
    static Result<std::shared_ptr<TableMemory>> create(PageSize page, std::uint64_t budget);
    ~TableMemory();
    TableMemory(TableMemory const&) = delete;
    TableMemory& operator=(TableMemory const&) = delete;

    // A zeroed page that belongs to `owner`. ENOMEM: the budget or the arena is used up.
    Result<Paddr> allocate(TableList& owner);
    // False, and nothing moves, if `table` is no page of `from`.
    bool move(Paddr table, TableList& from, TableList& to);
    // Frees all pages of `list`. REQUIRES: nobody reads them any more.
    void release(TableList& list);

    // Whether `table` is a page of the arena, in use or not: safe to read, whatever a raw word
    // says.
    bool contains(Paddr table) const
    {
        std::uint64_t const offset = table.raw() - arena_;
        return offset < arena_bytes_ && page_.aligned(offset);
    }
    bool owns(TableList const& list, Paddr table) const;
    // REQUIRES: contains(table).
    static Word* words(Paddr table)
    {
        // NOLINTNEXTLINE(performance-no-int-to-ptr): identity numbering
        return reinterpret_cast<Word*>(table.raw());
    }

    std::uint64_t pages_in_use() const;
    PageSize page_size() const { return page_; }
    // For tests that make allocations fail at a chosen moment.
    void set_budget(std::uint64_t pages);

private:
    struct Node {
        std::uint32_t next;
        std::uint32_t previous;
        std::atomic<TableList const*> list;  // nullptr: free
    };

    TableMemory(PageSize page, std::uint64_t budget, std::span<std::byte> mapping,
                std::uint64_t arena_bytes);

    std::uint32_t number_of(Paddr table) const;
    Paddr page_of(std::uint32_t number) const;
    Node& node(std::uint32_t number) const { return nodes_[number]; }
    void link(std::uint32_t number, TableList& list);
    void unlink(std::uint32_t number, TableList& list);
    Result<std::uint32_t> take_free();
    void populate(std::uint32_t number);

    PageSize page_;
    std::span<std::byte> mapping_;  // the arena, and a Node for each of its pages
    std::uint64_t arena_;
    std::uint64_t arena_bytes_;
    Node* nodes_;

    mutable std::mutex mutex_;  // guards what follows
    std::uint64_t budget_;
    std::uint64_t in_use_ = 0;
    std::uint32_t first_free_ = 0;
    std::uint32_t untouched_ = 1;  // the first page never handed out
};

}  // namespace pinfold::pagetable
