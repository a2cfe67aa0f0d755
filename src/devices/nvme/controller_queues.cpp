// The Controller's second half: doorbells, the commands they start, and interrupts.
#include <algorithm>
#include <atomic>

#include "devices/nvme/controller.hpp"

namespace pinfold::devices::nvme {
namespace {

constexpr std::uint32_t kBatch = 32;  // commands fetched in one read

}  // namespace

void Controller::ring(unsigned doorbell, std::uint32_t value)
{
    if (!state_.registers.ready()) return;
    auto const id = doorbell / 2;
    if (doorbell % 2 == 0) {
        move_tail(id, value);
        follow_tail(id);
    } else {
        move_head(id, value);
    }
    tell_events();
}

// Where the host writes its doorbells to memory: it hears where the controller has come to, and
// what it has added meanwhile without a register write is done too.
void Controller::follow_tail(unsigned id)
{
    constexpr unsigned kMostRounds = 1U << 16;
    for (unsigned round = 0; round < kMostRounds && state_.registers.ready(); ++round) {
        auto const* const queue = state_.queues.submission(id);
        if (queue == nullptr || !state_.doorbells.covers(id)) return;
        state_.doorbells.ask(id, DoorbellBuffer::Which::submission_tail, queue->tail);
        auto const tail = state_.doorbells.read(id, DoorbellBuffer::Which::submission_tail);
        if (!tail || *tail == queue->tail) return;
        move_tail(id, *tail);
        if (state_.queues.submission(id)->tail != *tail) return;  // it was none
    }
}

// The same for completions that the host has taken. True: it has taken some.
bool Controller::follow_head(CompletionQueue& queue)
{
    if (!state_.doorbells.covers(queue.id)) return false;
    auto const head = state_.doorbells.read(queue.id, DoorbellBuffer::Which::completion_head);
    if (!head || *head == queue.head || *head >= queue.size ||
        (*head + queue.size - queue.head) % queue.size > queue.used())
        return false;
    queue.head = *head;
    return true;
}

// Room in the queue, for which the host need not write its register unless there is none.
bool Controller::has_room(CompletionQueue& queue)
{
    if (!state_.doorbells.covers(queue.id)) return queue.free() != 0;
    follow_head(queue);
    bool const wants_to_hear = queue.free() == 0 || !bus_.message_signalled();
    if (wants_to_hear) {
        state_.doorbells.ask(queue.id, DoorbellBuffer::Which::completion_head, queue.head);
        follow_head(queue);
    } else {
        state_.doorbells.do_not_ask(queue.id, DoorbellBuffer::Which::completion_head);
    }
    return queue.free() != 0;
}

void Controller::move_tail(unsigned id, std::uint32_t tail)
{
    auto* const queue = state_.queues.submission(id);
    if (queue == nullptr) return invalid_doorbell(AsyncEvents::kInvalidDoorbellRegister);
    // One slot of a queue stays free, so a tail that passes the head asks for more than fits.
    if (tail >= queue->size ||
        (tail + queue->size - queue->tail) % queue->size > queue->size - 1 - queue->waiting()) {
        return invalid_doorbell(AsyncEvents::kInvalidDoorbellValue);
    }
    queue->tail = tail;
    if (run(*queue) == Posted::yes) signal(*state_.queues.completion(queue->cq_id));
}

void Controller::move_head(unsigned id, std::uint32_t head)
{
    auto* const queue = state_.queues.completion(id);
    if (queue == nullptr) return invalid_doorbell(AsyncEvents::kInvalidDoorbellRegister);
    if (head >= queue->size || (head + queue->size - queue->head) % queue->size > queue->used()) {
        return invalid_doorbell(AsyncEvents::kInvalidDoorbellValue);
    }
    queue->head = head;

    // Commands that waited for room go on.
    auto posted = Posted::no;
    for (unsigned sq_id = 0; sq_id <= state_.queues.last_id(); ++sq_id) {
        auto* const waiting = state_.queues.submission(sq_id);
        if (waiting == nullptr || waiting->cq_id != id) continue;
        if (run(*waiting) == Posted::yes) posted = Posted::yes;
    }
    if (posted == Posted::yes) {
        signal(*queue);
    } else {
        update_pin();
    }
}

// Carries out what waits in `queue`, as long as its completion queue has room. A parked command
// needs none.
Controller::Posted Controller::run(SubmissionQueue& queue)
{
    auto& completions = *state_.queues.completion(queue.cq_id);
    auto posted = Posted::no;
    while (state_.registers.ready() && queue.waiting() != 0 && has_room(completions)) {
        std::array<Command, kBatch> storage;
        auto const batch = std::span{storage}.first(
            std::min({kBatch, queue.waiting(), queue.size - queue.head, completions.free()}));
        if (!bus_.dma().read(queue.base + queue.head * sizeof(Command),
                             std::as_writable_bytes(batch))) {
            fail_fatally();
            break;
        }
        for (auto const& command : batch) {
            queue.head = (queue.head + 1) % queue.size;
            auto const reply = execute(queue, command);
            if (!reply) continue;
            post(queue, command.id, *reply);
            if (!state_.registers.ready()) return posted;
            posted = Posted::yes;
        }
    }
    return posted;
}

std::optional<Reply> Controller::execute(SubmissionQueue const& queue, Command const& command)
{
    std::optional<Reply> reply = Status::invalid_field;
    // No fused commands; SGLs for I/O commands only (4.4), and PSDT 3 is reserved.
    unsigned const fused = command.flags & 3, psdt = command.flags >> 6;
    if (fused == 0 && psdt <= (queue.id == 0 ? 0U : 2U)) {
        reply = queue.id == 0 ? admin_.execute(command) : io_.execute(command);
    }
    if (reply && reply->status != Status::success) {
        auto const lba = queue.id == 0 ? 0 : std::uint64_t{command.cdw11} << 32 | command.cdw10;
        state_.errors.add({.sq_id = static_cast<std::uint16_t>(queue.id),
                           .command_id = command.id,
                           .status = reply->status,
                           .lba = lba,
                           .nsid = command.nsid});
    }
    return reply;
}

// REQUIRES: the completion queue has room.
void Controller::post(SubmissionQueue const& from, std::uint16_t command_id, Reply const& reply)
{
    auto& queue = *state_.queues.completion(from.cq_id);
    Completion const entry{.result = reply.result,
                           .reserved = 0,
                           .sq_head = static_cast<std::uint16_t>(from.head),
                           .sq_id = static_cast<std::uint16_t>(from.id),
                           .command_id = command_id,
                           .status_and_phase = static_cast<std::uint16_t>(
                               number(reply.status) << 1 | (queue.phase ? 1 : 0))};

    // A host that polls takes the entry once its phase bit turns: the entry goes first with the old
    // phase, then the one byte that holds the bit.
    constexpr std::size_t kPhaseByte = offsetof(Completion, status_and_phase);
    auto const slot = queue.base + queue.tail * sizeof(Completion);
    Completion old_phase = entry;
    old_phase.status_and_phase ^= 1;
    if (!bus_.dma().write(slot, std::as_bytes(std::span{&old_phase, 1}))) return fail_fatally();
    std::atomic_thread_fence(std::memory_order_release);
    auto const phase = std::as_bytes(std::span{&entry, 1}).subspan(kPhaseByte, 1);
    if (!bus_.dma().write(slot + kPhaseByte, phase)) return fail_fatally();
    queue.advance_tail();
}

void Controller::tell_events()
{
    auto* const queue = state_.queues.completion(0);
    bool posted = false;
    while (state_.registers.ready() && queue->free() != 0) {
        auto const answer = state_.events.next();
        if (!answer) break;
        post(*state_.queues.submission(0), answer->command_id, answer->reply);
        posted = true;
    }
    if (posted) signal(*queue);
}

void Controller::invalid_doorbell(unsigned information)
{
    constexpr std::uint16_t kNone = 0xffff;  // no command of any queue
    state_.errors.add({.sq_id = kNone,
                       .command_id = kNone,
                       .status = Status::invalid_field,
                       .lba = 0,
                       .nsid = 0});
    state_.events.happen(AsyncEvents::Type::error, information);
}

// One interrupt for however much a doorbell has completed: the host takes what it finds.
void Controller::signal(CompletionQueue const& queue)
{
    if (bus_.message_signalled() && queue.interrupts) bus_.raise(queue.vector);
    update_pin();
}

// INTx is a level: up while some queue that interrupts, unmasked, has entries the host has not
// taken. Messages have no level.
void Controller::update_pin()
{
    if (bus_.message_signalled()) return;
    auto const mask = state_.registers.load(Register::intms);
    auto const asks = [&](CompletionQueue const* queue) {
        return queue != nullptr && queue->interrupts && queue->used() != 0 &&
               (queue->vector >= 32 || (mask >> queue->vector & 1) == 0);
    };
    for (unsigned id = 0; id <= state_.queues.last_id(); ++id) {
        if (asks(state_.queues.completion(id))) return bus_.raise(0);
    }
    bus_.lower();
}

}  // namespace pinfold::devices::nvme
