// Where a radix table gets the memory for its tables: what the engine asks of an allocator, and
// what it keeps about each table beside the table's words.
#pragma once

#include <atomic>
#include <concepts>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/address.hpp"

namespace pinfold::pagetable {

// Kept by the source for each place where a table can start; TableMarks says what the engine writes
// there. A walk never looks here: it follows the words. What a map or an unmap may write is decided
// here, so whatever a raw word says, they touch no table but their own.
struct TableInfo {
    std::atomic<std::uint64_t> tag{0};  // 0: nobody's table
    // Of a table in a list, the paddr of the next one; of a free block, the source's.
    std::atomic<std::uint64_t> link{0};
};

// A table's paddr is what stands in the words that lead to it: a source decides how it relates to
// the address of the words.
template <class S>
concept TableSource =
    requires(S& source, S const& constant, Paddr table, unsigned lg2, std::uint64_t count) {
        // 2^lg2 bytes that start at a multiple of that, with info().tag 0. nullopt: none is left.
        // From any thread where several map.
        { source.allocate(lg2)->paddr } -> std::convertible_to<Paddr>;
        { source.allocate(lg2)->zeroed } -> std::convertible_to<bool>;  // known to hold zeroes only
        // Takes back `count` blocks, each from allocate(lg2), linked from the first to the last by
        // info().link. Nobody reads them any more.
        source.free(table, table, count, lg2);
        // Calls a function with the paddr and the TableInfo of each place where a table can start
        // and one may ever have stood.
        source.each([](Paddr, TableInfo&) {});

        // Of whatever may stand in a raw word; nullptr: no table can start there. The words are
        // safe to read, as many as fill the smallest block, in use or not.
        { constant.words(table) } -> std::convertible_to<void*>;
        { constant.info(table) } -> std::same_as<TableInfo*>;
        // A number from 1 to 2^48 - 1 that it has not given before.
        { source.new_owner() } -> std::same_as<std::uint64_t>;
        // The same, of a table that has an info.
        { constant.words_of_table(table) } -> std::convertible_to<void*>;
        // The largest lg2 of which any number of blocks may be asked for.
        { constant.block_lg2() } -> std::convertible_to<unsigned>;
    };

struct TableBlock {
    Paddr paddr;
    bool zeroed;

    bool operator==(TableBlock const&) const = default;
};

// Tables taken out of their tree and not freed yet. Belongs to the call, or the thread, that took
// them out; freed by Radix::release(), and with the tree at the latest.
class RetiredTables {
public:
    RetiredTables() = default;
    // As it was taken apart by first() and count(), for keeping it in a structure of somebody else.
    RetiredTables(Paddr first, std::uint64_t count) : first_{first}, count_{count} {}
    RetiredTables(RetiredTables const&) = delete;
    RetiredTables& operator=(RetiredTables const&) = delete;
    RetiredTables(RetiredTables&& other) noexcept
        : first_{other.first_}, count_{std::exchange(other.count_, 0)}
    {
    }
    RetiredTables& operator=(RetiredTables&& other) noexcept
    {
        std::swap(first_, other.first_);
        std::swap(count_, other.count_);
        return *this;
    }

    bool empty() const { return count_ == 0; }
    Paddr first() const { return first_; }
    // Those below them not counted.
    std::uint64_t count() const { return count_; }

    // For the engine.
    void push(Paddr table, TableInfo& info)
    {
        info.link.store(first_.raw(), std::memory_order_relaxed);
        first_ = table;
        ++count_;
    }
    // nullopt: it is empty.
    template <class Source>
    std::optional<Paddr> pop(Source const& source)
    {
        if (count_ == 0) return std::nullopt;
        --count_;
        Paddr const next{source.info(first_)->link.load(std::memory_order_relaxed)};
        return std::exchange(first_, next);
    }

private:
    Paddr first_{};  // of no meaning if there are none
    std::uint64_t count_ = 0;
};

}  // namespace pinfold::pagetable
