// Which descriptors are whose: the stub's table, and how many descriptors share each open file
// description.
//
// Descriptors of the engine's own stand in it too, moved to high numbers and marked, so that the
// client neither uses them nor closes them when it sweeps over all numbers. Thread safe.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "base/function_ref.hpp"
#include "preload/abi.h"
#include "uapi/call.hpp"

namespace pinfold::preload {

class FdTable {
public:
    // `owners` is the stub's table, of PINFOLD_TABLE_SIZE entries.
    explicit FdTable(std::uint32_t* owners);

    // PINFOLD_FOREIGN, PINFOLD_INTERNAL, PINFOLD_ORPHAN, or a FileId's number.
    std::uint32_t owner(int fd) const;

    // `fd` is a descriptor of `file` now: one more. EMFILE: its number is beyond the table.
    Result<> add(int fd, uapi::FileId file);
    // A BAR mapping holds `file` as a descriptor does.
    void retain(uapi::FileId file);
    // One descriptor or mapping of `file` less. True: that was the last.
    bool drop(uapi::FileId file);

    // Undoes an add() that nobody has seen.
    bool take_back(int fd);

    // Some descriptor of each of our files, for telling whether an unknown one is an alias of it.
    std::vector<int> descriptors() const;

    // Whether anything holds any file.
    bool any_held() const;
    // Descriptors of files of ours are none any more; `visit` is told the file of each.
    void forget_descriptors(FunctionRef<void(uapi::FileId)> visit);

    // In a child of fork(2): each file is another's now (FileId::none: it cannot be reached), and
    // held by the child's descriptors alone.
    void rebind(FunctionRef<uapi::FileId(uapi::FileId)> file_of);
    // Around fork(2).
    void pause() { mutex_.lock(); }
    void resume() { mutex_.unlock(); }

    // Makes every UniqueFd of the engine a hidden one, in the stub's table. REQUIRES: before the
    // first of them.
    static void hide_own_descriptors(std::uint32_t* owners);
    // Closes a hidden one whose UniqueFd is out of reach.
    void close_hidden(int fd);
    // Closes every descriptor of the process that is not a hidden one.
    void close_all_but_hidden() const;

private:
    std::uint32_t* owners_;
    mutable std::mutex mutex_;
    std::unordered_map<std::uint32_t, unsigned> holders_;
};

}  // namespace pinfold::preload
