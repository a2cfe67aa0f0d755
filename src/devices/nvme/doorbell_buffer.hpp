// The two pages of Doorbell Buffer Config, 5.7 and 7.13: a host that has set them writes its
// doorbells to memory, and to the register only where the controller has asked for that. The
// controller runs inside of the register write, so it always asks to hear of new commands, and of
// taken completions only while it waits for room (or holds INTx up).
//
// The admin queues are not in it. Not thread safe.
#pragma once

#include <cstdint>
#include <optional>

#include "base/address.hpp"
#include "pci/device.hpp"

namespace pinfold::devices::nvme {

class DoorbellBuffer {
public:
    explicit DoorbellBuffer(pci::Bus& bus) : bus_{bus} {}

    void set(Iova doorbells, Iova events)
    {
        doorbells_ = doorbells;
        events_ = events;
        set_ = true;
        used_ = true;
    }
    void clear() { set_ = false; }
    // Whether a host has ever set it.
    bool used() const { return used_; }
    // Whether the queues with this id are in it.
    bool covers(unsigned id) const { return set_ && id != 0; }

    enum class Which : std::uint8_t { submission_tail = 0, completion_head = 1 };
    // What the host has written. nullopt: it cannot be reached, and the buffer is given up.
    std::optional<std::uint32_t> read(unsigned id, Which which);
    // The host is to write the register when its value passes `event`.
    void ask(unsigned id, Which which, std::uint32_t event);
    // The host is not to write the register, if it can be helped.
    void do_not_ask(unsigned id, Which which) { ask(id, which, kNever); }

private:
    // Queues have fewer entries, so that no value passes it (but for the step from the end of a
    // queue to its beginning).
    static constexpr std::uint32_t kNever = 0xffff;

    pci::Bus& bus_;
    Iova doorbells_, events_;
    bool set_ = false;
    bool used_ = false;
};

}  // namespace pinfold::devices::nvme
