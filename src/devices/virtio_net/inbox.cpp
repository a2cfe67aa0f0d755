#include "devices/virtio_net/inbox.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace pinfold::devices::virtio_net {

bool Inbox::make_room(std::size_t size)
{
    if (bytes_.empty()) bytes_.resize(kCapacity);
    if (start_ == end_) start_ = end_ = 0;
    if (kCapacity - end_ >= size) return true;
    if (kCapacity - (end_ - start_) < size) return false;
    std::memmove(bytes_.data(), bytes_.data() + start_, end_ - start_);
    end_ -= start_;
    start_ = 0;
    return true;
}

bool Inbox::put(std::span<std::byte const> frame)
{
    std::lock_guard const lock{mutex_};
    auto const size = static_cast<std::uint32_t>(frame.size());
    if (!make_room(sizeof size + size)) return false;
    std::memcpy(bytes_.data() + end_, &size, sizeof size);
    std::ranges::copy(frame, bytes_.begin() + static_cast<std::ptrdiff_t>(end_ + sizeof size));
    end_ += sizeof size + size;
    return true;
}

std::size_t Inbox::take(std::span<std::byte> into)
{
    std::lock_guard const lock{mutex_};
    if (start_ == end_) return 0;
    std::uint32_t size = 0;
    std::memcpy(&size, bytes_.data() + start_, sizeof size);
    assert(size <= into.size());
    std::memcpy(into.data(), bytes_.data() + start_ + sizeof size, size);
    start_ += sizeof size + size;
    return size;
}

void Inbox::clear()
{
    std::lock_guard const lock{mutex_};
    start_ = end_ = 0;
}

}  // namespace pinfold::devices::virtio_net
