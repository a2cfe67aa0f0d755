// The guest's RAM: files that QEMU and this program map both. A Paddr here is a guest-physical
// address. Parts of it are taken (the guest's program, the orders, the tables); the rest holds the
// bytes that probes read and write.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "base/range.hpp"

namespace pinfold::tables {

using Random = std::mt19937_64;

// A number below `bound`, which is not 0.
std::uint64_t below(Random& random, std::uint64_t bound);

class Ram {
public:
    // A piece of RAM and where in a file it is: "FILE,PADDR,BYTES,OFFSET".
    struct Piece {
        int file;
        PaddrRange range;
        std::uint64_t offset;
    };

    Ram() = default;
    ~Ram();
    Ram(Ram const&) = delete;
    Ram& operator=(Ram const&) = delete;

    // False: no such file, or no numbers.
    bool add(std::string const& description);
    // No probe goes there.
    void take(PaddrRange range) { taken_.push_back(range); }

    // Maps RAM into this process, at the address of the same number if `same_address`. Empty: it
    // cannot be.
    enum class Where : bool { anywhere, same_address };
    std::span<std::byte> map(PaddrRange range, Where where) const;

    bool exists(Paddr paddr) const { return piece(paddr) != nullptr; }
    bool taken(Paddr paddr) const;
    bool free(Paddr paddr) const { return exists(paddr) && !taken(paddr); }
    // Anywhere in RAM, each piece alike, a multiple of 8.
    Paddr any_place(Random& random) const;
    // The part of `range` that is in one piece of RAM, chosen at random. nullopt: none is.
    std::optional<PaddrRange> any_part(Random& random, PaddrRange range) const;

    // REQUIRES: exists(paddr), a multiple of 8.
    std::uint64_t read(Paddr paddr) const;
    void write(Paddr paddr, std::uint64_t value);

private:
    Piece const* piece(Paddr paddr) const;

    std::vector<Piece> pieces_;
    std::vector<PaddrRange> taken_;
    std::vector<int> files_;
};

}  // namespace pinfold::tables
