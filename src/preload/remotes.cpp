#include "preload/remotes.hpp"

#include "preload/abi.h"

namespace pinfold::preload {

bool Remotes::covers(uapi::FileId id)
{
    auto const number = static_cast<std::uint32_t>(id);
    return number != PINFOLD_INTERNAL && number != PINFOLD_ORPHAN &&
           (number & kIndexMask) >= kFirst && (number & kIndexMask) < kFirst + kMost;
}

Result<uapi::FileId> Remotes::number(Link& link, uapi::FileId file)
{
    constexpr std::uint32_t kGeneration = kIndexMask + 1;  // as of a file's first time in a slot
    std::scoped_lock const lock{mutex_};
    std::uint32_t const count = count_.load(std::memory_order_relaxed);
    for (std::uint32_t i = 0; i < count; ++i)
        if (files_[i].link == &link && files_[i].file == file)
            return static_cast<uapi::FileId>(kGeneration | (kFirst + i));
    if (count == kMost) return fail(Errno::mfile);
    files_[count] = {&link, file};
    count_.store(count + 1, std::memory_order_release);
    return static_cast<uapi::FileId>(kGeneration | (kFirst + count));
}

}  // namespace pinfold::preload
