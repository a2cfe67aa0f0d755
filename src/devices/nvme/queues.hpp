// Submission and completion queues: where they are, how far they have come, which exist.
// 4.1, and the commands that create and delete them, 5.3 to 5.6. Not thread safe.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/address.hpp"
#include "base/result.hpp"
#include "devices/nvme/status.hpp"
#include "devices/nvme/wire.hpp"

namespace pinfold::devices::nvme {

struct CompletionQueue {
    unsigned id;
    Iova base;
    std::uint32_t size;  // entries
    bool interrupts;
    unsigned vector;
    std::uint32_t head = 0, tail = 0;
    bool phase = true;

    std::uint32_t used() const { return (tail + size - head) % size; }
    // One slot stays free, so that full and empty differ.
    std::uint32_t free() const { return size - 1 - used(); }
    void advance_tail();
};

struct SubmissionQueue {
    unsigned id;
    Iova base;
    std::uint32_t size;  // entries
    unsigned cq_id;
    std::uint32_t head = 0, tail = 0;

    std::uint32_t waiting() const { return (tail + size - head) % size; }
};

class Queues {
public:
    // The admin queues; everything else is gone. EOVERFLOW: a queue passes 2^64.
    Result<> enable(Iova submission, std::uint32_t submission_size, Iova completion,
                    std::uint32_t completion_size);
    void clear();

    // nullptr: there is none.
    SubmissionQueue* submission(unsigned id);
    CompletionQueue* completion(unsigned id);
    bool any_io_queue() const;
    // No queue of either kind has a higher id.
    unsigned last_id() const { return last_id_; }

    // Set Features, Number of Queues: how many I/O queues the host may create.
    void allow(unsigned submission, unsigned completion);
    unsigned allowed_submission() const { return allowed_submission_; }
    unsigned allowed_completion() const { return allowed_completion_; }

    // The commands. `page_lg2` and the entry sizes are those of CC.
    Status create_completion(Command const& command, unsigned page_lg2, unsigned entry_lg2);
    Status create_submission(Command const& command, unsigned page_lg2, unsigned entry_lg2);
    Status delete_completion(Command const& command);
    Status delete_submission(Command const& command);

private:
    std::array<std::optional<SubmissionQueue>, kIoQueues + 1> submission_;
    std::array<std::optional<CompletionQueue>, kIoQueues + 1> completion_;
    unsigned last_id_ = 0;
    unsigned allowed_submission_ = kIoQueues, allowed_completion_ = kIoQueues;
};

}  // namespace pinfold::devices::nvme
