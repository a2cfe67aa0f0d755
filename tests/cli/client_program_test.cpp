#include "cli/client_program.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "support/command.hpp"

namespace pinfold::cli {
namespace {

namespace fs = std::filesystem;

class ClientProgram : public testing::Test {
protected:
    fs::path write(std::string const& name, std::string_view text, mode_t mode = 0755)
    {
        auto const file = scratch_.path() / name;
        std::ofstream{file, std::ios::binary} << text;
        ::chmod(file.c_str(), mode);
        return file;
    }
    fs::path copy_of_true(std::string const& name, mode_t mode)
    {
        auto const file = scratch_.path() / name;
        fs::copy_file("/bin/true", file);
        ::chmod(file.c_str(), mode);
        return file;
    }
    static std::string refusal(fs::path const& program)
    {
        auto const found = find_program(program.string());
        return found ? "found " + *found : found.error();
    }
    test::Scratch scratch_;
};

TEST_F(ClientProgram, a_name_is_looked_for_in_path)
{
    auto const saved = std::string{std::getenv("PATH")};
    auto const mine = copy_of_true("tool", 0755);
    ::setenv("PATH", ("/nowhere:" + scratch_.path().string() + ":/bin").c_str(), 1);
    EXPECT_EQ(find_program("tool"), mine.string());
    EXPECT_EQ(find_program("true"), "/bin/true");
    ::chmod(mine.c_str(), 0644);
    EXPECT_EQ(refusal("tool"), "tool: permission denied");
    EXPECT_EQ(refusal("tool2"), "tool2: there is no such program in PATH");
    ::setenv("PATH", "", 1);
    EXPECT_EQ(refusal("true"), "true: there is no such program in PATH");
    ::setenv("PATH", saved.c_str(), 1);
}

TEST_F(ClientProgram, what_is_missing_or_no_program_is_named)
{
    auto const dir = scratch_.path().string();
    EXPECT_EQ(refusal(""), "the program's name is empty");
    EXPECT_EQ(refusal(dir + "/no"), dir + "/no: No such file or directory");
    EXPECT_EQ(refusal(dir), dir + ": it is not a program");
    EXPECT_EQ(refusal(write("plain", "x", 0644)), dir + "/plain: it is not executable");
    EXPECT_EQ(refusal(write("text", "hello")),
              dir + "/text: it is neither a program nor a script that starts with #!");
    EXPECT_EQ(refusal(write("empty", "")),
              dir + "/empty: it is neither a program nor a script that starts with #!");
}

TEST_F(ClientProgram, a_script_is_judged_by_its_interpreter)
{
    auto const dir = scratch_.path().string();
    auto const script = write("script", "#! /bin/sh -e\nexit 0\n");
    EXPECT_EQ(find_program(script.string()), script.string());
    auto const nested = write("nested", "#!" + script.string() + "\n");
    EXPECT_EQ(find_program(nested.string()), nested.string());
    EXPECT_EQ(refusal(write("none", "#!\n")), dir + "/none: its #! line names no program");
    EXPECT_EQ(refusal(write("missing", "#!/no/such\n")),
              dir + "/missing: its interpreter /no/such: No such file or directory");
    auto const loop = dir + "/loop";
    EXPECT_TRUE(
        refusal(write("loop", "#!" + loop + "\n")).ends_with("its #! line names no program"));
}

TEST_F(ClientProgram, a_static_program_and_a_foreign_one_are_refused)
{
    auto const bytes = test::slurp("/bin/true");
    // The program header that names the dynamic loader becomes one that means nothing.
    auto elf = bytes;
    for (std::size_t at = 64; at < 64 + 56 * 16; at += 56)
        if (elf[at] == 3 && elf[at + 1] == 0) elf[at] = 0;
    auto const dir = scratch_.path().string();
    EXPECT_EQ(refusal(write("static", elf)),
              dir +
                  "/static: it is statically linked, and Pinfold works by a library that is loaded "
                  "into the program; link it dynamically");
    auto foreign = bytes;
    foreign[18] = '\xb7';  // EM_AARCH64
    EXPECT_EQ(refusal(write("foreign", foreign)),
              dir + "/foreign: it is not a 64-bit x86 program, and Pinfold's library is");
    auto narrow = bytes;
    narrow[4] = 1;  // ELFCLASS32
    EXPECT_EQ(refusal(write("narrow", narrow)),
              dir + "/narrow: it is not a 64-bit x86 program, and Pinfold's library is");
    EXPECT_EQ(refusal(write("cut", bytes.substr(0, 20))),
              dir + "/cut: it is not a 64-bit x86 program, and Pinfold's library is");
    EXPECT_EQ(refusal(write("headless", bytes.substr(0, 64))),
              dir +
                  "/headless: it is statically linked, and Pinfold works by a library that is "
                  "loaded into the program; link it dynamically");
}

TEST_F(ClientProgram, a_program_that_gains_privileges_is_refused)
{
    if (::geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
    auto const other = copy_of_true("setuid", 0755);
    ASSERT_EQ(::chown(other.c_str(), 12, 0), 0);
    ASSERT_EQ(::chmod(other.c_str(), 04755), 0);
    EXPECT_EQ(refusal(other), other.string() +
                                  ": it is setuid, and a program that gains privileges takes no "
                                  "library from its user; run a copy without");
    auto const group = copy_of_true("setgid", 0755);
    ASSERT_EQ(::chown(group.c_str(), 0, 12), 0);
    ASSERT_EQ(::chmod(group.c_str(), 02755), 0);
    EXPECT_TRUE(refusal(group).contains("is setgid"));
    auto const own = copy_of_true("own", 04755);
    EXPECT_EQ(find_program(own.string()), own.string()) << "root gains nothing from being root";
}

TEST_F(ClientProgram,
       the_libraries_that_a_program_is_linked_with_are_known_by_the_start_of_their_names)
{
    EXPECT_TRUE(needs_library("/proc/self/exe", "libc.so"));
    EXPECT_FALSE(needs_library("/proc/self/exe", "libnothing.so"));
    EXPECT_FALSE(needs_library("/etc/passwd", "libc.so"));
    EXPECT_FALSE(needs_library("/no/such/file", "libc.so"));
}

}  // namespace
}  // namespace pinfold::cli
