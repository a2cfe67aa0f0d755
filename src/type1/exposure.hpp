// What sub-page mappings keep from devices: the bytes of their host pages that lie outside of them,
// which a device could have reached had the pages been mapped whole. For reports. Thread safe.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <vector>

#include "base/range.hpp"

namespace pinfold::type1 {

class Exposure {
public:
    // A mapping that covers its first or its last host page in part: the memory, and how many bytes
    // of those pages lie before and behind it.
    struct Record {
        VaddrRange memory;
        std::uint64_t before, behind;

        bool operator==(Record const&) const = default;
    };
    static constexpr std::size_t kMostRecords = 64;

    // Allocates nothing, so the call that maps cannot fail here. Mappings of the same memory are
    // one record, and only the first kMostRecords are kept.
    void add(Record const& record);

    std::uint64_t mappings() const;  // how many there were, the same memory each time
    std::uint64_t bytes() const;     // before and behind, of all of them
    std::vector<Record> records() const;

private:
    mutable std::mutex mutex_;
    std::uint64_t mappings_ = 0;
    std::uint64_t bytes_ = 0;
    std::size_t count_ = 0;
    std::array<Record, kMostRecords> records_{};
};

}  // namespace pinfold::type1
