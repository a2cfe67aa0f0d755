#include "pci/msix_table.hpp"

#include <algorithm>
#include <cassert>

namespace pinfold::pci {
namespace {

constexpr std::byte kMasked{1};  // in an entry's vector control, its last four bytes
constexpr std::size_t kControl = 12;

std::byte bit_of(unsigned vector) { return std::byte{1} << (vector % 8); }

}  // namespace

MsixTable::MsixTable(unsigned vectors, std::span<std::byte> entries, std::span<std::byte> pending)
    : vectors_{vectors}, entries_{entries}, pending_{pending}
{
    assert(entries.size() >= vectors * kEntry && pending.size() >= pending_bytes(vectors));
}

std::byte& MsixTable::control(unsigned vector) const
{
    assert(vector < vectors_);
    return entries_[vector * kEntry + kControl];
}

void MsixTable::reset()
{
    empty_entries();
    std::ranges::fill(pending_.first(pending_bytes(vectors_)), std::byte{0});
}

void MsixTable::empty_entries()
{
    std::ranges::fill(entries_.first(vectors_ * kEntry), std::byte{0});
    mask_all();
}

bool MsixTable::masked(unsigned vector) const
{
    return (control(vector) & kMasked) != std::byte{0};
}

void MsixTable::mask(unsigned vector, bool masked)
{
    auto& byte = control(vector);
    byte = masked ? byte | kMasked : byte & ~kMasked;
}

void MsixTable::mask_all()
{
    for (unsigned vector = 0; vector < vectors_; ++vector) mask(vector, true);
}

bool MsixTable::pending(unsigned vector) const
{
    assert(vector < vectors_);
    return (pending_[vector / 8] & bit_of(vector)) != std::byte{0};
}

void MsixTable::set_pending(unsigned vector, bool pending)
{
    assert(vector < vectors_);
    auto& byte = pending_[vector / 8];
    byte = pending ? byte | bit_of(vector) : byte & ~bit_of(vector);
}

}  // namespace pinfold::pci
