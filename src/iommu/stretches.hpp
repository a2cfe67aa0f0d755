// Joins leaves that continue each other into what Domain::runs() shows. A value of one walk.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "iommu/domain.hpp"

namespace pinfold::iommu {

class Stretches {
public:
    Stretches(IovaRange range, Domain::Visit visit) : range_{range}, visit_{visit} {}

    // The next leaf, or the first: each begins where the one before ends. False: enough.
    bool add(Domain::Leaf const& leaf)
    {
        Iova const start = std::max(leaf.iova.start, range_.start);
        Iova const last = std::min(leaf.iova.last, range_.last);
        std::uint64_t const paddr = leaf.paddr.raw() + (start - leaf.iova.start);
        std::uint64_t const size = last - start + 1;
        if (size_ != 0 && prot_ == leaf.prot && paddr_ + size_ == paddr) {
            size_ += size;
            return true;
        }
        if (!finish()) return false;
        iova_ = start;
        paddr_ = paddr;
        size_ = size;
        prot_ = leaf.prot;
        return true;
    }
    // Nothing comes any more.
    bool finish()
    {
        if (size_ == 0) return true;
        return visit_(iova_, Paddr{paddr_}, std::exchange(size_, 0), prot_);
    }

private:
    IovaRange range_;
    Domain::Visit visit_;
    // The stretch so far: single words, since what is stored in parts and read as a whole is slow.
    Iova iova_{};
    std::uint64_t paddr_ = 0;
    std::uint64_t size_ = 0;
    Prot prot_ = Prot::none;
};

}  // namespace pinfold::iommu
