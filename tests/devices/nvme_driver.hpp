// What a host's driver does with an NVMe controller, small and without mercy for itself: it
// initialises, makes queues, submits and reaps.
#pragma once

#include <cstdint>
#include <optional>
#include <ostream>
#include <span>

#include "devices/nvme/status.hpp"
#include "devices/nvme/wire.hpp"
#include "devices/nvme_rig.hpp"

namespace pinfold::devices::nvme {

inline void PrintTo(Status status, std::ostream* out)
{
    *out << "status 0x" << std::hex << number(status) << std::dec;
}

inline Status status_of(Completion const& entry)
{
    return Status{static_cast<std::uint16_t>(entry.status_and_phase >> 1)};
}

class NvmeDriver {
public:
    explicit NvmeDriver(NvmeRig& rig) : rig_{rig} {}

    // A submission queue with a completion queue of its own.
    struct Pair {
        unsigned id;
        std::uint64_t sq, cq;  // IOVAs
        std::uint32_t sq_size, cq_size;
        std::uint32_t tail = 0, head = 0;
        std::uint32_t sq_head = 0;  // as the last completion told
        bool phase = true;
    };

    // As QEMU's driver does it: reset, admin queues, enable. Resets everything of before.
    void enable(std::uint32_t admin_entries = 128);
    Pair& admin_queue() { return admin_; }

    // Create I/O Completion Queue and Submission Queue. Both must succeed.
    Pair make_queues(unsigned id, std::uint32_t entries, unsigned vector = 0);

    // Puts the command into the queue and gives it an id; ring() tells the controller.
    std::uint16_t submit(Pair& queue, Command command);
    void ring(Pair& queue);
    // Takes the next completion, if there is one; consume() tells the controller.
    std::optional<Completion> reap(Pair& queue);
    void consume(Pair& queue);

    // Submit, ring, reap, consume. REQUIRES: nothing else is under way in this queue.
    Completion run(Pair& queue, Command const& command);
    Completion admin(Command const& command) { return run(admin_, command); }

    // Points the command's PRPs at contiguous memory, writing a PRP list where one is needed.
    void point(Command& command, std::uint64_t iova, std::uint64_t size);

    static std::uint64_t tail_doorbell(unsigned id) { return kDoorbells + id * 8; }
    static std::uint64_t head_doorbell(unsigned id) { return kDoorbells + id * 8 + 4; }
    static std::uint64_t offset(Register which) { return static_cast<std::uint32_t>(which); }
    std::uint32_t csts() { return rig_.read32(offset(Register::csts)); }

private:
    NvmeRig& rig_;
    Pair admin_{};
    std::uint16_t next_id_ = 1;
    std::uint64_t list_ = 0;  // pages for PRP lists
};

// Commands that tests send again and again.
Command create_cq(unsigned id, std::uint64_t iova, std::uint32_t entries, unsigned vector);
Command create_sq(unsigned id, std::uint64_t iova, std::uint32_t entries, unsigned cq_id);
Command rw(IoOpcode opcode, std::uint64_t lba, std::uint32_t blocks, std::uint32_t nsid = 1);
Command admin_command(AdminOpcode opcode, std::uint32_t cdw10 = 0, std::uint32_t cdw11 = 0);

}  // namespace pinfold::devices::nvme
