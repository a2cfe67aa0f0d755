// A radix page table with memory of its own or shared: what Radix (radix_core.hpp) is, on
// TableMemory.
#pragma once

#include <memory>
#include <utility>

#include "pagetable/radix_core.hpp"
#include "pagetable/table_memory.hpp"

namespace pinfold::pagetable {

// Goes after the table that needs it.
struct SharedMemory {
    std::shared_ptr<TableMemory> memory;
};

template <PageTableFormat F>
class RadixTable final : private SharedMemory, public Radix<F, TableMemory> {
public:
    // ENOMEM: no page for the root. REQUIRES: as Radix(); memory's pages hold a table.
    static Result<std::unique_ptr<RadixTable>> create(std::shared_ptr<TableMemory> memory,
                                                      Shape<F> const& shape)
    {
        std::unique_ptr<RadixTable> table{new RadixTable{std::move(memory), shape}};
        if (!table->ready()) return fail(Errno::nomem);
        return table;
    }

private:
    RadixTable(std::shared_ptr<TableMemory> source, Shape<F> const& shape)
        : SharedMemory{std::move(source)}, Radix<F, TableMemory>{*memory, shape}
    {
    }
};

}  // namespace pinfold::pagetable
