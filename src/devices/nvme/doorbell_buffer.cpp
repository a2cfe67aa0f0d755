#include "devices/nvme/doorbell_buffer.hpp"

#include <atomic>
#include <span>

namespace pinfold::devices::nvme {
namespace {

// As the registers lie, with a stride of 4 bytes.
std::uint64_t offset(unsigned id, DoorbellBuffer::Which which)
{
    return std::uint64_t{8} * id + (which == DoorbellBuffer::Which::completion_head ? 4 : 0);
}

}  // namespace

std::optional<std::uint32_t> DoorbellBuffer::read(unsigned id, Which which)
{
    std::uint32_t value = 0;
    auto const bytes = std::as_writable_bytes(std::span{&value, 1});
    if (!bus_.dma().read(doorbells_ + offset(id, which), bytes)) {
        clear();
        return std::nullopt;
    }
    // What the host wrote before it is read after it.
    std::atomic_thread_fence(std::memory_order_acquire);
    return value;
}

void DoorbellBuffer::ask(unsigned id, Which which, std::uint32_t event)
{
    if (!bus_.dma().write(events_ + offset(id, which), std::as_bytes(std::span{&event, 1})))
        clear();
    // The host writes its doorbell, then looks here; the controller does it the other way round.
    std::atomic_thread_fence(std::memory_order_seq_cst);
}

}  // namespace pinfold::devices::nvme
