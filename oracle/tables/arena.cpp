#include "arena.hpp"

namespace pinfold::tables {

std::optional<pagetable::TableBlock> Arena::allocate(unsigned lg2)
{
    if (auto& blocks = free_[lg2]; !blocks.empty()) {
        Paddr const paddr = blocks.back();
        blocks.pop_back();
        return pagetable::TableBlock{paddr, false};
    }
    std::uint64_t const bytes = std::uint64_t{1} << lg2;
    std::uint64_t const at = (used_ + bytes - 1) & ~(bytes - 1);
    if (at > memory_.size() || memory_.size() - at < bytes) return std::nullopt;
    used_ = at + bytes;
    return pagetable::TableBlock{start() + at, true};
}

void Arena::free(Paddr first, Paddr, std::uint64_t count, unsigned lg2)
{
    for (Paddr table = first; count != 0; --count) {
        Paddr const next{info(table)->link.load(std::memory_order_relaxed)};
        free_[lg2].push_back(table);
        table = next;
    }
}

bool Arena::starts_table(Paddr table) const
{
    std::uint64_t const offset = table.raw() - start().raw();
    return offset < memory_.size() && (offset & ((std::uint64_t{1} << table_lg2_) - 1)) == 0;
}

void* Arena::words(Paddr table) const
{
    return starts_table(table) ? memory_.data() + (table - start()) : nullptr;
}

pagetable::TableInfo* Arena::info(Paddr table) const
{
    return starts_table(table) ? &infos_[(table - start()) >> table_lg2_] : nullptr;
}

}  // namespace pinfold::tables
