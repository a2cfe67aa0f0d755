// What is mapped in this process: its VMAs, as /proc/self/maps shows them. Read afresh at each
// call. Thread safe.
#pragma once

#include <string_view>

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
    unsigned device_major;       // of the file's device; 0 also where there is no file
    std::string_view file_name;  // as the kernel shows it; good inside the visit only
};

// Calls `visit` for each mapping that overlaps `range`, cut to it, in address order; stops at the
// first error and returns it. Where /proc is not mounted there is nothing to visit.
Result<> for_each_mapping(VaddrRange range, FunctionRef<Result<>(Mapping const&)> visit);

}  // namespace pinfold::host
