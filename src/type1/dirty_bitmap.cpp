#include "type1/dirty_bitmap.hpp"

#include <algorithm>
#include <span>

namespace pinfold::type1 {
namespace {

constexpr std::uint64_t kMostGranules = (std::uint64_t{1} << 31) - 1;
constexpr unsigned kWordBits = 64;

std::size_t words_for(std::uint64_t bits) { return (bits + kWordBits - 1) / kWordBits; }

// One word more than the granules need: a shift moves at most 63 bits into it.
std::size_t room_for(std::uint64_t granules) { return words_for(granules) + 1; }

}  // namespace

Result<DirtyBitmap> DirtyBitmap::of(std::uint64_t granules)
{
    if (granules > kMostGranules) return fail(Errno::inval);
    DirtyBitmap bitmap;
    bitmap.words_.resize(room_for(granules));
    return bitmap;
}

Result<> DirtyBitmap::write_out(host::Process& process, Vaddr user, std::uint64_t granules,
                                std::uint64_t offset, bool all)
{
    make_room(granules);
    if (all || all_) fill(0, granules, true);

    Vaddr const first = user + offset / kWordBits * sizeof(std::uint64_t);
    auto const shift = static_cast<unsigned>(offset % kWordBits);
    std::size_t const words = words_for(granules + shift);
    if (shift != 0) {
        shift_up(words, shift);
        std::uint64_t before = 0;
        TRY(process.read(first, std::as_writable_bytes(std::span{&before, 1})));
        words_[0] |= before;
    }
    return process.write(first, std::as_bytes(std::span{words_}.first(words)));
}

void DirtyBitmap::mark(std::uint64_t first, std::uint64_t count, std::uint64_t granules)
{
    make_room(granules);
    fill(first, count, true);
}

// The granule may have become finer since the bits were allocated: a domain went.
void DirtyBitmap::make_room(std::uint64_t granules)
{
    if (words_.size() < room_for(granules)) words_.resize(room_for(granules));
}

void DirtyBitmap::reset(std::uint64_t granules)
{
    fill(0, granules, false);
    all_ = false;
}

void DirtyBitmap::fill(std::uint64_t first, std::uint64_t count, bool dirty)
{
    for (std::uint64_t bit = first; bit < first + count;) {
        std::uint64_t const in_word = bit % kWordBits;
        std::uint64_t const bits =
            std::min<std::uint64_t>(kWordBits - in_word, first + count - bit);
        std::uint64_t const mask = ~std::uint64_t{0} >> (kWordBits - bits) << in_word;
        std::uint64_t& word = words_[bit / kWordBits];
        word = dirty ? word | mask : word & ~mask;
        bit += bits;
    }
}

// REQUIRES: 0 < shift < 64. What leaves the last word is lost; nothing is masked.
void DirtyBitmap::shift_up(std::size_t words, unsigned shift)
{
    for (std::size_t i = words; i-- > 0;) {
        std::uint64_t const below = i == 0 ? 0 : words_[i - 1] >> (kWordBits - shift);
        words_[i] = words_[i] << shift | below;
    }
}

}  // namespace pinfold::type1
