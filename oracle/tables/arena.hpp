// The memory of the tables: a piece of the guest's RAM that this process has at the addresses where
// the guest has it, so that the words that the engine writes are, unchanged, those that the reader
// reads. A TableSource for one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "pagetable/table_source.hpp"

namespace pinfold::tables {

class Arena {
public:
    // `memory` holds zeroes and starts at a multiple of its size's largest table. Tables are of
    // 2^table_lg2 bytes or more.
    Arena(std::span<std::byte> memory, unsigned table_lg2)
        : memory_{memory}, table_lg2_{table_lg2}, infos_(memory.size() >> table_lg2)
    {
    }

    std::optional<pagetable::TableBlock> allocate(unsigned lg2);
    void free(Paddr first, Paddr last, std::uint64_t count, unsigned lg2);
    template <class Visit>
    void each(Visit&& visit)
    {
        for (std::uint64_t at = 0; at < used_; at += std::uint64_t{1} << table_lg2_)
            visit(start() + at, infos_[at >> table_lg2_]);
    }
    void* words(Paddr table) const;
    void* words_of_table(Paddr table) const { return words(table); }
    pagetable::TableInfo* info(Paddr table) const;
    std::uint64_t new_owner() { return ++owners_; }
    unsigned block_lg2() const { return table_lg2_; }

    // All that ever was a table.
    std::span<std::byte> used() const { return memory_.first(used_); }
    Paddr start() const { return Paddr{reinterpret_cast<std::uint64_t>(memory_.data())}; }

private:
    bool starts_table(Paddr table) const;

    std::span<std::byte> memory_;
    unsigned table_lg2_;
    mutable std::vector<pagetable::TableInfo> infos_;
    std::uint64_t used_ = 0;
    std::uint64_t owners_ = 0;
    std::map<unsigned, std::vector<Paddr>> free_;  // by log2 of the size
};

static_assert(pagetable::TableSource<Arena>);

}  // namespace pinfold::tables
