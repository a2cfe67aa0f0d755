#include "devices/nvme/registers.hpp"

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstring>

namespace pinfold::devices::nvme {
namespace {

// Controller Capabilities, 3.1.1: queues contiguous, 10 seconds to become ready, doorbells 4 bytes
// apart, the NVM command set, pages of 4 KiB to 64 KiB.
constexpr std::uint64_t kCapabilities = std::uint64_t{kMaxQueueSize - 1} | std::uint64_t{1} << 16 |
                                        std::uint64_t{20} << 24 | std::uint64_t{1} << 37 |
                                        std::uint64_t{kMinPageLg2 - 12} << 48 |
                                        std::uint64_t{kMaxPageLg2 - 12} << 52;

}  // namespace

void Registers::reset(std::span<std::byte> page)
{
    assert(page.size() >= kRegistersEnd);
    page_ = page;
    for (std::uint64_t offset = 0; offset < kRegistersEnd; offset += 4) store_at(offset, 0);
    store_at(0, static_cast<std::uint32_t>(kCapabilities));
    store_at(4, static_cast<std::uint32_t>(kCapabilities >> 32));
    store(Register::vs, kVersion);
}

std::uint32_t Registers::load(Register which) const
{
    return dwords_[static_cast<std::uint32_t>(which) / 4];
}

void Registers::store(Register which, std::uint32_t value)
{
    store_at(static_cast<std::uint32_t>(which), value);
}

std::uint64_t Registers::load64(Register which) const
{
    auto const index = static_cast<std::uint32_t>(which) / 4;
    return dwords_[index] | std::uint64_t{dwords_[index + 1]} << 32;
}

std::uint64_t Registers::read(std::uint64_t offset, unsigned size) const
{
    std::uint64_t value = 0;
    if (offset < kRegistersEnd && size <= 8) {
        auto const bytes = std::as_bytes(std::span{dwords_}).subspan(offset);
        std::memcpy(&value, bytes.data(), std::min<std::size_t>(size, bytes.size()));
    }
    return value;
}

void Registers::store_at(std::uint64_t offset, std::uint32_t value)
{
    dwords_[offset / 4] = value;
    if (page_.empty()) return;  // before power-on
    auto* const dword = static_cast<std::uint32_t*>(static_cast<void*>(page_.data() + offset));
    std::atomic_ref{*dword}.store(value, std::memory_order_release);
}

}  // namespace pinfold::devices::nvme
