// Puts what a machine's rooms tell their observers into lines of a Journal. Thread safe.
#pragma once

#include "iommu/observer.hpp"
#include "machine/journal.hpp"
#include "type1/log.hpp"

namespace pinfold::machine {

class Recorder final : public iommu::Observer, public type1::Log {
public:
    // `journal` outlives the recorder.
    explicit Recorder(Journal& journal) : journal_{journal} {}

    // "map iova=0x10000 paddr=0x7f0000010000 size=0x1000", and
    // "unmap iova=0x10000 size=0x1000 unmapped_size=0x1000".
    void mapped(Iova iova, Paddr paddr, std::uint64_t size) override;
    void unmapped(Iova iova, std::uint64_t size, std::uint64_t unmapped) override;
    void unaligned(Iova iova, std::optional<Paddr> paddr, std::uint64_t size,
                   PageSize smallest) override;

    void line(std::string_view text) override { journal_.log(text); }

private:
    Journal& journal_;
};

}  // namespace pinfold::machine
