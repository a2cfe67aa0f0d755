#include "devices/nvme/transfer.hpp"

#include "devices/nvme/prp.hpp"

namespace pinfold::devices::nvme {

Transfer::Transfer(pci::Bus& bus) : bus_{bus} { pieces_.reserve(kMaxTransfer / 4096 + 1); }

Status Transfer::locate(Command const& command, std::uint64_t size)
{
    if (size > kMaxTransfer) return Status::invalid_field;
    return walk_prps(bus_.dma(), page_lg2_, command.prp1, command.prp2, size, pieces_);
}

Status Transfer::to_client(Command const& command, std::span<std::byte const> bytes)
{
    if (auto const status = locate(command, bytes.size()); status != Status::success) return status;
    for (auto const& piece : pieces_) {
        if (!bus_.dma().write(piece.iova, bytes.first(piece.size)))
            return Status::data_transfer_error;
        bytes = bytes.subspan(piece.size);
    }
    return Status::success;
}

Status Transfer::from_client(Command const& command, std::span<std::byte> bytes)
{
    if (auto const status = locate(command, bytes.size()); status != Status::success) return status;
    for (auto const& piece : pieces_) {
        if (!bus_.dma().read(piece.iova, bytes.first(piece.size)))
            return Status::data_transfer_error;
        bytes = bytes.subspan(piece.size);
    }
    return Status::success;
}

Status Transfer::stream(Command const& command, std::uint64_t size, Access access,
                        Status media_error, FunctionRef<Result<>(std::span<iovec const>)> use)
{
    if (auto const status = locate(command, size); status != Status::success) return status;
    auto const done = bus_.dma().with_segments(pieces_, access, use);
    return done ? Status::success : status_of(done.error(), media_error);
}

}  // namespace pinfold::devices::nvme
