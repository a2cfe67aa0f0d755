// One frame in the device, with room before it for the header that a driver gets it with.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "devices/virtio_net/wire.hpp"

namespace pinfold::devices::virtio_net {

class FrameBuffer {
public:
    // All that a frame can take up.
    std::span<std::byte> room() { return std::span{bytes_}.subspan(kLongHeader); }
    // REQUIRES: size <= room().size().
    void set_size(std::size_t size)
    {
        assert(size <= room().size());
        size_ = size;
    }
    std::span<std::byte const> frame() const
    {
        return std::span{bytes_}.subspan(kLongHeader, size_);
    }
    // The frame behind a header of kShortHeader or kLongHeader bytes; nothing is offloaded, and
    // `buffers` is how many the driver finds it in.
    std::span<std::byte const> with_header(std::size_t header, std::uint16_t buffers)
    {
        auto const start = kLongHeader - header;
        auto const whole = std::span{bytes_}.subspan(start, header + size_);
        std::ranges::fill(whole.first(header), std::byte{0});
        if (header == kLongHeader) std::memcpy(&whole[kShortHeader], &buffers, sizeof buffers);
        return whole;
    }

private:
    std::vector<std::byte> bytes_ = std::vector<std::byte>(kLongHeader + kMostFrame);
    std::size_t size_ = 0;
};

}  // namespace pinfold::devices::virtio_net
