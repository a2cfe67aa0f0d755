// Drivers in C++ and Rust, compiled by clang and rustc with full optimisation: the registers are
// used by whatever instructions the compilers make of volatile and atomic accesses.
#include <regex>
#include <set>

#include "real_stage.hpp"

namespace pinfold::test {
namespace {

class Drivers : public RealStage {
protected:
    // Under its own name, and without the letter that tells its size.
    static void insert(std::set<std::string>& all, std::string const& mnemonic)
    {
        all.insert(mnemonic);
        all.insert(mnemonic.substr(0, mnemonic.size() - 1));
    }
    // Instructions that read and write memory themselves, in the functions that use a register.
    std::set<std::string> read_modify_writes(std::string const& program) const
    {
        auto const listing = shell("objdump -d --no-show-raw-insn " + (dir() / program).string());
        EXPECT_EQ(listing.status, 0) << listing.err;
        static std::regex const function{"^[0-9a-f]+ <(.*)>:$"};
        static std::regex const change{R"(^[^:]*:\s+((lock )?[a-z]+)\s+(.*,)?\(%r[a-z0-9]+\)$)"};
        std::set<std::string> found;
        bool inside = false;
        std::istringstream lines{listing.out};
        for (std::string line; std::getline(lines, line);) {
            std::smatch match;
            if (std::regex_match(line, match, function))
                inside = line.find("kOperations") != std::string::npos ||
                         line.find("call_once") != std::string::npos;
            else if (inside && std::regex_match(line, match, change))
                insert(found, match[1]);
        }
        return found;
    }

    void run_driver(std::string const& program)
    {
        bring_prepared(program);
        if (HasFatalFailure()) return;
        auto const made = read_modify_writes(program);
        for (auto const* const instruction :
             {"or", "and", "xor", "add", "sub", "neg", "not", "shl", "shr", "rol", "lock xadd",
              "lock and", "lock xor", "lock cmpxchg", "xchg"})
            EXPECT_TRUE(made.contains(instruction))
                << "the compiler made no '" << instruction << "', so it was not tried";

        auto const ran = run_for(60,
                                 "--device edu,bdf=0000:00:04.0 "
                                 "--device null,bdf=0000:00:05.0,bar0=4K",
                                 "./" + program);
        EXPECT_EQ(ran.status, 0) << ran.err;
        EXPECT_EQ(ran.out,
                  "edu: 1840 operations did what they do on memory; 4096 bytes to the device and "
                  "back\n"
                  "null: 3680 operations did what they do on memory, and 1000 blocks came back\n");
    }
};
INSTANTIATE_TEST_SUITE_P(Ways, Drivers, kRealWays, name);

PINFOLD_WORKS_WITH(
    "a driver in C++, by clang 19 with `-O3 -march=native`",
    "registers are read, written and modified by every kind of instruction that the "
    "compiler makes of volatile and atomic accesses and of copies; DMA both ways, MSI")

TEST_P(Drivers, in_Cpp_change_registers_by_the_instructions_that_clang_makes)
{
    run_driver("edu_cpp");
}

PINFOLD_WORKS_WITH("a driver in Rust, standard library only",
                   "the same by the instructions that rustc makes")

TEST_P(Drivers, in_Rust_change_registers_by_the_instructions_that_rustc_makes)
{
    run_driver("edu_rust");
}

}  // namespace
}  // namespace pinfold::test
