// Builds random tables of one format in a guest's RAM, has a reader walk them, and compares.
// Started by ./dev oracle tables, which boots the guest whenever this program says so.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "session.hpp"
#include "written.hpp"

namespace {

// A line for each format: its name, words, differences and the first of them.
int print_written()
{
    bool same = true;
    for (auto const& result : pinfold::tables::compare_with_written()) {
        fmt::print("{} {} {} {}\n", result.format, result.words, result.differences,
                   result.first_difference);
        same = same && result.words > 0 && result.differences == 0;
    }
    return same ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv)
{
    CLI::App app{"Random page tables for a reader in a guest, and the comparison"};
    pinfold::tables::Options options;
    bool list = false;
    bool written = false;
    app.add_flag("--list", list, "name the formats and their guests");
    app.add_flag("--written", written, "compare the encoders with the specifications' bit tables");
    app.add_option("--format", options.format);
    app.add_option("--seed", options.seed);
    app.add_option("--mappings", options.mappings);
    app.add_option("--ram", options.ram, "FILE,PADDR,BYTES,OFFSET; numbers as 0x...");
    app.add_option("--orders", options.orders, "where the orders stand");
    app.add_option("--arena", options.arena, "where tables may stand");
    app.add_option("--arena-bytes", options.arena_bytes);
    CLI11_PARSE(app, argc, argv);
    if (list) {
        pinfold::tables::print_formats();
        return 0;
    }
    if (written) return print_written();
    return pinfold::tables::run(options);
}
