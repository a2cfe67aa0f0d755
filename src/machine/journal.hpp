// Where a machine writes what a kernel would have written: into its log, and as trace events of its
// IOMMU layer. Lines come without their newline. Implementations are thread safe, and do without
// the heap: the calls come from the middle of a request.
#pragma once

#include <string_view>

namespace pinfold::machine {

class Journal {
public:
    virtual ~Journal() = default;
    virtual void log(std::string_view line) = 0;
    virtual void trace(std::string_view line) = 0;
};

}  // namespace pinfold::machine
