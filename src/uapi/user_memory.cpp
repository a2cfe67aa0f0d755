#include "uapi/user_memory.hpp"

#include <algorithm>
#include <array>

#include "base/range.hpp"

namespace pinfold::uapi {
namespace {

bool wraps(std::uint64_t start, std::size_t size)
{
    return size != 0 && !VaddrRange::of(Vaddr{start}, size);
}

}  // namespace

Result<> read_user_bytes(Client& client, std::uint64_t from, std::span<std::byte> into)
{
    if (wraps(from, into.size())) return fail(Errno::fault);
    return client.process().read(Vaddr{from}, into);
}

Result<> write_user_bytes(Client& client, std::uint64_t to, std::span<std::byte const> from)
{
    if (wraps(to, from.size())) return fail(Errno::fault);
    return client.process().write(Vaddr{to}, from);
}

// In pieces that end where no page can end, so that no byte of a page behind the NUL is touched.
Result<std::string> read_user_string(Client& client, std::uint64_t from, std::size_t most)
{
    constexpr std::size_t kPiece = 256;
    std::string text;
    std::array<char, kPiece> piece;
    while (text.size() < most) {
        std::uint64_t const at = from + text.size();
        std::size_t const size = std::min<std::size_t>(kPiece - at % kPiece, most - text.size());
        TRY(read_user_bytes(client, at, std::as_writable_bytes(std::span{piece}.first(size))));
        auto const end = std::find(piece.begin(), piece.begin() + size, '\0');
        text.append(piece.begin(), end);
        if (end != piece.begin() + size) return text;
    }
    return fail(Errno::inval);
}

}  // namespace pinfold::uapi
