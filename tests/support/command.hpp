// Runs a shell command and says how it went.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace pinfold::test {

struct Outcome {
    int status = -1;  // as the shell gives it: 128 + n for death by signal n
    std::string out;
    std::string err;
};

inline std::string slurp(std::filesystem::path const& path)
{
    std::ifstream stream{path, std::ios::binary};
    std::ostringstream text;
    text << stream.rdbuf();
    return text.str();
}

// A directory that anybody may enter, removed at the end.
class Scratch {
public:
    Scratch()
    {
        std::string name =
            (std::filesystem::temp_directory_path() / "pinfold-test.XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) std::perror("mkdtemp");
        path_ = name;
        std::filesystem::permissions(path_, std::filesystem::perms{0777});
    }
    Scratch(Scratch const&) = delete;
    Scratch& operator=(Scratch const&) = delete;
    ~Scratch()
    {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    std::filesystem::path const& path() const { return path_; }

private:
    std::filesystem::path path_;
};

inline Outcome shell(std::string const& command)
{
    Scratch const scratch;
    auto const out = scratch.path() / "out";
    auto const err = scratch.path() / "err";
    std::string const whole =
        "{ " + command + "\n} >" + out.string() + " 2>" + err.string() + " </dev/null";
    int const status = std::system(whole.c_str());
    Outcome outcome;
    outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    outcome.out = slurp(out);
    outcome.err = slurp(err);
    return outcome;
}

}  // namespace pinfold::test
