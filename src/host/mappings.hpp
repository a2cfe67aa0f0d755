// What is mapped in this process: its VMAs, as the kernel tells them. Asked afresh each time; an
// object lives as long as one question. Nothing is allocated on the heap.
#pragma once

#include <string_view>

#include "base/address.hpp"
#include "base/function_ref.hpp"
#include "base/range.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace pinfold::host {

struct Mapping {
    VaddrRange range;
    bool readable;
    bool writable;
    bool shared;
    unsigned device_major;       // of the file's device; 0 also where there is no file
    std::string_view file_name;  // as the kernel shows it; good inside the visit only
};

class Mappings {
public:
    Mappings();

    // Whether the kernel can be asked for one mapping (since Linux 6.11), which takes 6 us, or only
    // for the text of /proc/self/maps, which takes ten times that and more.
    bool quick() const { return quick_; }

    // Calls `visit` for each mapping that overlaps `range`, cut to it, in address order; stops at
    // the first error and returns it. Where /proc is not mounted there is nothing to visit.
    using Visit = FunctionRef<Result<>(Mapping const&)>;
    Result<> for_each(VaddrRange range, Visit visit) const;

private:
    Result<> for_each_queried(VaddrRange range, Visit visit) const;
    Result<> for_each_read(VaddrRange range, Visit visit) const;

    UniqueFd file_;
    bool quick_;
};

}  // namespace pinfold::host
