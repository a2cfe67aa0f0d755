// What is mapped in this process: its VMAs, as /proc/self/maps shows them. Read afresh at each
// call. Thread safe.
#pragma once

#include "base/address.hpp"
#include "base/function_ref.hpp"
#include "base/range.hpp"
#include "base/result.hpp"

namespace pinfold::host {

struct Mapping {
    VaddrRange range;
    bool readable;
    bool writable;
    bool shared;
};

// Calls `visit` for each mapping that overlaps `range`, cut to it, in address order; stops at the
// first error and returns it. Where /proc is not mounted there is nothing to visit.
Result<> for_each_mapping(VaddrRange range, FunctionRef<Result<>(Mapping const&)> visit);

}  // namespace pinfold::host
