// Allocations that fail when a test says so. Linking failing_new.cpp replaces operator new.
#pragma once

#include <cstdint>

namespace pinfold::test {

// While this lives, `allowed` allocations of this thread succeed and every one after them throws
// bad_alloc.
class FailingNew {
public:
    explicit FailingNew(std::uint64_t allowed);
    ~FailingNew();
    FailingNew(FailingNew const&) = delete;
    FailingNew& operator=(FailingNew const&) = delete;
};

}  // namespace pinfold::test
