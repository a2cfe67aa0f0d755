#include "ram.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

namespace pinfold::tables {

namespace {

std::optional<std::uint64_t> number(std::string_view text)
{
    std::uint64_t value = 0;
    if (!text.starts_with("0x")) return std::nullopt;
    auto const [end, error] =
        std::from_chars(text.data() + 2, text.data() + text.size(), value, 16);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

}  // namespace

std::uint64_t below(Random& random, std::uint64_t bound)
{
    return std::uniform_int_distribution<std::uint64_t>{0, bound - 1}(random);
}

Ram::~Ram()
{
    for (int const file : files_) ::close(file);
}

bool Ram::add(std::string const& description)
{
    std::vector<std::string> words{""};
    for (char const c : description)
        if (c == ',')
            words.emplace_back();
        else
            words.back() += c;
    if (words.size() != 4) return false;
    auto const paddr = number(words[1]);
    auto const bytes = number(words[2]);
    auto const offset = number(words[3]);
    if (!paddr || !bytes || !offset) return false;
    auto const range = PaddrRange::of(Paddr{*paddr}, *bytes);
    int const file = ::open(words[0].c_str(), O_RDWR | O_CLOEXEC);
    if (file >= 0) files_.push_back(file);
    if (file < 0 || !range) return false;
    pieces_.push_back({file, *range, *offset});
    return true;
}

Ram::Piece const* Ram::piece(Paddr paddr) const
{
    auto const found = std::ranges::find_if(
        pieces_, [=](Piece const& piece) { return piece.range.contains(paddr); });
    return found == pieces_.end() ? nullptr : &*found;
}

bool Ram::taken(Paddr paddr) const
{
    return std::ranges::any_of(taken_, [=](PaddrRange range) { return range.contains(paddr); });
}

std::span<std::byte> Ram::map(PaddrRange range, Where where) const
{
    Piece const* const piece = this->piece(range.start);
    if (piece == nullptr || !piece->range.contains(range)) return {};
    bool const same = where == Where::same_address;
    // NOLINTNEXTLINE(performance-no-int-to-ptr): the address is what matters
    void* const wanted = same ? reinterpret_cast<void*>(range.start.raw()) : nullptr;
    void* const got = ::mmap(
        wanted, range.size(), PROT_READ | PROT_WRITE, MAP_SHARED | (same ? MAP_FIXED_NOREPLACE : 0),
        piece->file, static_cast<off_t>(piece->offset + (range.start - piece->range.start)));
    if (got == MAP_FAILED) return {};
    return {static_cast<std::byte*>(got), range.size()};
}

Paddr Ram::any_place(Random& random) const
{
    for (;;) {
        PaddrRange const range = pieces_[below(random, pieces_.size())].range;
        Paddr const paddr{range.start + (below(random, range.size()) & ~std::uint64_t{7})};
        if (!taken(paddr)) return paddr;
    }
}

std::optional<PaddrRange> Ram::any_part(Random& random, PaddrRange range) const
{
    std::vector<PaddrRange> parts;
    for (Piece const& piece : pieces_)
        if (auto const part = piece.range.intersection(range)) parts.push_back(*part);
    if (parts.empty()) return std::nullopt;
    return parts[below(random, parts.size())];
}

std::uint64_t Ram::read(Paddr paddr) const
{
    Piece const& piece = *this->piece(paddr);
    std::uint64_t value = 0;
    auto const offset = static_cast<off_t>(piece.offset + (paddr - piece.range.start));
    if (::pread(piece.file, &value, sizeof value, offset) != sizeof value) return ~value;
    return value;
}

void Ram::write(Paddr paddr, std::uint64_t value)
{
    Piece const& piece = *this->piece(paddr);
    auto const offset = static_cast<off_t>(piece.offset + (paddr - piece.range.start));
    // A write that is lost shows as a difference: the guest finds another value.
    [[maybe_unused]] auto const written = ::pwrite(piece.file, &value, sizeof value, offset);
}

}  // namespace pinfold::tables
