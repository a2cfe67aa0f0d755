// Open files that other processes own, by numbers that stand in the descriptor table like FileIds
// of our own. A look-up takes no lock; a number is never given to another file. Thread safe.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>

#include "preload/link.hpp"

namespace pinfold::preload {

class Remotes {
public:
    struct File {
        Link* link = nullptr;
        uapi::FileId file = uapi::FileId::none;
    };

    // True: `id` is a number of this table. The engine's own table of files never gets so far.
    static bool covers(uapi::FileId id);

    // The number of that file. EMFILE: there were too many in this process's life.
    Result<uapi::FileId> number(Link& link, uapi::FileId file);
    // REQUIRES: covers(id).
    File const& at(uapi::FileId id) const { return files_[index(id)]; }

    // In a child of fork(2): the files are to be reached by other links from now on.
    template <class Function>
    void rebind(Function link_of)
    {
        for (std::uint32_t i = 0; i < count_; ++i) files_[i].link = link_of(files_[i].link);
    }

    // Around fork(2).
    void pause() { mutex_.lock(); }
    void resume() { mutex_.unlock(); }

private:
    static constexpr std::uint32_t kIndexMask = 0xfffff;
    static constexpr std::uint32_t kFirst = 0xff000;
    static constexpr std::uint32_t kMost = 0xf00;
    static std::uint32_t index(uapi::FileId id)
    {
        return (static_cast<std::uint32_t>(id) & kIndexMask) - kFirst;
    }

    std::mutex mutex_;
    std::atomic<std::uint32_t> count_{0};
    std::array<File, kMost> files_;
};

}  // namespace pinfold::preload
