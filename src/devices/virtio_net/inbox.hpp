// Frames on their way from one port to its peer. What does not fit is lost, as on a wire whose far
// end does not listen. Thread safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

namespace pinfold::devices::virtio_net {

class Inbox {
public:
    static constexpr std::size_t kCapacity = std::size_t{1} << 20;  // bytes

    // Memory is taken at the first frame. False: the frame is lost.
    bool put(std::span<std::byte const> frame);
    // The oldest frame, and its size; 0: there is none. REQUIRES: room for the longest frame.
    std::size_t take(std::span<std::byte> into);
    void clear();

private:
    bool make_room(std::size_t size);

    std::mutex mutex_;
    std::vector<std::byte> bytes_;  // for each frame its size, as std::uint32_t, and its bytes
    std::size_t start_ = 0, end_ = 0;
};

}  // namespace pinfold::devices::virtio_net
