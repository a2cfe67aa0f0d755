//   prp1 -> [ . . d d ]   the rest of a page, from any dword on
//   prp2 -> [ d d d . ]   one more page suffices: prp2 is it
//        or [ e e e L ]   else a list of entries, from any quadword of a page on;
//                 |       a last entry that is not the last of the data leads to the next list
//                 v
//                [ e e e e ]
#include "devices/nvme/prp.hpp"

#include <algorithm>
#include <array>
#include <span>

namespace pinfold::devices::nvme {
namespace {

class Walk {
public:
    Walk(unsigned page_lg2, std::uint64_t size, std::vector<pci::DmaPiece>& pieces)
        : page_{std::uint64_t{1} << page_lg2}, left_{size}, pieces_{pieces}
    {
    }

    std::uint64_t left() const { return left_; }
    std::uint64_t page() const { return page_; }
    std::uint64_t offset(std::uint64_t entry) const { return entry & (page_ - 1); }
    // Whether the data does not end in the next page.
    bool more_than_a_page() const { return left_ > page_; }

    // The rest of the page that `entry` points into, or of the data. Contiguous pages become one
    // piece.
    void take(std::uint64_t entry)
    {
        auto const bytes = std::min(left_, page_ - offset(entry));
        left_ -= bytes;
        if (!pieces_.empty() && pieces_.back().iova.raw() + pieces_.back().size == entry &&
            entry != 0) {
            pieces_.back().size += bytes;
        } else {
            pieces_.push_back({Iova{entry}, bytes});
        }
    }

private:
    std::uint64_t page_, left_;
    std::vector<pci::DmaPiece>& pieces_;
};

// One list, from `list` to the end of its page. `next` is where the data goes on, if it does.
Status take_list(pci::DmaPort& port, Walk& walk, std::uint64_t list, std::uint64_t& next)
{
    auto slots = (walk.page() - walk.offset(list)) / sizeof(std::uint64_t);
    std::array<std::uint64_t, 512> entries;
    while (walk.left() != 0) {
        auto const needed = (walk.left() + walk.page() - 1) / walk.page();
        auto const batch = std::span{entries}.first(std::min({entries.size(), slots, needed}));
        if (!port.read(Iova{list}, std::as_writable_bytes(batch))) {
            return Status::data_transfer_error;
        }
        list += batch.size_bytes();
        slots -= batch.size();
        for (auto const& entry : batch) {
            if (walk.offset(entry) != 0) return Status::prp_offset_invalid;
            if (slots == 0 && &entry == &batch.back() && walk.more_than_a_page()) {
                next = entry;
                return Status::success;
            }
            walk.take(entry);
        }
    }
    return Status::success;
}

}  // namespace

Status walk_prps(pci::DmaPort& port, unsigned page_lg2, std::uint64_t prp1, std::uint64_t prp2,
                 std::uint64_t size, std::vector<pci::DmaPiece>& pieces)
{
    pieces.clear();
    if (size == 0) return Status::success;
    Walk walk{page_lg2, size, pieces};
    if ((prp1 & 3) != 0) return Status::prp_offset_invalid;
    walk.take(prp1);
    if (walk.left() == 0) return Status::success;

    if (!walk.more_than_a_page()) {
        if (walk.offset(prp2) != 0) return Status::prp_offset_invalid;
        walk.take(prp2);
        return Status::success;
    }
    if ((prp2 & 7) != 0) return Status::prp_offset_invalid;
    // Ends: every list but the first, which may have a single slot, yields data.
    for (auto list = prp2; walk.left() != 0;) {
        if (auto const status = take_list(port, walk, list, list); status != Status::success) {
            return status;
        }
    }
    return Status::success;
}

}  // namespace pinfold::devices::nvme
