#include "cli/client_program.hpp"

#include <elf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>

#include "base/unique_fd.hpp"
#include "machine/text.hpp"

namespace pinfold::cli {

namespace {

using machine::Checked;
using machine::in_quotes;

std::unexpected<std::string> wrong(std::string sentence)
{
    return std::unexpected{std::move(sentence)};
}

bool is_regular(std::string const& path)
{
    struct stat status{};
    return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

// execvp's search: the first executable file; a file that may not be executed is remembered.
Checked<std::string> look_up(std::string const& name)
{
    char const* const variable = std::getenv("PATH");
    std::string_view rest = variable != nullptr ? variable : "/bin:/usr/bin";
    bool forbidden = false;
    for (bool more = true; more;) {
        auto const colon = rest.find(':');
        auto const directory = rest.substr(0, colon);
        more = colon != std::string_view::npos;
        if (more) rest.remove_prefix(colon + 1);
        auto const path = directory.empty() ? name : fmt::format("{}/{}", directory, name);
        if (!is_regular(path)) continue;
        if (::access(path.c_str(), X_OK) == 0) return path;
        forbidden = true;
    }
    return wrong(fmt::format("{}: {}", name,
                             forbidden ? "permission denied" : "there is no such program in PATH"));
}

// Reads up to `size` bytes at `offset`; shorter at the end of the file.
std::string read_at(int fd, std::uint64_t offset, std::size_t size)
{
    std::string bytes(size, '\0');
    auto const got = ::pread(fd, bytes.data(), size, static_cast<off_t>(offset));
    bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return bytes;
}

template <class T>
std::optional<T> structure_at(int fd, std::uint64_t offset)
{
    auto const bytes = read_at(fd, offset, sizeof(T));
    if (bytes.size() != sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
}

bool has_interpreter(int fd, Elf64_Ehdr const& header)
{
    for (unsigned i = 0; i < header.e_phnum; ++i) {
        auto const segment =
            structure_at<Elf64_Phdr>(fd, header.e_phoff + std::uint64_t{i} * header.e_phentsize);
        if (segment && segment->p_type == PT_INTERP) return true;
    }
    return false;
}

Checked<void> check_elf(int fd, std::string const& path)
{
    auto const header = structure_at<Elf64_Ehdr>(fd, 0);
    if (!header || header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_machine != EM_X86_64)
        return wrong(
            fmt::format("{}: it is not a 64-bit x86 program, and Pinfold's library is", path));
    if (!has_interpreter(fd, *header))
        return wrong(
            fmt::format("{}: it is statically linked, and Pinfold works by a library that "
                        "is loaded into the program; link it dynamically",
                        path));
    return {};
}

Checked<void> check_privileges(int fd, std::string const& path)
{
    auto const gains = [&](std::string_view what) {
        return wrong(
            fmt::format("{}: it {}, and a program that gains privileges takes no library "
                        "from its user; run a copy without",
                        path, what));
    };
    struct stat status{};
    if (::fstat(fd, &status) != 0) return wrong(fmt::format("{}: {}", path, std::strerror(errno)));
    // What is one's own already is not gained.
    if ((status.st_mode & S_ISUID) != 0 && status.st_uid != ::geteuid()) return gains("is setuid");
    if ((status.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) &&
        status.st_gid != ::getegid())
        return gains("is setgid");
    if (::geteuid() != 0 && ::fgetxattr(fd, "security.capability", nullptr, 0) > 0)
        return gains("has file capabilities");
    return {};
}

// The interpreter of a "#!" line; empty where there is none.
std::string script_interpreter(std::string_view head)
{
    auto line = head.substr(2, head.find('\n') == std::string_view::npos ? std::string_view::npos
                                                                         : head.find('\n') - 2);
    auto const start = line.find_first_not_of(" \t");
    if (start == std::string_view::npos) return {};
    line.remove_prefix(start);
    return std::string{line.substr(0, line.find_first_of(" \t\r"))};
}

Checked<void> check_program(std::string const& path, int scripts_allowed)
{
    constexpr std::size_t kHead = 256;  // what the kernel looks at
    if (!is_regular(path)) {
        struct stat status{};
        if (::stat(path.c_str(), &status) != 0)
            return wrong(fmt::format("{}: {}", path, std::strerror(errno)));
        return wrong(fmt::format("{}: it is not a program", path));
    }
    if (::access(path.c_str(), X_OK) != 0)
        return wrong(fmt::format("{}: it is not executable", path));
    UniqueFd const fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!fd)  // executable and not readable: what it is cannot be told
        return wrong(
            fmt::format("{}: it cannot be read ({}), so Pinfold cannot tell whether its "
                        "library would be loaded",
                        path, std::strerror(errno)));
    if (auto const fine = check_privileges(fd.get(), path); !fine) return fine;

    auto const head = read_at(fd.get(), 0, kHead);
    if (head.starts_with(ELFMAG)) return check_elf(fd.get(), path);
    if (!head.starts_with("#!"))
        return wrong(
            fmt::format("{}: it is neither a program nor a script that starts with #!", path));
    auto const interpreter = script_interpreter(head);
    if (interpreter.empty() || scripts_allowed == 0)
        return wrong(fmt::format("{}: its #! line names no program", path));
    auto const fine = check_program(interpreter, scripts_allowed - 1);
    if (!fine) return wrong(fmt::format("{}: its interpreter {}", path, fine.error()));
    return {};
}

}  // namespace

Checked<std::string> find_program(std::string_view name)
{
    constexpr int kNestedScripts = 4;  // as many as the kernel follows
    if (name.empty()) return wrong("the program's name is empty");
    auto const path = name.contains('/') ? Checked<std::string>{name} : look_up(std::string{name});
    if (!path) return path;
    if (auto const fine = check_program(*path, kNestedScripts); !fine) return wrong(fine.error());
    return path;
}

}  // namespace pinfold::cli
