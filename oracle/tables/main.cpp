// Builds random tables of one format in a guest's RAM, has a reader walk them, and compares.
// Started by ./dev oracle tables, which boots the guest whenever this program says so.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "session.hpp"

int main(int argc, char** argv)
{
    CLI::App app{"Random page tables for a reader in a guest, and the comparison"};
    pinfold::tables::Options options;
    bool list = false;
    app.add_flag("--list", list, "name the formats and their guests");
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
    return pinfold::tables::run(options);
}
