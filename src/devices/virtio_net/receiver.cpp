#include "devices/virtio_net/receiver.hpp"

#include <algorithm>

namespace pinfold::devices::virtio_net {

Result<> Receiver::start(QueueLayout const& layout, std::uint64_t features)
{
    mergeable_ = (features & feature::kMergeableBuffers) != 0;
    bool const version1 = (features & feature::kVersion1) != 0;
    header_ = mergeable_ || version1 ? kLongHeader : kShortHeader;
    return queue_.start(layout, features);
}

Result<bool> Receiver::put(FrameBuffer& frame)
{
    if (!queue_.running() || !TRY(wait_for_one())) return false;
    TRY(queue_.next(chain_));
    auto const bytes = frame.with_header(header_, 1);
    if (chain_.writable_bytes() >= bytes.size()) {
        bool const written = write(bytes);
        TRY(queue_.done(chain_, written ? static_cast<std::uint32_t>(bytes.size()) : 0));
        return written;
    }
    queue_.give_back(1);
    if (!mergeable_) return false;
    auto const buffers = TRY(buffers_for(bytes.size()));
    if (buffers == 0) return false;
    return put_into_many(frame, buffers);
}

// Whether there is a buffer. The queue is looked at for each frame that needs one, and never for a
// notification.
Result<bool> Receiver::wait_for_one()
{
    if (queue_.waiting() != 0) return true;
    if (TRY(queue_.look()) == 0) return false;
    TRY(queue_.refuse_notifications());
    return true;
}

// How many chains, from the next one on, hold `bytes`. 0: they do not. None is taken.
Result<std::uint16_t> Receiver::buffers_for(std::uint64_t bytes)
{
    std::uint16_t taken = 0;
    std::uint64_t room = 0;
    while (room < bytes) {
        if (!TRY(wait_for_one())) break;
        TRY(queue_.next(chain_));
        ++taken;
        room += chain_.writable_bytes();
    }
    queue_.give_back(taken);
    return room < bytes ? std::uint16_t{0} : taken;
}

// The driver may have changed its chains since they were counted: then it gets what fits.
Result<bool> Receiver::put_into_many(FrameBuffer& frame, std::uint16_t buffers)
{
    auto bytes = frame.with_header(header_, buffers);
    bool whole = true;
    for (std::uint16_t i = 0; i < buffers; ++i) {
        TRY(queue_.next(chain_));
        auto const part =
            bytes.first(std::min<std::uint64_t>(bytes.size(), chain_.writable_bytes()));
        whole = write(part) && whole;
        TRY(queue_.done(chain_, static_cast<std::uint32_t>(part.size())));
        bytes = bytes.subspan(part.size());
    }
    return whole && bytes.empty();
}

// REQUIRES: chain_ has room for them.
bool Receiver::write(std::span<std::byte const> bytes)
{
    for (auto const& piece : chain_.writable()) {
        auto const part = bytes.first(std::min<std::uint64_t>(bytes.size(), piece.size));
        if (!dma_.write(piece.iova, part)) return false;
        bytes = bytes.subspan(part.size());
        if (bytes.empty()) break;
    }
    return true;
}

}  // namespace pinfold::devices::virtio_net
