#include "preload/journal.hpp"

#include <fcntl.h>
#include <sys/uio.h>

#include <array>

#include "machine/run_names.h"

namespace pinfold::preload {
namespace {

UniqueFd open_if_there(std::filesystem::path const& file)
{
    return UniqueFd{::open(file.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC)};
}

// A full disk loses the line; there is nobody to tell who is not writing to the same disk.
void append(UniqueFd const& file, std::string_view line)
{
    if (!file) return;
    std::array<iovec, 2> const parts{
        {{const_cast<char*>(line.data()), line.size()}, {const_cast<char*>("\n"), 1}}};
    (void)!::writev(file.get(), parts.data(), static_cast<int>(parts.size()));
}

}  // namespace

FileJournal::FileJournal(std::filesystem::path const& state)
    : log_{open_if_there(state / PINFOLD_FILE_KERNEL_LOG)},
      trace_{open_if_there(state / PINFOLD_FILE_TRACE)}
{
}

void FileJournal::log(std::string_view line) { append(log_, line); }
void FileJournal::trace(std::string_view line) { append(trace_, line); }

}  // namespace pinfold::preload
