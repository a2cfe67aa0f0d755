#include "pci/io_events.hpp"

#include <algorithm>

namespace pinfold::pci {

bool IoEvents::has(Write const& write) const
{
    return std::ranges::any_of(entries_, [&](Entry const& entry) { return entry.write == write; });
}

Result<> IoEvents::add(Write const& write, UniqueFd eventfd)
{
    if (entries_.size() >= kMost) return fail(Errno::nospc);
    entries_.reserve(entries_.size() + 1);
    auto const ticket = TRY(watch_.add(std::move(eventfd)));
    entries_.push_back({ticket, write});
    return {};
}

Result<> IoEvents::remove(Write const& write)
{
    auto const place =
        std::ranges::find_if(entries_, [&](Entry const& entry) { return entry.write == write; });
    if (place == entries_.end()) return fail(Errno::nodev);
    watch_.remove(place->ticket);
    entries_.erase(place);
    return {};
}

void IoEvents::clear()
{
    for (Entry const& entry : entries_) watch_.remove(entry.ticket);
    entries_.clear();
}

std::optional<IoEvents::Write> IoEvents::find(EventfdWatch::Ticket ticket) const
{
    for (Entry const& entry : entries_)
        if (entry.ticket == ticket) return entry.write;
    return std::nullopt;
}

}  // namespace pinfold::pci
