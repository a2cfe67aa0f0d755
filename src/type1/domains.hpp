// The domains of one container, kept alike: every mapping is in each of them, and the head, which
// is the newest, is where physical addresses are looked up. Rules M-6, M-11, U-13 to U-16, A-1 to
// Guarded by the container's mutex.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/function_ref.hpp"
#include "iommu/domain.hpp"
#include "type1/dma.hpp"
#include "type1/group.hpp"
#include "type1/page_sizes.hpp"

namespace pinfold::type1 {

class Domains {
public:
    Domains(PageSize host_page, PageRules rules) : host_page_{host_page}, rules_{rules} {}

    bool empty() const { return domains_.empty(); }
    PageSizes common_page_sizes() const;  // all ones when there is no domain
    IovaRange common_aperture() const;    // everything when there is no domain
    bool enforce_coherency() const;       // rule C-7; true when there is no domain

    // Maps one chunk into every domain. EINVAL and others as the IOMMU API says, from the first
    // domain that refuses; no domain keeps anything then.
    Result<> map(Iova iova, Paddr paddr, std::uint64_t size, Prot prot);

    // Unmaps `range` and hands over what has gone, run by run; devices may reach it until sync().
    // What no domain holds is skipped.
    using Use = FunctionRef<void(Iova iova, Paddr paddr, std::uint64_t size)>;
    void unmap(IovaRange range, Use gone);
    // Returns when no device reaches any more what was unmapped, however many calls did it.
    void sync();

    // What is mapped in `range`, run by run. REQUIRES: there is a domain.
    void each_run(IovaRange range, Use use) const;

    // Puts `group`, which is attached to `fresh`, into a domain that is here already, and returns
    // true; false: there is none that takes it, and it is attached to `fresh` still. Only domains
    // of the same driver that are as coherent are tried (rule A-2).
    bool join(Group& group, bool coherent);

    // Makes `fresh`, in which `group` is, the new head, and copies every mapping into it if there
    // is another domain that has them. Errors are those of map(); `fresh` is not part of this then,
    // and may hold some of the mappings.
    enum class Fgsp : bool { no, yes };
    Result<> adopt(std::unique_ptr<iommu::Domain>& fresh, Group& group, bool coherent, Fgsp fgsp,
                   Dmas& dmas);

    // Rule X-14: whether `fresh`, which nobody uses yet, gives a whole mapping back where a part of
    // it is unmapped. Leaves nothing mapped.
    Fgsp probe(iommu::Domain& fresh, std::span<IovaRange const> ranges) const;

    // The domain that `group` is in, if the group is the only one in it.
    bool alone(Group const& group) const;
    std::size_t count() const { return domains_.size(); }
    // Of all domains together.
    iommu::LeafCounts leaves() const;
    // Takes a blocked group out, and its domain too if no group is left in it. REQUIRES: sync()
    // since the last unmap().
    void remove(Group& group);

private:
    struct Member {
        std::unique_ptr<iommu::Domain> domain;
        iommu::Iommu* iommu;
        bool coherent;  // every access snoops
        Fgsp fgsp;      // unmapped in steps of the host page: the rest of a large one follows
        std::vector<Group*> groups;
        iommu::Gather gather{};  // what was unmapped since the last sync()
    };
    struct Run {
        Iova iova;
        Paddr paddr;
        std::uint64_t size;
    };

    iommu::Domain& head() const { return *domains_.front().domain; }
    PageSize step() const;
    std::optional<Run> run_at(IovaRange range) const;
    Result<> replay(iommu::Domain& fresh, Dma const& dma) const;
    void unmap_head(IovaRange range, Use gone);

    PageSize host_page_;
    PageRules rules_;
    std::vector<Member> domains_;  // newest first
};

}  // namespace pinfold::type1
