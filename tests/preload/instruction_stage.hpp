// Runs one instruction with every register of the machine chosen, at one address: first on plain
// memory, then with the two pages in the middle of it being a device's. What differs is an error.
//
//   plain | device | device | plain        and nothing mapped for half a GiB around
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

namespace pinfold::preload::test {

inline constexpr std::size_t kPage = 4096;
inline constexpr std::size_t kPages = 4;

struct alignas(64) Registers {
    std::array<std::uint64_t, 16> general;  // in their encoding's order; rsp is always the stage's
    std::uint64_t flags;
    alignas(64) std::array<std::uint8_t, 4096> vectors;  // an XSAVE area
};

// How a device was accessed.
struct BusAccess {
    std::size_t offset;  // from the first device page
    unsigned width;
    bool write;
    bool operator==(BusAccess const&) const = default;
};

struct Outcome {
    Registers registers;
    std::array<std::uint8_t, kPages * kPage> memory;
    int signal = 0;        // what the instruction died of
    bool refused = false;  // it was not carried out
    std::vector<BusAccess> accesses;
};

class Stage {
public:
    Stage();
    ~Stage();
    Stage(Stage const&) = delete;
    Stage& operator=(Stage const&) = delete;

    // The first device page.
    static std::uint8_t* device();
    // The four pages.
    static std::uint8_t* memory();
    // Registers with random contents: rdi at the device's middle, r9 small, floating point as a
    // program starts with it.
    static Registers registers(std::mt19937_64& random);

    // Where the code stands when it runs; an instruction may address memory from here.
    static std::uint8_t const* code();

    // Runs `code` (one instruction) from `start`, with the memory filled from `seed`.
    Outcome on_memory(std::span<std::uint8_t const> code, Registers const& start, unsigned seed);
    Outcome on_device(std::span<std::uint8_t const> code, Registers const& start, unsigned seed);

    // From now on the device's memory has these bytes at `at` when an instruction begins.
    void put(std::size_t at, std::vector<std::uint8_t> bytes);
    // The bus refuses every access from now on.
    void refuse_accesses(bool refuse);
    // The mapping of the device is for reading only.
    void read_only(bool only);
};

// What differs, in words; empty: nothing. Where x87 found its last instruction is not compared, and
// of the flags only those in `flags`: some instructions leave some undefined.
std::string difference(Outcome const& one, Outcome const& other,
                       std::uint64_t flags = ~std::uint64_t{0});

}  // namespace pinfold::preload::test
