#include "cli/tree_writer.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/unique_fd.hpp"

namespace pinfold::cli {

std::filesystem::path TreeWriter::below(std::filesystem::path const& path) const
{
    return root_ / path.relative_path();
}

void TreeWriter::failed(std::filesystem::path const& path, int error)
{
    if (!failure_) failure_ = fmt::format("{}: {}", path.string(), std::strerror(error));
}

void TreeWriter::directory(std::filesystem::path const& path, mode_t mode)
{
    auto const whole = below(path);
    std::error_code error;
    std::filesystem::create_directories(whole, error);
    if (error) return failed(whole, error.value());
    if (::chmod(whole.c_str(), mode) != 0) failed(whole, errno);
}

void TreeWriter::file(std::filesystem::path const& path, std::string_view contents, mode_t mode)
{
    auto const whole = below(path);
    std::error_code error;
    std::filesystem::create_directories(whole.parent_path(), error);
    UniqueFd const fd{::open(whole.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
    if (!fd) return failed(whole, errno);
    auto const written = ::write(fd.get(), contents.data(), contents.size());
    if (written != static_cast<ssize_t>(contents.size()))
        return failed(whole, written < 0 ? errno : ENOSPC);
    // The mode is the file's whatever the user's umask.
    if (::fchmod(fd.get(), mode) != 0) failed(whole, errno);
}

void TreeWriter::link(std::filesystem::path const& path, std::filesystem::path const& target)
{
    auto const whole = below(path);
    std::error_code error;
    std::filesystem::create_directories(whole.parent_path(), error);
    std::filesystem::create_symlink(target, whole, error);
    if (error) failed(whole, error.value());
}

machine::Checked<void> TreeWriter::result() const
{
    if (failure_) return std::unexpected{*failure_};
    return {};
}

}  // namespace pinfold::cli
