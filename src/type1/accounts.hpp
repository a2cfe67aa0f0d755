// What mappings are charged for: one page of the host for each page of a mapping that is mapped for
// devices or pinned by a driver, unless it is reserved (rules P-1 to P-18). Under the policy
// `subpage`, a page that several mappings of one process share costs one; the count is kept for one
// container, so that containers cost what they cost alone. Guarded by the container's mutex.
#pragma once

#include <absl/container/btree_map.h>

#include <cstdint>
#include <memory>
#include <utility>

#include "base/function_ref.hpp"
#include "host/memory.hpp"
#include "type1/dma.hpp"

namespace pinfold::type1 {

// Consecutive pages of the host that a mapping has: `index` counts the pages of the mapping, the
// first of which may be covered in part only.
struct DmaPages {
    std::uint64_t index;
    Paddr start;
    std::uint64_t count;
};

class Accounts {
public:
    Accounts(host::Memory& memory, bool share_pages) : memory_{memory}, share_pages_{share_pages} {}

    // Charges the process of `dma`. Pages that a driver has pinned already are paid for (rule
    // P-14). ENOMEM: the limit; nothing is charged then.
    Result<> charge(Dma& dma, DmaPages pages);
    // Gives back, except for what a driver's pin still pays for. REQUIRES: the pages are pinned
    // still.
    void uncharge(Dma& dma, DmaPages pages);

    // The same for the one page of a driver's pin.
    Result<> charge_page(Dma& dma, Paddr page);
    void uncharge_page(Dma& dma, Paddr page);

    // Rule M-22: `mm` pays for what `dma` is charged for from now on. `pages` names each of those
    // pages. ENOMEM: the limit of `mm`; nothing changes then.
    using Pages = FunctionRef<void(FunctionRef<void(Paddr)>)>;
    Result<> move(Dma& dma, std::shared_ptr<host::Mm> const& mm, host::LockCap cap, Pages pages);

private:
    using Key = std::pair<host::Mm*, Paddr>;

    bool pays(Dma const& dma, std::uint64_t index, Paddr page) const;
    Iova iova_of(Dma const& dma, std::uint64_t index) const;
    Paddr page_at(DmaPages pages, std::uint64_t i) const;
    std::uint64_t payable(Dma const& dma, DmaPages pages) const;
    bool share(host::Mm& mm, Paddr page);
    bool unshare(host::Mm& mm, Paddr page);

    host::Memory& memory_;
    bool share_pages_;
    absl::btree_map<Key, std::uint64_t> sharers_;  // of pages that are charged, if shared
};

}  // namespace pinfold::type1
