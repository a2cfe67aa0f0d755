#include "cli/state_directory.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>

#include "cli/device_tree.hpp"
#include "cli/tree_writer.hpp"
#include "machine/run_names.h"
#include "machine/run_state.hpp"

namespace pinfold::cli {

namespace {

namespace fs = std::filesystem;

// The stub keeps paths of this directory in a buffer of fixed size.
constexpr std::size_t kLongestBase = 256;

// Without links: the kernel's names of descriptors begin with it.
std::string canonical(char const* directory)
{
    std::error_code error;
    auto const real = fs::canonical(directory, error);
    return error ? std::string{directory} : real.string();
}

// Where directories for runs may be made, the best first.
std::vector<std::string> bases()
{
    std::vector<std::string> all;
    auto const add = [&](char const* base) {
        if (base == nullptr || base[0] != '/') return;
        auto real = canonical(base);
        if (real.size() <= kLongestBase) all.push_back(std::move(real));
    };
    // root's own is closed to those whom root's programs become.
    if (::geteuid() != 0) add(std::getenv("XDG_RUNTIME_DIR"));
    add(std::getenv("TMPDIR"));
    add("/tmp");
    return all;
}

machine::Checked<fs::path> make_directory()
{
    for (auto const& base : bases()) {
        auto name = base + "/pinfold.XXXXXX";
        if (::mkdtemp(name.data()) != nullptr) return fs::path{name};
    }
    return std::unexpected{fmt::format("/tmp: no directory for the run's state can be made: {}",
                                       std::strerror(errno))};
}

}  // namespace

machine::Checked<StateDirectory> StateDirectory::create(machine::Description const& machine,
                                                        std::vector<machine::Face> const& faces,
                                                        Journals journals)
{
    auto const path = make_directory();
    if (!path) return std::unexpected{path.error()};
    StateDirectory state{*path};
    if (auto const filled = state.fill(machine, faces, journals); !filled)
        return std::unexpected{filled.error()};
    return state;
}

machine::Checked<void> StateDirectory::fill(machine::Description const& machine,
                                            std::vector<machine::Face> const& faces,
                                            Journals journals) const
{
    // root's programs often go on as somebody else (-runas, setpriv), with Pinfold still in them.
    // The directory's name cannot be guessed; what is in it they may then reach by name.
    bool const shared = ::geteuid() == 0;
    mode_t const file_mode = shared ? 0666 : 0600;
    if (shared && ::chmod(path_.c_str(), 0711) != 0)
        return std::unexpected{fmt::format("{}: {}", path_.string(), std::strerror(errno))};

    TreeWriter writer{path_};
    writer.file(PINFOLD_FILE_MACHINE, machine::to_toml(machine), 0644);
    writer.file(PINFOLD_FILE_LOG, "", file_mode);
    if (journals.log) writer.file(PINFOLD_FILE_KERNEL_LOG, "", file_mode);
    if (journals.trace) writer.file(PINFOLD_FILE_TRACE, "", file_mode);
    writer.directory(PINFOLD_DIR_ROOT);
    writer.directory(PINFOLD_DIR_COUNTERS, shared ? 01777 : 0700);
    writer.directory(PINFOLD_DIR_OWNERS, shared ? 01777 : 0700);
    writer.directory(PINFOLD_DIR_REMOVALS);
    for (auto const& face : faces) {
        writer.file(fmt::format("group.{}", face.group), "", file_mode);
        writer.file(fmt::format(PINFOLD_FILE_DMA "{}", face.group), "", file_mode);
        writer.file(machine::removal_file("", face.bdf), "", 0600);
    }
    if (auto const written = writer.result(); !written) return written;
    return write_device_files(path_, faces);
}

StateDirectory::~StateDirectory()
{
    std::error_code nobody_to_tell;
    if (!path_.empty()) fs::remove_all(path_, nobody_to_tell);
}

std::vector<std::string> StateDirectory::log() const
{
    std::vector<std::string> lines;
    std::ifstream in{path_ / PINFOLD_FILE_LOG};
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
}

}  // namespace pinfold::cli
