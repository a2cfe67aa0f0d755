// Waits for writes to the `remove` files of devices in the tree that the client sees: how a device
// is unplugged while the client has it open. Any process may write there; the kernel tells.
//
// A thread of its own, which takes none of the client's signals.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "base/worker.hpp"

namespace pinfold::machine {

class RemovalWatch {
public:
    // `removed` is told the name that belongs to a file, on the watch's thread, at each write.
    explicit RemovalWatch(std::function<void(std::string const&)> removed)
        : removed_{std::move(removed)}
    {
    }
    ~RemovalWatch();
    RemovalWatch(RemovalWatch const&) = delete;
    RemovalWatch& operator=(RemovalWatch const&) = delete;

    // ENOENT: there is no such file. EMFILE, ENOMEM, ENOSPC. REQUIRES: before start().
    Result<> add(std::filesystem::path const& file, std::string name);
    // EAGAIN: there can be no thread.
    Result<> start();

private:
    void run();

    std::function<void(std::string const&)> const removed_;
    UniqueFd inotify_, stop_;
    std::map<std::pair<int, std::string>, std::string> names_;  // by directory's watch and file
    Worker thread_;
};

}  // namespace pinfold::machine
