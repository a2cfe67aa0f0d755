#include "devices/nvme_driver.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <vector>

namespace pinfold::devices::nvme {

void NvmeDriver::enable(std::uint32_t admin_entries)
{
    rig_.write32(offset(Register::cc), rig_.read32(offset(Register::cc)) & ~1U);
    rig_.release_to(NvmeRig::kIova);
    list_ = rig_.allocate(2);
    admin_ = {.id = 0,
              .sq = rig_.allocate((admin_entries * sizeof(Command) + kPage - 1) / kPage),
              .cq = rig_.allocate((admin_entries * sizeof(Completion) + kPage - 1) / kPage),
              .sq_size = admin_entries,
              .cq_size = admin_entries};
    rig_.write32(offset(Register::aqa), (admin_entries - 1) << 16 | (admin_entries - 1));
    rig_.write64(offset(Register::asq), admin_.sq);
    rig_.write64(offset(Register::acq), admin_.cq);
    rig_.write32(offset(Register::cc), 0x46'0001);
}

NvmeDriver::Pair NvmeDriver::make_queues(unsigned id, std::uint32_t entries, unsigned vector)
{
    Pair queue{.id = id,
               .sq = rig_.allocate((entries * sizeof(Command) + kPage - 1) / kPage),
               .cq = rig_.allocate((entries * sizeof(Completion) + kPage - 1) / kPage),
               .sq_size = entries,
               .cq_size = entries};
    for (auto const& command :
         {create_cq(id, queue.cq, entries, vector), create_sq(id, queue.sq, entries, id)}) {
        if (auto const entry = admin(command); status_of(entry) != Status::success) {
            throw std::runtime_error{"no queue " + std::to_string(id)};
        }
    }
    return queue;
}

std::uint16_t NvmeDriver::submit(Pair& queue, Command command)
{
    command.id = next_id_++;
    auto const slot = rig_.memory(queue.sq + queue.tail * sizeof command, sizeof command);
    std::memcpy(slot.data(), &command, sizeof command);
    queue.tail = (queue.tail + 1) % queue.sq_size;
    return command.id;
}

void NvmeDriver::ring(Pair& queue) { rig_.write32(tail_doorbell(queue.id), queue.tail); }

std::optional<Completion> NvmeDriver::reap(Pair& queue)
{
    Completion entry;
    auto const slot = rig_.memory(queue.cq + queue.head * sizeof entry, sizeof entry);
    std::memcpy(&entry, slot.data(), sizeof entry);
    if (((entry.status_and_phase & 1) != 0) != queue.phase) return std::nullopt;
    queue.sq_head = entry.sq_head;
    queue.head = (queue.head + 1) % queue.cq_size;
    if (queue.head == 0) queue.phase = !queue.phase;
    return entry;
}

void NvmeDriver::consume(Pair& queue) { rig_.write32(head_doorbell(queue.id), queue.head); }

Completion NvmeDriver::run(Pair& queue, Command const& command)
{
    auto const id = submit(queue, command);
    ring(queue);
    auto const entry = reap(queue);
    if (!entry) throw std::runtime_error{"a command did not complete"};
    if (entry->command_id != id) throw std::runtime_error{"another command completed"};
    consume(queue);
    return *entry;
}

void NvmeDriver::point(Command& command, std::uint64_t iova, std::uint64_t size)
{
    command.prp1 = iova;
    auto const last = iova + size - 1;
    std::vector<std::uint64_t> pages;
    for (auto page = (iova & ~(kPage - 1)) + kPage; page <= last; page += kPage) {
        pages.push_back(page);
    }
    command.prp2 = 0;
    if (pages.size() == 1) command.prp2 = pages[0];
    if (pages.size() < 2) return;
    // Two list pages hold 511 + 512 entries.
    constexpr std::size_t kSlots = kPage / 8;
    if (pages.size() > kSlots) {
        pages.insert(pages.begin() + kSlots - 1, list_ + kPage);
    }
    auto const bytes = std::as_bytes(std::span{pages});
    std::ranges::copy(bytes, rig_.memory(list_, bytes.size()).begin());
    command.prp2 = list_;
}

Command admin_command(AdminOpcode opcode, std::uint32_t cdw10, std::uint32_t cdw11)
{
    Command command{};
    command.opcode = static_cast<std::uint8_t>(opcode);
    command.cdw10 = cdw10;
    command.cdw11 = cdw11;
    return command;
}

Command create_cq(unsigned id, std::uint64_t iova, std::uint32_t entries, unsigned vector)
{
    auto command =
        admin_command(AdminOpcode::create_cq, (entries - 1) << 16 | id, vector << 16 | 3);
    command.prp1 = iova;
    return command;
}

Command create_sq(unsigned id, std::uint64_t iova, std::uint32_t entries, unsigned cq_id)
{
    auto command = admin_command(AdminOpcode::create_sq, (entries - 1) << 16 | id, cq_id << 16 | 1);
    command.prp1 = iova;
    return command;
}

Command rw(IoOpcode opcode, std::uint64_t lba, std::uint32_t blocks, std::uint32_t nsid)
{
    Command command{};
    command.opcode = static_cast<std::uint8_t>(opcode);
    command.nsid = nsid;
    command.cdw10 = static_cast<std::uint32_t>(lba);
    command.cdw11 = static_cast<std::uint32_t>(lba >> 32);
    command.cdw12 = blocks - 1;
    return command;
}

}  // namespace pinfold::devices::nvme
