// A command's data on its way between the client's memory and the controller. Not thread safe.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <span>
#include <vector>

#include "base/function_ref.hpp"
#include "devices/nvme/status.hpp"
#include "devices/nvme/wire.hpp"
#include "pci/device.hpp"

namespace pinfold::devices::nvme {

class Transfer {
public:
    explicit Transfer(pci::Bus& bus);

    // CC.MPS, in force from now on.
    void set_page_lg2(unsigned page_lg2) { page_lg2_ = page_lg2; }
    unsigned page_lg2() const { return page_lg2_; }

    // False once the controller is being stopped: a command that works for long gives up then.
    bool possible() const { return bus_.dma().bus_master(); }

    // All of these answer data_transfer_error for memory that cannot be reached, and what
    // walk_prps() or walk_sgl() answers.
    Status to_client(Command const& command, std::span<std::byte const> bytes);
    Status from_client(Command const& command, std::span<std::byte> bytes);
    // Gives the memory itself to `use`, for a file on the other end; a second time, with a copy of
    // it, where `use` answers EFAULT. `access` is the controller's;
    // `media_error` is what an error of the file itself is told as.
    using Use = FunctionRef<Result<>(std::span<iovec const>)>;
    Status stream(Command const& command, std::uint64_t size, Access access, Status media_error,
                  Use use);

private:
    Status locate(Command const& command, std::uint64_t size);
    Result<> copy_out(std::span<std::byte const> bytes);
    Result<> copy_in(std::span<std::byte> bytes);
    Result<> stream_through_copy(std::uint64_t size, Access access, Use use);

    pci::Bus& bus_;
    unsigned page_lg2_ = kMinPageLg2;
    std::vector<pci::DmaPiece> pieces_;  // kept for its capacity
};

}  // namespace pinfold::devices::nvme
