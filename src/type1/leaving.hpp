// Frames whose last mapping is gone from the tables and that devices may still be using: unpinned
// together, after one wait for all of them, or for every 512 runs of them (rule U-15). Guarded by
// the container's mutex.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "host/memory.hpp"
#include "type1/domains.hpp"

namespace pinfold::type1 {

class Leaving {
public:
    Leaving(host::Memory& memory, Domains& domains) : memory_{memory}, domains_{domains} {}
    Leaving(Leaving const&) = delete;
    Leaving& operator=(Leaving const&) = delete;

    // `pages` frames from `first` on, which Domains::unmap() has just handed over.
    void add(Paddr first, std::uint64_t pages)
    {
        runs_[count_++] = {first, pages};
        if (count_ == runs_.size()) unpin();
    }
    // To be called before anybody else comes to the container, or the domains go.
    void unpin()
    {
        domains_.sync();
        for (Run const& run : std::span{runs_}.first(count_)) memory_.unpin(run.first, run.pages);
        count_ = 0;
    }

private:
    struct Run {
        Paddr first;
        std::uint64_t pages;
    };

    host::Memory& memory_;
    Domains& domains_;
    std::array<Run, 512> runs_;
    std::size_t count_ = 0;
};

}  // namespace pinfold::type1
