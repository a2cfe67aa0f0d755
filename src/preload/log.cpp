#include "preload/log.hpp"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>

#include "base/unique_fd.hpp"
#include "machine/run_names.h"

namespace pinfold::preload {
namespace {

int log_fd = -1;

}  // namespace

void open_log(char const* state_directory)
{
    if (log_fd >= 0) return;
    UniqueFd const directory{::open(state_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!directory) return;
    log_fd = UniqueFd{::openat(directory.get(), PINFOLD_FILE_LOG,
                               O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)}
                 .release();
}

void log_line(std::string_view line)
{
    std::array<iovec, 2> const parts{
        {{const_cast<char*>(line.data()), line.size()}, {const_cast<char*>("\n"), 1}}};
    // A full disk loses the line; there is nobody else to tell.
    if (log_fd >= 0) (void)!::writev(log_fd, parts.data(), static_cast<int>(parts.size()));
}

}  // namespace pinfold::preload
