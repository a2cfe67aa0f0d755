// An NVM Express 1.4 controller: registers, doorbells, queues, interrupts. Whatever a doorbell asks
// for is done when the write that rang it returns, on the thread that wrote; a queue holds a
// bounded number of commands, and a command moves a bounded number of bytes.
//
// A controller that cannot reach its queues in memory sets CSTS.CFS and rests until it is reset.
#pragma once

#include <string>
#include <vector>

#include "devices/nvme/admin_commands.hpp"
#include "devices/nvme/io_commands.hpp"
#include "devices/nvme/state.hpp"
#include "pci/device.hpp"

namespace pinfold::devices::nvme {

class Controller final : public pci::Device {
public:
    // Does not touch the bus before reset(), its power-on. REQUIRES: `namespaces` has the ids
    // 1, 2, … in order.
    Controller(pci::Bus& bus, pci::Identity identity, std::string serial,
               std::vector<Namespace> namespaces);

    pci::Identity const& identity() const override { return identity_; }
    std::uint64_t bar_read(unsigned bar, std::uint64_t offset, unsigned size) override;
    void bar_write(unsigned bar, std::uint64_t offset, unsigned size, std::uint64_t value) override;
    void reset() override;
    void alarm() override;
    std::string summary() const override;

private:
    // Registers.
    void write_register(Register which, std::uint32_t value);
    void mask_interrupts(std::uint32_t mask);
    void configure(Configuration wanted);
    void enable();
    void disable();
    void shut_down();
    void stop_keep_alive();
    void fail_fatally();

    // Queues.
    void ring(unsigned doorbell, std::uint32_t value);
    void move_tail(unsigned id, std::uint32_t tail);
    void move_head(unsigned id, std::uint32_t head);
    void follow_tail(unsigned id);
    bool follow_head(CompletionQueue& queue);
    bool has_room(CompletionQueue& queue);
    enum class Posted : bool { no, yes };
    Posted run(SubmissionQueue& queue);
    std::optional<Reply> execute(SubmissionQueue const& queue, Command const& command);
    void post(SubmissionQueue const& from, std::uint16_t command_id, Reply const& reply);
    void tell_events();
    void invalid_doorbell(unsigned information);

    // Interrupts.
    void signal(CompletionQueue const& queue);
    void update_pin();

    pci::Identity const identity_;
    pci::Bus& bus_;
    State state_;
    AdminCommands admin_;
    IoCommands io_;
};

}  // namespace pinfold::devices::nvme
