// Second readers of page tables: from raw words to a list of leaves, by the bit tables of the
// specifications and nothing of ours. They visit all of a table, where the engine walks to one
// address.
#pragma once

#include <cstdint>
#include <span>
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
    std::uint64_t table_bytes = 0;
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

// Tables of one page each, alike on every level, of 64-bit words.
template <unsigned PageLg2>
struct PageTables {
    using Word = std::uint64_t;
    static constexpr unsigned kPageLg2 = PageLg2;
    static constexpr unsigned slots_lg2(unsigned) { return PageLg2 - 3; }
    static constexpr unsigned span_lg2(unsigned height)
    {
        return PageLg2 + (PageLg2 - 3) * (height - 1);
    }
};

// What Intel's CPUs and IOMMUs have in common, for a word that is not empty.
inline RawWord intel_word(std::uint64_t word, unsigned height, std::uint64_t span, unsigned rights)
{
    RawWord raw;
    bool const last = height == 1 || (word >> 7) % 2 == 1;
    raw.kind = last ? RawWord::Kind::leaf : RawWord::Kind::table;
    raw.address = (word >> 12 << 24 >> 24) << 12;  // bits 51:12
    raw.rights = rights;
    raw.bytes = span;
    raw.well_formed = !last || (height <= 3 && raw.address % span == 0 && word >> 52 == 0);
    return raw;
}

// VT-d second stage: VT-d specification, 9.10.
struct VtdReader : PageTables<12> {
    static RawWord read(std::uint64_t word, unsigned height, std::uint64_t span)
    {
        return word % 4 == 0 ? RawWord{}
                             : intel_word(word, height, span, static_cast<unsigned>(word % 4));
    }
};

// x86-64 with 4 or 5 levels: Intel SDM, volume 3, 4.5.
struct X86Reader : PageTables<12> {
    static RawWord read(std::uint64_t word, unsigned height, std::uint64_t span)
    {
        if (word % 2 == 0) return {};
        RawWord raw = intel_word(word, height, span, (word >> 1) % 2 == 1 ? 3 : 1);
        // The user's and accessed; a leaf that can be written is dirty, the others are not.
        bool const dirty = (word >> 6) % 2 == 1;
        bool const leaf = raw.kind == RawWord::Kind::leaf;
        raw.well_formed = raw.well_formed && (word & 0x24) == 0x24 && word >> 52 == 0 &&
                          (word & 0xf18) == 0 && (!leaf || dirty == (raw.rights == 3));
        return raw;
    }
};

// AMD host page tables: AMD IOMMU specification, 2.2.3.
struct AmdReader : PageTables<12> {
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

// What the two stages of Arm's long descriptors have in common: Arm ARM, D8.3. `rights` and
// `attributes_hold` are of a leaf.
template <unsigned PageLg2>
RawWord arm_word(std::uint64_t word, unsigned height, std::uint64_t span, unsigned rights,
                 bool attributes_hold)
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
    raw.rights = rights;
    raw.well_formed = bit1 == (height == 1) && height <= (PageLg2 == 14 ? 2 : 3) &&
                      raw.address % span == 0 && word >> 48 == 0 && attributes_hold;
    return raw;
}

// Stage 1: not global, accessed, inner shareable, unprivileged, attributes 1.
template <unsigned PageLg2>
struct ArmReader : PageTables<PageLg2> {
    static RawWord read(std::uint64_t word, unsigned height, std::uint64_t span)
    {
        return arm_word<PageLg2>(word, height, span, (word >> 7) % 2 == 1 ? 1 : 3,
                                 (word & 0xf7c) == 0xf44);
    }
};

// Stage 2, without the contiguous hint: accessed, inner shareable, normal memory that is cached on
// both sides. The rights are S2AP.
template <unsigned PageLg2>
struct ArmStage2Reader : PageTables<PageLg2> {
    static RawWord read(std::uint64_t word, unsigned height, std::uint64_t span)
    {
        return arm_word<PageLg2>(word, height, span, static_cast<unsigned>((word >> 6) % 4),
                                 (word & 0xf3c) == 0x73c);
    }
};

// Arm short descriptors: Arm ARM (ARMv7-A), B3.5.1 and, with the access flag, B3.7.1.
struct V7sReader {
    using Word = std::uint32_t;
    static constexpr unsigned kPageLg2 = 12;
    static constexpr unsigned slots_lg2(unsigned height) { return height == 1 ? 8 : 12; }
    static constexpr unsigned span_lg2(unsigned height) { return height == 1 ? 12 : 20; }

    static RawWord read(std::uint64_t word, unsigned height, std::uint64_t)
    {
        return height == 2 ? first_level(word) : second_level(word);
    }

private:
    static RawWord first_level(std::uint64_t word)
    {
        RawWord raw;
        auto const type = word % 4;
        if (type == 0) return raw;
        if (type == 1) {
            raw.kind = RawWord::Kind::table;
            raw.address = word >> 10 << 10;
            raw.rights = 3;
            raw.well_formed = (word & 0x3fc) == 0;  // secure, domain 0
            return raw;
        }
        bool const supersection = (word >> 18) % 2 == 1;
        raw.kind = RawWord::Kind::leaf;
        raw.bytes = supersection ? 1U << 24 : 1U << 20;
        raw.address = word / raw.bytes * raw.bytes;
        raw.rights = rights((word >> 10) % 4, (word >> 15) % 2);
        // No PXN and domain 0, or no paddr beyond 32 bits; secure, shared, not global.
        raw.well_formed =
            type == 2 && (word & 0xb'03e0) == 0x3'0000 && (!supersection || (word >> 20) % 16 == 0);
        return raw;
    }
    static RawWord second_level(std::uint64_t word)
    {
        RawWord raw;
        auto const type = word % 4;
        if (type == 0) return raw;
        raw.kind = RawWord::Kind::leaf;
        raw.bytes = type == 1 ? 0x1'0000 : 0x1000;
        raw.address = word / raw.bytes * raw.bytes;
        raw.rights = rights((word >> 4) % 4, (word >> 9) % 2);
        // Shared, not global; of a large page, nothing where a small one has its TEX.
        raw.well_formed = (word & 0xc00) == 0xc00 && (type != 1 || (word & 0x1c0) == 0);
        return raw;
    }
    // AP[0] is the access flag, AP[1] lets the unprivileged in, AP[2] forbids writing.
    static unsigned rights(std::uint64_t access, std::uint64_t read_only)
    {
        if (access != 3) return 0;
        return read_only == 1 ? 1 : 3;
    }
};

// RISC-V Sv39, Sv48 and Sv57 with Svnapot: privileged architecture, 12.3 and 12.6.
struct RiscvReader : PageTables<12> {
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

// Where a table's words are, for who keeps tables at their paddrs.
struct AtItsPaddr {
    void* operator()(std::uint64_t paddr) const { return reinterpret_cast<void*>(paddr); }
};

template <class Reader, class Where>
void raw_walk_table(RawTree& tree, Where const& where, std::uint64_t table, unsigned height,
                    std::uint64_t iova, unsigned rights)
{
    using Word = typename Reader::Word;
    std::span const words{static_cast<Word const*>(where(table)),
                          std::size_t{1} << Reader::slots_lg2(height)};
    tree.table_bytes += words.size_bytes();
    std::uint64_t const span = std::uint64_t{1} << Reader::span_lg2(height);
    for (std::uint64_t slot = 0; slot < words.size();) {
        RawWord const raw = Reader::read(words[slot], height, span);
        tree.well_formed = tree.well_formed && raw.well_formed;
        std::uint64_t slots = 1;
        if (raw.kind == RawWord::Kind::table) {
            raw_walk_table<Reader>(tree, where, raw.address, height - 1, iova + slot * span,
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

template <class Reader = VtdReader, class Where = AtItsPaddr>
RawTree raw_walk(std::uint64_t root, unsigned levels, Where const& where = {})
{
    RawTree tree;
    raw_walk_table<Reader>(tree, where, root, levels, 0, 3);
    return tree;
}

// The word that holds the translation of `iova`, or where the walk to it ends.
template <class Reader = VtdReader>
typename Reader::Word& raw_word(std::uint64_t root, unsigned levels, std::uint64_t iova)
{
    std::uint64_t table = root;
    for (unsigned height = levels;; --height) {
        unsigned const lg2 = Reader::span_lg2(height);
        std::uint64_t const slot = (iova >> lg2) % (std::uint64_t{1} << Reader::slots_lg2(height));
        auto& word = reinterpret_cast<typename Reader::Word*>(table)[slot];
        RawWord const raw = Reader::read(word, height, std::uint64_t{1} << lg2);
        if (raw.kind != RawWord::Kind::table || height == 1) return word;
        table = raw.address;
    }
}

}  // namespace pinfold::test
