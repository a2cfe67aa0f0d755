// Second readers of page tables: from raw words to a list of leaves, by the bit tables of the
// specifications and nothing of ours. They visit all of a table, where the engine walks to one
// address.
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

struct RawWord {
    enum class Kind : std::uint8_t { empty, table, leaf };
    Kind kind = Kind::empty;
    std::uint64_t address = 0;
    unsigned rights = 0;
    std::uint64_t bytes = 0;  // of a leaf
    bool well_formed = true;
};

// `height` is 1 for a table of the smallest leaves, `span` the bytes behind a slot of it. What a
// reader says of a leaf of several slots must be the same for each of them.

// VT-d second stage: VT-d specification, 9.10.
struct VtdReader {
    static constexpr unsigned kPageLg2 = 12;
    static constexpr unsigned kIndexLg2 = 9;

    static RawWord read(std::uint64_t word, unsigned height, std::uint64_t span)
    {
        RawWord raw;
        if (word % 4 == 0) return raw;
        raw.rights = static_cast<unsigned>(word % 4);
        raw.address = (word >> 12 << 24 >> 24) << 12;  // bits 51:12
        bool const last = height == 1 || (word >> 7) % 2 == 1;
        raw.kind = last ? RawWord::Kind::leaf : RawWord::Kind::table;
        raw.bytes = span;
        raw.well_formed = !last || (height <= 3 && raw.address % span == 0 && word >> 52 == 0);
        return raw;
    }
};

// AMD host page tables: AMD IOMMU specification, 2.2.3.
struct AmdReader {
    static constexpr unsigned kPageLg2 = 12;
    static constexpr unsigned kIndexLg2 = 9;

    static RawWord read(std::uint64_t word, unsigned height, std::uint64_t span)
    {
        RawWord raw;
        if (word % 2 == 0) return raw;
        raw.rights = static_cast<unsigned>((word >> 61) % 4);
        std::uint64_t const field = word << 12 >> 24 << 12;  // bits 51:12
        auto const next = static_cast<unsigned>((word >> 9) % 8);
        raw.address = field;
        raw.bytes = span;
        if (next != 0 && next != 7) {
            raw.kind = RawWord::Kind::table;
            raw.well_formed =
                next == height - 1 && raw.rights == 3 && (word & 0x9ff0'0000'0000'01fe) == 0;
            return raw;
        }
        raw.kind = RawWord::Kind::leaf;
        if (next == 7) {
            raw.bytes = 0x2000;
            for (unsigned bit = 12; (field >> bit) % 2 == 1; ++bit) raw.bytes *= 2;
            raw.address = field / raw.bytes * raw.bytes;
        }
        raw.well_formed = raw.address % raw.bytes == 0 && raw.bytes % span == 0 &&
                          raw.bytes / span < 512 && (next == 0 || raw.bytes > span) &&
                          (word & 0x9ff0'0000'0000'01fe) == 0x1000'0000'0000'0000;
        return raw;
    }
};

// Arm long descriptors, stage 1: Arm ARM, D8.3.
template <unsigned PageLg2>
struct ArmReader {
    static constexpr unsigned kPageLg2 = PageLg2;
    static constexpr unsigned kIndexLg2 = PageLg2 - 3;

    static RawWord read(std::uint64_t word, unsigned height, std::uint64_t span)
    {
        RawWord raw;
        if (word % 2 == 0) return raw;
        raw.address = word << 16 >> (16 + PageLg2) << PageLg2;  // bits 47 to the granule
        if (PageLg2 == 16) raw.address += (word >> 12) % 16 << 48;
        raw.bytes = span;
        bool const bit1 = (word >> 1) % 2 == 1;
        if (bit1 && height > 1) {
            raw.kind = RawWord::Kind::table;
            raw.rights = 3;
            raw.well_formed = word >> 48 == 0 && (word & 0xffc) == 0;
            return raw;
        }
        raw.kind = RawWord::Kind::leaf;
        raw.rights = (word >> 7) % 2 == 1 ? 1 : 3;
        // Not global, accessed, inner shareable, unprivileged, attributes 1.
        raw.well_formed = bit1 == (height == 1) && height <= (PageLg2 == 14 ? 2 : 3) &&
                          raw.address % span == 0 && word >> 48 == 0 && (word & 0xf7c) == 0xf44;
        return raw;
    }
};

// Arm long descriptors, stage 2, without the contiguous hint: Arm ARM, D8.3.
template <unsigned PageLg2>
struct ArmStage2Reader {
    static constexpr unsigned kPageLg2 = PageLg2;
    static constexpr unsigned kIndexLg2 = PageLg2 - 3;

    static RawWord read(std::uint64_t word, unsigned height, std::uint64_t span)
    {
        RawWord raw;
        if (word % 2 == 0) return raw;
        raw.address = word << 16 >> (16 + PageLg2) << PageLg2;
        if (PageLg2 == 16) raw.address += (word >> 12) % 16 << 48;
        raw.bytes = span;
        bool const bit1 = (word >> 1) % 2 == 1;
        if (bit1 && height > 1) {
            raw.kind = RawWord::Kind::table;
            raw.rights = 3;
            raw.well_formed = word >> 48 == 0 && (word & 0xffc) == 0;
            return raw;
        }
        raw.kind = RawWord::Kind::leaf;
        raw.rights = static_cast<unsigned>((word >> 6) % 4);  // S2AP
        // Accessed, inner shareable, normal memory that is cached on both sides.
        raw.well_formed = bit1 == (height == 1) && height <= (PageLg2 == 14 ? 2 : 3) &&
                          raw.address % span == 0 && word >> 48 == 0 && (word & 0xf3c) == 0x73c;
        return raw;
    }
};

// x86-64 with 4 or 5 levels: Intel SDM, volume 3, 4.5.
struct X86Reader {
    static constexpr unsigned kPageLg2 = 12;
    static constexpr unsigned kIndexLg2 = 9;

    static RawWord read(std::uint64_t word, unsigned height, std::uint64_t span)
    {
        RawWord raw;
        if (word % 2 == 0) return raw;
        raw.rights = (word >> 1) % 2 == 1 ? 3 : 1;
        raw.address = (word >> 12 << 24 >> 24) << 12;  // bits 51:12
        bool const last = height == 1 || (word >> 7) % 2 == 1;
        raw.kind = last ? RawWord::Kind::leaf : RawWord::Kind::table;
        raw.bytes = span;
        // The user's and accessed; a leaf that can be written is dirty, the others are not.
        bool const dirty = (word >> 6) % 2 == 1;
        raw.well_formed =
            (word & 0x24) == 0x24 && word >> 52 == 0 && (word & 0xf18) == 0 &&
            (!last || (height <= 3 && raw.address % span == 0 && dirty == (raw.rights == 3)));
        return raw;
    }
};

// RISC-V Sv39, Sv48 and Sv57 with Svnapot: privileged architecture, 12.3 and 12.6.
struct RiscvReader {
    static constexpr unsigned kPageLg2 = 12;
    static constexpr unsigned kIndexLg2 = 9;

    static RawWord read(std::uint64_t word, unsigned height, std::uint64_t span)
    {
        RawWord raw;
        if (word % 2 == 0) return raw;
        raw.address = (word << 10 >> 20) << 12;  // PPN, bits 53:10
        raw.bytes = span;
        auto const rights = static_cast<unsigned>((word >> 1) % 8);  // R, W, X
        if (rights == 0) {
            raw.kind = RawWord::Kind::table;
            raw.rights = 3;
            raw.well_formed = height > 1 && word >> 54 == 0 && (word & 0x3fe) == 0;
            return raw;
        }
        raw.kind = RawWord::Kind::leaf;
        raw.rights = rights % 4;
        bool const napot = word >> 63 == 1;
        if (napot) {
            raw.bytes = 0x10000;
            raw.well_formed = height == 1 && raw.address % 0x10000 == 0x8000;
            raw.address -= 0x8000;
        }
        // The user's and accessed; what is written can be read.
        raw.well_formed = raw.well_formed && raw.address % raw.bytes == 0 &&
                          (word & 0x50) == 0x50 && raw.rights != 2 && (word << 1 >> 55) == 0;
        return raw;
    }
};

template <class Reader>
void raw_walk_table(RawTree& tree, std::uint64_t page, unsigned height, std::uint64_t iova,
                    unsigned rights)
{
    ++tree.tables;
    auto const* words = reinterpret_cast<std::uint64_t const*>(page);
    std::uint64_t const span = std::uint64_t{1}
                               << (Reader::kPageLg2 + Reader::kIndexLg2 * (height - 1));
    for (std::uint64_t slot = 0; slot < 1U << Reader::kIndexLg2;) {
        RawWord const raw = Reader::read(words[slot], height, span);
        tree.well_formed = tree.well_formed && raw.well_formed;
        std::uint64_t slots = 1;
        if (raw.kind == RawWord::Kind::table) {
            raw_walk_table<Reader>(tree, raw.address, height - 1, iova + slot * span,
                                   rights & raw.rights);
        } else if (raw.kind == RawWord::Kind::leaf) {
            tree.leaves.push_back(
                {iova + slot * span, raw.bytes, raw.address, rights & raw.rights});
            slots = raw.bytes / span;
            for (std::uint64_t i = 1; i < slots; ++i)
                if (words[slot + i] != words[slot]) tree.well_formed = false;
        }
        slot += slots;
    }
}

template <class Reader = VtdReader>
RawTree raw_walk(std::uint64_t root, unsigned levels)
{
    RawTree tree;
    raw_walk_table<Reader>(tree, root, levels, 0, 3);
    return tree;
}

// The word that holds the translation of `iova`, or where the walk to it ends.
template <class Reader = VtdReader>
std::uint64_t& raw_word(std::uint64_t root, unsigned levels, std::uint64_t iova)
{
    std::uint64_t page = root;
    for (unsigned height = levels;; --height) {
        unsigned const shift = Reader::kPageLg2 + Reader::kIndexLg2 * (height - 1);
        std::uint64_t const slot = (iova >> shift) % (1U << Reader::kIndexLg2);
        auto& word = reinterpret_cast<std::uint64_t*>(page)[slot];
        RawWord const raw = Reader::read(word, height, std::uint64_t{1} << shift);
        if (raw.kind != RawWord::Kind::table || height == 1) return word;
        page = raw.address;
    }
}

}  // namespace pinfold::test
