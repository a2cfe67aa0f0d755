#include "type1/backend.hpp"

#include <algorithm>

namespace pinfold::type1 {

Backend::Backend(Settings const& settings, Version version, Nesting nesting)
    : settings_{settings},
      version_{version},
      nesting_{nesting},
      rules_{settings.policy, settings.memory.page_size()},
      domains_{settings.memory.page_size(), rules_},
      leaving_{settings.memory, domains_},
      accounts_{settings.memory, rules_.shares_pages()},
      dma_avail_{settings.dma_entry_limit},
      batch_(settings.memory.page_size().bytes() / sizeof(void*))
{
    update_page_sizes();
}

Backend::~Backend()
{
    while (!groups_.empty()) detach(*groups_.back());
}

Info Backend::info() const
{
    auto const ranges = iova_ranges_.ranges();
    return {page_sizes_, granule_, dma_avail_, {ranges.begin(), ranges.end()}};
}

bool Backend::has_emulated() const { return std::ranges::any_of(groups_, &Group::emulated); }

void Backend::validate_vaddr(Dma& dma)
{
    if (dma.vaddr_invalid) --invalid_vaddrs_;
    dma.vaddr_invalid = false;
}

Result<> Backend::check_wrap(std::uint64_t start, std::uint64_t size) const
{
    if (size == 0) return fail(Errno::inval);
    if (start + (size - 1) >= start) return {};
    return fail(settings_.kernel < Kernel::v7_3 ? Errno::inval : Errno::overflow);
}

void Backend::warn_of_coarse_granule(char const* function) const
{
    if (rules_.warns(granule_))
        write_line(settings_.log, "WARNING: {}: granule {:#x} is above the host page {:#x}",
                   function, granule_, settings_.memory.page_size().bytes());
}

}  // namespace pinfold::type1
