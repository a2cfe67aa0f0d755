#include "cli/client_program.hpp"

#include <elf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <vector>

#include "base/unique_fd.hpp"
#include "machine/text.hpp"

namespace pinfold::cli {

namespace {

using machine::Checked;

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
        auto path = directory.empty() ? name : fmt::format("{}/{}", directory, name);
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

std::vector<Elf64_Phdr> segments(int fd, Elf64_Ehdr const& header)
{
    std::vector<Elf64_Phdr> all;
    for (unsigned i = 0; i < header.e_phnum; ++i)
        if (auto const segment = structure_at<Elf64_Phdr>(
                fd, header.e_phoff + std::uint64_t{i} * header.e_phentsize))
            all.push_back(*segment);
    return all;
}

bool has_interpreter(int fd, Elf64_Ehdr const& header)
{
    return std::ranges::any_of(segments(fd, header), [](Elf64_Phdr const& segment) {
        return segment.p_type == PT_INTERP;
    });
}

// Where the loader puts an address of the program, in its file.
std::uint64_t offset_of(std::vector<Elf64_Phdr> const& segments, std::uint64_t address)
{
    for (auto const& segment : segments)
        if (segment.p_type == PT_LOAD && address - segment.p_vaddr < segment.p_filesz)
            return segment.p_offset + (address - segment.p_vaddr);
    return 0;
}

// The dynamic section's entries with that tag.
std::vector<std::uint64_t> dynamic_entries(int fd, std::vector<Elf64_Phdr> const& segments,
                                           Elf64_Sxword tag)
{
    std::vector<std::uint64_t> values;
    for (auto const& segment : segments) {
        if (segment.p_type != PT_DYNAMIC) continue;
        for (std::uint64_t at = 0; at + sizeof(Elf64_Dyn) <= segment.p_filesz;
             at += sizeof(Elf64_Dyn)) {
            auto const entry = structure_at<Elf64_Dyn>(fd, segment.p_offset + at);
            if (!entry || entry->d_tag == DT_NULL) break;
            if (entry->d_tag == tag) values.push_back(entry->d_un.d_val);
        }
    }
    return values;
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

bool needs_library(std::string const& path, std::string_view name)
{
    UniqueFd const fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    auto const header = fd ? structure_at<Elf64_Ehdr>(fd.get(), 0) : std::nullopt;
    if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) return false;
    auto const all = segments(fd.get(), *header);
    auto const names = dynamic_entries(fd.get(), all, DT_STRTAB);
    if (names.empty()) return false;
    auto const table = offset_of(all, names.front());
    return std::ranges::any_of(dynamic_entries(fd.get(), all, DT_NEEDED), [&](std::uint64_t at) {
        return read_at(fd.get(), table + at, name.size()) == name;
    });
}

}  // namespace pinfold::cli
