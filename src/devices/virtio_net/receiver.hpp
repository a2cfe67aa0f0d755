// The receive queue: puts frames into the buffers that the driver has made available, virtio 1.1,
// 5.1.6.4.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "devices/virtio_net/frame_buffer.hpp"
#include "devices/virtio_net/split_queue.hpp"

namespace pinfold::devices::virtio_net {

class Receiver {
public:
    explicit Receiver(pci::DmaPort& dma) : dma_{dma}, queue_{dma} {}

    SplitQueue& queue() { return queue_; }
    Result<> start(QueueLayout const& layout, std::uint64_t features);

    // One frame; the driver sees it at queue().publish(). False: it is lost, because the queue does
    // not run, the buffers are too few or too small, or one of them cannot be reached. An error is
    // the queue's (SplitQueue).
    Result<bool> put(FrameBuffer& frame);

private:
    Result<bool> wait_for_one();
    Result<bool> put_into_many(FrameBuffer& frame, std::uint16_t buffers);
    Result<std::uint16_t> buffers_for(std::uint64_t bytes);
    bool write(std::span<std::byte const> bytes);

    pci::DmaPort& dma_;
    SplitQueue queue_;
    Chain chain_;
    std::size_t header_ = kShortHeader;
    bool mergeable_ = false;
};

}  // namespace pinfold::devices::virtio_net
