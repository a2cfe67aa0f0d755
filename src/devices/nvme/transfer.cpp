#include "devices/nvme/transfer.hpp"

#include "devices/nvme/prp.hpp"
#include "devices/nvme/sgl.hpp"

namespace pinfold::devices::nvme {

Transfer::Transfer(pci::Bus& bus) : bus_{bus} { pieces_.reserve(kMaxTransfer / 4096 + 1); }

Status Transfer::locate(Command const& command, std::uint64_t size)
{
    if (size > kMaxTransfer) return Status::invalid_field;
    if ((command.flags & 0xc0) != 0)
        return walk_sgl(bus_.dma(), command.prp1, command.prp2, size, pieces_);
    return walk_prps(bus_.dma(), page_lg2_, command.prp1, command.prp2, size, pieces_);
}

Result<> Transfer::copy_out(std::span<std::byte const> bytes)
{
    for (auto const& piece : pieces_) {
        TRY(bus_.dma().write(piece.iova, bytes.first(piece.size)));
        bytes = bytes.subspan(piece.size);
    }
    return {};
}

Result<> Transfer::copy_in(std::span<std::byte> bytes)
{
    for (auto const& piece : pieces_) {
        TRY(bus_.dma().read(piece.iova, bytes.first(piece.size)));
        bytes = bytes.subspan(piece.size);
    }
    return {};
}

Status Transfer::to_client(Command const& command, std::span<std::byte const> bytes)
{
    if (auto const status = locate(command, bytes.size()); status != Status::success) return status;
    return copy_out(bytes) ? Status::success : Status::data_transfer_error;
}

Status Transfer::from_client(Command const& command, std::span<std::byte> bytes)
{
    if (auto const status = locate(command, bytes.size()); status != Status::success) return status;
    return copy_in(bytes) ? Status::success : Status::data_transfer_error;
}

// A system call on the client's memory fails where the client has taken rights away from itself
// with mprotect(), which is nothing to a device: its port still reaches the page.
Status Transfer::stream(Command const& command, std::uint64_t size, Access access,
                        Status media_error, Use use)
{
    if (auto const status = locate(command, size); status != Status::success) return status;
    bool inaccessible = false;
    auto const direct = [&](std::span<iovec const> memory) -> Result<> {
        auto const used = use(memory);
        inaccessible = !used && used.error() == Errno::fault;
        return inaccessible ? fail(Errno::again) : used;  // no DMA fault so far
    };
    auto done = bus_.dma().with_segments(pieces_, access, direct);
    if (inaccessible) done = stream_through_copy(size, access, use);
    return done ? Status::success : status_of(done.error(), media_error);
}

Result<> Transfer::stream_through_copy(std::uint64_t size, Access access, Use use)
{
    std::vector<std::byte> copy(size);
    iovec const memory{copy.data(), copy.size()};
    if (access == Access::read) {
        TRY(copy_in(copy));
        return use({&memory, 1});
    }
    TRY(use({&memory, 1}));
    return copy_out(copy);
}

}  // namespace pinfold::devices::nvme
