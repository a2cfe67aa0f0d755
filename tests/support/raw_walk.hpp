// A second reader of VT-d second-stage tables: from raw words to a list of leaves, by the bit table
// of the VT-d specification (9.10) and nothing of ours. It visits all of a table, where the engine
// walks to one address.
#pragma once

#include <cstdint>
#include <vector>

namespace pinfold::test {

struct RawLeaf {
    std::uint64_t iova;
    std::uint64_t bytes;
    std::uint64_t paddr;
    unsigned rights;  // bit 0 read, bit 1 write, ANDed down from the root

    bool operator==(RawLeaf const&) const = default;
};

struct RawTree {
    std::vector<RawLeaf> leaves;  // in the order of their iovas
    std::uint64_t tables = 0;
    bool well_formed = true;  // no reserved bit is set
};

// `height` is 1 for a table of 4 KiB leaves. Pages are read at the address that a word names.
inline void raw_walk_table(RawTree& tree, std::uint64_t page, unsigned height, std::uint64_t iova,
                           unsigned rights)
{
    ++tree.tables;
    auto const* words = reinterpret_cast<std::uint64_t const*>(page);
    std::uint64_t const span = 4096ULL << (9 * (height - 1));
    for (int slot = 0; slot < 512; ++slot, iova += span) {
        std::uint64_t const word = words[slot];
        unsigned const here = rights & static_cast<unsigned>(word % 4);
        if (word % 4 == 0) continue;
        std::uint64_t const address = (word >> 12 << 24 >> 24) << 12;  // bits 51:12
        bool const last = height == 1 || (word >> 7) % 2 == 1;
        if (!last) {
            raw_walk_table(tree, address, height - 1, iova, here);
        } else {
            if (height > 3 || address % span != 0 || word >> 52 != 0) tree.well_formed = false;
            tree.leaves.push_back({iova, span, address, here});
        }
    }
}

inline RawTree raw_walk(std::uint64_t root, unsigned levels)
{
    RawTree tree;
    raw_walk_table(tree, root, levels, 0, 3);
    return tree;
}

// The word that holds the translation of `iova`, or where the walk to it ends.
inline std::uint64_t& raw_word(std::uint64_t root, unsigned levels, std::uint64_t iova)
{
    std::uint64_t page = root;
    for (unsigned height = levels;; --height) {
        auto& word = reinterpret_cast<std::uint64_t*>(page)[(iova >> (3 + 9 * height)) % 512];
        if (height == 1 || word % 4 == 0 || (word >> 7) % 2 == 1) return word;
        page = (word >> 12 << 24 >> 24) << 12;
    }
}

}  // namespace pinfold::test
