// All that is done with one format: a table, its mappings, a boot that probes them, a look at what
// the reader did to the words, and a boot with broken words.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pinfold::tables {

struct Options {
    std::string format;
    std::uint64_t seed = 1;
    unsigned mappings = 400;
    std::vector<std::string> ram;
    std::uint64_t orders = 0;
    std::uint64_t arena = 0;
    std::uint64_t arena_bytes = 0;
};

void print_formats();
// Prints differences and, last, "result KEY=VALUE ...". Not 0: something differs, or nothing was
// compared.
int run(Options const& options);

}  // namespace pinfold::tables
