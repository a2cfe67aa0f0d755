#include "devices/nvme/queues.hpp"

#include <algorithm>

#include "base/range.hpp"

namespace pinfold::devices::nvme {
namespace {

// What the two Create commands check alike, in their order: size, contiguity (CAP.CQR), placement.
Status check_shape(Command const& command, unsigned page_lg2, unsigned entry_lg2,
                   unsigned entry_size_lg2)
{
    auto const last = high16(command.cdw10);
    if (last == 0 || last >= kMaxQueueSize || entry_lg2 != entry_size_lg2) {
        return Status::invalid_queue_size;
    }
    if ((command.cdw11 & 1) == 0) return Status::invalid_field;
    if ((command.prp1 & ((std::uint64_t{1} << page_lg2) - 1)) != 0) {
        return Status::prp_offset_invalid;
    }
    auto const bytes = (std::uint64_t{last} + 1) << entry_lg2;
    return IovaRange::of(Iova{command.prp1}, bytes) ? Status::success : Status::invalid_field;
}

}  // namespace

void CompletionQueue::advance_tail()
{
    if (++tail == size) {
        tail = 0;
        phase = !phase;
    }
}

Result<> Queues::enable(Iova submission, std::uint32_t submission_size, Iova completion,
                        std::uint32_t completion_size)
{
    TRY(IovaRange::of(submission, submission_size * sizeof(Command)));
    TRY(IovaRange::of(completion, completion_size * sizeof(Completion)));
    clear();
    submission_[0] = {.id = 0, .base = submission, .size = submission_size, .cq_id = 0};
    completion_[0] = {
        .id = 0, .base = completion, .size = completion_size, .interrupts = true, .vector = 0};
    return {};
}

void Queues::clear()
{
    submission_.fill(std::nullopt);
    completion_.fill(std::nullopt);
    last_id_ = 0;
    allow(kIoQueues, kIoQueues);
}

SubmissionQueue* Queues::submission(unsigned id)
{
    return id < submission_.size() && submission_[id] ? &*submission_[id] : nullptr;
}

CompletionQueue* Queues::completion(unsigned id)
{
    return id < completion_.size() && completion_[id] ? &*completion_[id] : nullptr;
}

bool Queues::any_io_queue() const
{
    auto const exists = [](auto const& queue) { return queue.has_value(); };
    return std::any_of(submission_.begin() + 1, submission_.end(), exists) ||
           std::any_of(completion_.begin() + 1, completion_.end(), exists);
}

void Queues::allow(unsigned submission, unsigned completion)
{
    allowed_submission_ = std::min(submission, kIoQueues);
    allowed_completion_ = std::min(completion, kIoQueues);
}

Status Queues::create_completion(Command const& command, unsigned page_lg2, unsigned entry_lg2)
{
    auto const id = low16(command.cdw10);
    if (id == 0 || id > allowed_completion_ || completion_[id]) {
        return Status::invalid_queue_identifier;
    }
    if (auto const status = check_shape(command, page_lg2, entry_lg2, 4);
        status != Status::success) {
        return status;
    }
    auto const vector = high16(command.cdw11);
    if (vector >= kVectors) return Status::invalid_interrupt_vector;

    completion_[id] = {.id = id,
                       .base = Iova{command.prp1},
                       .size = high16(command.cdw10) + 1,
                       .interrupts = (command.cdw11 & 2) != 0,
                       .vector = vector};
    last_id_ = std::max(last_id_, id);
    return Status::success;
}

Status Queues::create_submission(Command const& command, unsigned page_lg2, unsigned entry_lg2)
{
    auto const id = low16(command.cdw10);
    if (id == 0 || id > allowed_submission_ || submission_[id]) {
        return Status::invalid_queue_identifier;
    }
    auto const cq_id = high16(command.cdw11);
    if (cq_id == 0 || cq_id > allowed_completion_) return Status::invalid_queue_identifier;
    if (!completion_[cq_id]) return Status::completion_queue_invalid;
    if (auto const status = check_shape(command, page_lg2, entry_lg2, 6);
        status != Status::success) {
        return status;
    }

    submission_[id] = {
        .id = id, .base = Iova{command.prp1}, .size = high16(command.cdw10) + 1, .cq_id = cq_id};
    last_id_ = std::max(last_id_, id);
    return Status::success;
}

Status Queues::delete_completion(Command const& command)
{
    auto const id = low16(command.cdw10);
    if (id == 0 || completion(id) == nullptr) return Status::invalid_queue_identifier;
    for (auto const& queue : submission_) {
        if (queue && queue->cq_id == id) return Status::invalid_queue_deletion;
    }
    completion_[id].reset();
    return Status::success;
}

Status Queues::delete_submission(Command const& command)
{
    auto const id = low16(command.cdw10);
    if (id == 0 || submission(id) == nullptr) return Status::invalid_queue_identifier;
    submission_[id].reset();
    return Status::success;
}

}  // namespace pinfold::devices::nvme
