// A table under test: one of the engine's, of whatever format, in the guest's RAM.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/page_size.hpp"
#include "base/prot.hpp"
#include "base/range.hpp"

namespace pinfold::tables {

// A word of a table, as the walk to some IOVA meets it.
struct Step {
    std::uint64_t slot;  // its paddr, which is its address here
    unsigned word_bytes;
    unsigned level;  // 0: leaves only
    bool empty;
    bool table;  // neither of both: a leaf, or what no table may hold
    Paddr next;  // of a table: the word that comes next
};

// What the engine says about an IOVA.
struct Leaf {
    IovaRange iova;
    Paddr paddr;  // where iova.start leads
    Prot prot;
};

// Whether a device's writes are to be seen in the leaf's word, where the format leaves that to who
// maps.
enum class Tracked : bool { no, yes };

class Subject {
public:
    virtual ~Subject() = default;

    virtual unsigned levels() const = 0;
    virtual unsigned concatenated_lg2() const = 0;
    virtual Paddr root() const = 0;
    virtual IovaRange aperture() const = 0;
    virtual PageSizes page_sizes() const = 0;
    virtual unsigned paddr_bits() const = 0;
    // What a mapping with this permission allows, in this format.
    virtual Prot granted(Prot asked) const = 0;

    // Bytes that were mapped: fewer than asked if something is in the way.
    virtual std::uint64_t map(Iova iova, Paddr paddr, std::uint64_t size, Prot prot,
                              Tracked tracked) = 0;
    virtual std::uint64_t unmap(Iova iova, std::uint64_t size) = 0;
    virtual std::optional<Leaf> walk(Iova iova) const = 0;
    // The words on the way to `iova`, the root's first, the last of them empty, reserved or a leaf.
    virtual std::vector<Step> path(Iova iova) const = 0;

    // Whether the reader's writes through the leaf at `iova` show in its word.
    virtual bool shows_writes(Iova iova) const = 0;
    // As if the reader had written there.
    virtual void mark_written(Iova iova) = 0;
    // Leaves that were written since the last call, which then are not any more.
    virtual std::vector<IovaRange> take_dirty() = 0;
};

}  // namespace pinfold::tables
