// A pcap file that a port's frames are appended to: nanosecond time stamps, Ethernet. Each record
// is one write, so that several processes can append to one file.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "base/unique_fd.hpp"
#include "pci/device.hpp"

namespace pinfold::devices::virtio_net {

class Capture {
public:
    Capture() = default;  // captures nothing
    // Makes the file where there is none. The sentence says why it is no use: it cannot be written,
    // or is something else than such a capture.
    static pci::Checked<Capture> open(std::string const& path);
    // The same without making or changing anything.
    static pci::Checked<void> check(std::string const& path);

    bool on() const { return static_cast<bool>(file_); }
    // One frame, now. A file that cannot take it is written no further.
    void record(std::span<std::byte const> frame);
    // Whether some frame could not be written.
    bool incomplete() const { return incomplete_; }

private:
    UniqueFd file_;
    bool incomplete_ = false;
};

}  // namespace pinfold::devices::virtio_net
