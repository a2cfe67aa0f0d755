// What the pages of this process are, as /proc/self/pagemap tells: its own, the shared zero page
// that stands in for anonymous memory nobody has written, or something else. Nothing is allocated
// on the heap.
#pragma once

#include <cstdint>

#include "base/address.hpp"
#include "base/function_ref.hpp"
#include "base/range.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace pinfold::host {

enum class PageState : std::uint8_t {
    absent,     // never touched, or not there
    anonymous,  // the process's own, or shared with a relative since a fork
    zero,       // the zero page
    file,       // of a file or of shared memory
};

class PageStates {
public:
    // `scan`: PAGEMAP_SCAN (since Linux 6.7) tells the zero page for certain. `entries`: a page
    // that is neither a file's nor exclusively ours is taken for it; so a page that is shared with
    // a relative since a fork must have been unshared before.
    enum class Source : std::uint8_t { scan, entries };
    PageStates();  // the best that there is
    explicit PageStates(Source source);

    Source source() const { return source_; }

    // Calls `visit` for runs of pages of one state in `range`, in address order; pages that it says
    // nothing of are absent. Stops at the first error and returns it. Nothing is visited where
    // /proc is not mounted. REQUIRES: `range` is of whole 4K pages.
    using Visit = FunctionRef<Result<>(VaddrRange, PageState)>;
    Result<> for_each(VaddrRange range, Visit visit) const;

private:
    Result<> for_each_scanned(VaddrRange range, Visit visit) const;
    Result<> for_each_entry(VaddrRange range, Visit visit) const;

    UniqueFd file_;
    Source source_;
};

}  // namespace pinfold::host
