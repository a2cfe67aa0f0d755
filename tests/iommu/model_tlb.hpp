// A translation cache as hardware may have it at worst: it keeps leaves by their exact size or
// fractured into pages, and pointers to tables, until a command of the unit's own that covers them
// has been completed. Whatever of it the raw tables no longer bear out when an unmap has been
// synced is a translation that has outlived it.
//
// Commands are decoded here from the specifications, by nothing of ours.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <optional>
#include <vector>

#include "iommu/invalidation.hpp"
#include "support/raw_walk.hpp"

namespace pinfold::test {

// What a command lets go of.
struct Told {
    enum class Kind : std::uint8_t { pages, complete, unknown };
    Kind kind = Kind::unknown;
    std::uint64_t first = 0, last = 0;
    bool tables = false;
    bool whole_entries = true;  // an entry that is larger than the range stays
    unsigned leaf_level = 0;    // only leaves of this level; 0: any
    unsigned granule_lg2 = 0;   // only entries of tables of this granule; 0: any
};

// VT-d specification, 6.5.2.3 and 6.5.2.8.
struct VtdCommands {
    static Told read(std::uint64_t low, std::uint64_t high)
    {
        if (low % 16 == 5) return {.kind = Told::Kind::complete};
        if (low % 16 != 2) return {};
        if ((low >> 4) % 4 == 2) return {Told::Kind::pages, 0, ~std::uint64_t{0}, true};
        if ((low >> 4) % 4 != 3) return {};
        std::uint64_t const bytes = std::uint64_t{0x1000} << high % 64;
        std::uint64_t const first = high / 0x1000 * 0x1000 / bytes * bytes;
        return {Told::Kind::pages, first, first + bytes - 1, (high >> 6) % 2 == 0};
    }
};

// AMD IOMMU specification, 2.4.1 and 2.4.3.
struct AmdCommands {
    static Told read(std::uint64_t low, std::uint64_t high)
    {
        if (low >> 60 == 1) return {.kind = Told::Kind::complete};
        if (low >> 60 != 3) return {};
        unsigned bit = 12;
        if (high % 2 == 1) {
            while (bit < 63 && (high >> bit) % 2 == 1) ++bit;
            ++bit;
        }
        if (bit > 63) return {Told::Kind::pages, 0, ~std::uint64_t{0}, (high >> 1) % 2 == 1};
        std::uint64_t const first = high >> bit << bit;
        return {Told::Kind::pages, first, first + (std::uint64_t{1} << bit) - 1,
                (high >> 1) % 2 == 1};
    }
};

// SMMUv3 specification, 4.4.1 and 4.7.3.
struct SmmuCommands {
    static Told read(std::uint64_t low, std::uint64_t high)
    {
        std::uint64_t const opcode = low % 256;
        if (opcode == 0x46) return {.kind = Told::Kind::complete};
        if (opcode == 0x11) return {Told::Kind::pages, 0, ~std::uint64_t{0}, true};
        if (opcode != 0x12) return {};
        std::uint64_t const granule_code = (high >> 10) % 4;
        auto const level = static_cast<unsigned>((high >> 8) % 4);
        std::uint64_t const number = (low >> 12) % 32;
        std::uint64_t const scale = (low >> 20) % 32;
        bool const leaves_only = high % 2 == 1;
        std::uint64_t const first = high / 0x1000 * 0x1000;
        std::uint64_t last = first;
        auto const granule_lg2 = static_cast<unsigned>(10 + 2 * granule_code);
        if (granule_code != 0) {
            if (number == 0 && scale == 0 && level == 0 && !leaves_only) return {};  // reserved
            last = first + ((number + 1) << (scale + granule_lg2)) - 1;
        }
        return {Told::Kind::pages,
                first,
                last,
                !leaves_only,
                false,
                level,
                granule_code == 0 ? 0 : granule_lg2};
    }
};

template <class Reader, class Commands>
class ModelTlb final : public iommu::CommandQueue {
public:
    void submit(iommu::Command const& command) override
    {
        ++commands_;
        if (drop_ && *drop_ == commands_) return;
        Told told = Commands::read(command.words[0], command.words[1]);
        if (told.kind == Told::Kind::unknown) ++unknown_;
        if (leaves_only_) told.tables = false;
        if (told.kind == Told::Kind::pages) pending_.push_back(told);
        if (told.kind != Told::Kind::complete) return;
        for (Told const& one : pending_) apply(one);
        pending_.clear();
    }

    // A device reads at `iova`. `fractured`: what a leaf says is kept for its page only.
    void access(std::uint64_t root, unsigned levels, std::uint64_t iova, bool fractured)
    {
        Path const path = walk(root, levels, iova);
        for (Table const& table : path.tables) tables_.push_back(table);
        if (!path.leaf) return;
        Leaf leaf = *path.leaf;
        if (fractured) {
            std::uint64_t const page = std::uint64_t{1} << Reader::kPageLg2;
            leaf.paddr += iova / page * page - leaf.iova;
            leaf.iova = iova / page * page;
            leaf.bytes = page;
        }
        leaves_.push_back(leaf);
    }

    // How many entries the tables no longer bear out.
    unsigned stale(std::uint64_t root, unsigned levels) const
    {
        unsigned count = 0;
        for (Leaf const& leaf : leaves_) {
            Path const path = walk(root, levels, leaf.iova);
            bool const borne_out =
                path.leaf && leaf.paddr - path.leaf->paddr == leaf.iova - path.leaf->iova &&
                leaf.iova + (leaf.bytes - 1) <= path.leaf->iova + (path.leaf->bytes - 1);
            count += borne_out ? 0 : 1;
        }
        for (Table const& table : tables_) {
            bool found = false;
            for (Table const& now : walk(root, levels, table.first).tables)
                found = found || (now.address == table.address && now.height == table.height);
            count += found ? 0 : 1;
        }
        return count;
    }

    std::size_t entries() const { return leaves_.size() + tables_.size(); }
    // Leaves that translate `iova`.
    std::size_t entries_at(std::uint64_t iova) const
    {
        return static_cast<std::size_t>(std::ranges::count_if(leaves_, [&](Leaf const& leaf) {
            return leaf.iova <= iova && iova - leaf.iova < leaf.bytes;
        }));
    }
    unsigned commands() const { return commands_; }
    unsigned unknown() const { return unknown_; }

    // Faults of the unit: the n-th command from the start is lost; pointers to tables are kept
    // whatever is said.
    void drop(unsigned n) { drop_ = n; }
    void keep_tables() { leaves_only_ = true; }

private:
    struct Leaf {
        std::uint64_t iova, bytes, paddr;
        unsigned level;  // Arm's: 3 for the smallest
    };
    struct Table {
        std::uint64_t first, last;  // what it translates
        std::uint64_t address;
        unsigned height;
    };
    struct Path {
        std::vector<Table> tables;  // but for the root
        std::optional<Leaf> leaf;
    };

    static Path walk(std::uint64_t root, unsigned levels, std::uint64_t iova)
    {
        Path path;
        std::uint64_t page = root;
        for (unsigned height = levels; height > 0; --height) {
            unsigned const lg2 = Reader::span_lg2(height);
            std::uint64_t const slot =
                (iova >> lg2) % (std::uint64_t{1} << Reader::slots_lg2(height));
            std::uint64_t const word = reinterpret_cast<std::uint64_t const*>(page)[slot];
            RawWord const raw = Reader::read(word, height, std::uint64_t{1} << lg2);
            if (raw.kind == RawWord::Kind::empty) return path;
            std::uint64_t const span = std::uint64_t{1} << lg2;
            std::uint64_t const first = iova / span * span;
            if (raw.kind == RawWord::Kind::leaf) {
                std::uint64_t const start = iova / raw.bytes * raw.bytes;
                path.leaf = Leaf{start, raw.bytes, raw.address, 4 - height};
                return path;
            }
            path.tables.push_back({first, first + (span - 1), raw.address, height - 1});
            page = raw.address;
        }
        return path;
    }

    void apply(Told const& told)
    {
        if (told.granule_lg2 != 0 && told.granule_lg2 != Reader::kPageLg2) return;
        std::erase_if(leaves_, [&](Leaf const& leaf) {
            std::uint64_t const last = leaf.iova + (leaf.bytes - 1);
            if (told.leaf_level != 0 && told.leaf_level != leaf.level) return false;
            if (told.whole_entries) return told.first <= leaf.iova && last <= told.last;
            return leaf.iova <= told.last && told.first <= last;
        });
        if (!told.tables) return;
        std::erase_if(tables_, [&](Table const& table) {
            return table.first <= told.last && told.first <= table.last;
        });
    }

    std::vector<Leaf> leaves_;
    std::vector<Table> tables_;
    std::vector<Told> pending_;
    std::optional<unsigned> drop_;
    bool leaves_only_ = false;
    unsigned commands_ = 0;
    unsigned unknown_ = 0;
};

}  // namespace pinfold::test
