#include "devices/nvme/async_events.hpp"

#include <algorithm>
#include <bit>

namespace pinfold::devices::nvme {

Status AsyncEvents::park(std::uint16_t command_id)
{
    if (std::ranges::find(parked_, command_id) != parked_.end()) {
        return Status::command_id_conflict;
    }
    if (parked_.size() == kLimit) return Status::async_event_limit;
    parked_.push_back(command_id);
    return Status::success;
}

bool AsyncEvents::abort(std::uint16_t command_id)
{
    auto const found = std::ranges::find(parked_, command_id);
    if (found == parked_.end()) return false;
    parked_.erase(found);
    aborted_.push_back(command_id);
    return true;
}

void AsyncEvents::happen(Type type, unsigned information)
{
    auto& bits = waiting_[static_cast<std::size_t>(type)];
    bits = static_cast<std::uint8_t>(bits | 1U << information);
}

void AsyncEvents::acknowledge(Type type) { told_[static_cast<std::size_t>(type)] = false; }

void AsyncEvents::reset() { *this = {}; }

std::optional<AsyncEvents::Answer> AsyncEvents::next()
{
    if (!aborted_.empty()) {
        Answer const answer{aborted_.front(), Status::abort_requested};
        aborted_.pop_front();
        return answer;
    }
    for (std::size_t type = 0; type < waiting_.size() && !parked_.empty(); ++type) {
        if (waiting_[type] == 0 || told_[type]) continue;
        auto const information = static_cast<unsigned>(std::countr_zero(waiting_[type]));
        waiting_[type] = static_cast<std::uint8_t>(waiting_[type] & ~(1U << information));
        told_[type] = true;
        auto const log_page = static_cast<unsigned>(type) + 1;
        Answer const answer{
            parked_.front(),
            {Status::success, static_cast<unsigned>(type) | information << 8 | log_page << 16}};
        parked_.pop_front();
        return answer;
    }
    return std::nullopt;
}

}  // namespace pinfold::devices::nvme
