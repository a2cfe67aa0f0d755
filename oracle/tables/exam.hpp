// One boot of a guest: the orders go into its RAM, whoever started this program boots it, and its
// answers are compared.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "plan.hpp"
#include "ram.hpp"
#include "readers.hpp"

namespace pinfold::tables {

// Probes over tables in which one word is changed, or none (slot nullptr).
struct Pass {
    std::uint64_t word = 0;  // paddr of eight bytes
    std::uint64_t flip = 0;
    std::vector<Planned> planned;
};

// A probe and what became of it.
struct Finding {
    Planned planned;
    Seen seen;
    bool agrees;
    std::string difference;  // empty if it agrees
};

class Exam {
public:
    // `orders` is the guest's RAM of the orders, at `paddr`.
    Exam(Ram& ram, Reader const& reader, Paddr paddr, std::span<std::byte> orders)
        : ram_{&ram}, reader_{&reader}, paddr_{paddr}, orders_{orders}
    {
    }

    static constexpr std::uint64_t kBytes = std::uint64_t{64} << 20;
    // A page at the end of the orders for the reader's own use.
    static constexpr std::uint64_t kWindow = kBytes - (std::uint64_t{1} << 20);

    // The findings of each pass. Empty: the guest did not come to the end.
    std::vector<std::vector<Finding>> run(std::uint64_t const (&settings)[8],
                                          std::vector<Pass> const& passes);

private:
    ::orders& write(std::uint64_t const (&settings)[8], std::vector<Pass> const& passes);
    Finding judge(Planned const& planned, ::answer const& answer) const;
    Seen see(Planned const& planned, ::answer const& answer) const;
    bool reached(Planned const& planned, ::answer const& answer) const;

    Ram* ram_;
    Reader const* reader_;
    Paddr paddr_;
    std::span<std::byte> orders_;
};

}  // namespace pinfold::tables
