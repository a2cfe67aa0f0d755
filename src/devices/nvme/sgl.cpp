#include "devices/nvme/sgl.hpp"

#include <algorithm>
#include <array>
#include <span>

namespace pinfold::devices::nvme {
namespace {

// 4.4.1: `rest` holds the length and, in its last byte, type and subtype.
struct SglDescriptor {
    std::uint64_t address;
    std::uint64_t rest;

    std::uint64_t length() const { return rest & 0xffff'ffff; }
    unsigned type() const { return static_cast<unsigned>(rest >> 60); }
    unsigned subtype() const { return static_cast<unsigned>(rest >> 56 & 0xf); }
};
static_assert(sizeof(SglDescriptor) == 16);
enum Type : unsigned { kDataBlock = 0, kSegment = 2, kLastSegment = 3 };

// Bounds what a list of empty blocks, or one that leads back into itself, makes the controller
// read.
constexpr std::uint64_t kMostDescriptors = 1U << 16;

class Walk {
public:
    Walk(pci::DmaPort& port, std::uint64_t size, std::vector<pci::DmaPiece>& pieces)
        : port_{port}, left_{size}, pieces_{pieces}
    {
    }

    Status run(SglDescriptor const& first)
    {
        SglDescriptor next = first;
        if (next.type() == kDataBlock) {
            if (auto const status = take(next); status != Status::success) return status;
            return finish();
        }
        for (;;) {
            if (auto const status = check_segment(next); status != Status::success) return status;
            bool const last = next.type() == kLastSegment;
            bool more = false;
            if (auto const status = read_segment(next, last, more); status != Status::success)
                return status;
            if (!more) return finish();
        }
    }

private:
    Status finish() const { return left_ == 0 ? Status::success : Status::sgl_length_invalid; }

    Status take(SglDescriptor const& block)
    {
        if (block.subtype() != 0) return Status::sgl_type_invalid;
        if (block.length() > left_) return Status::sgl_length_invalid;
        left_ -= block.length();
        if (block.length() != 0) pieces_.push_back({Iova{block.address}, block.length()});
        return Status::success;
    }

    static Status check_segment(SglDescriptor const& segment)
    {
        if ((segment.type() != kSegment && segment.type() != kLastSegment) ||
            segment.subtype() != 0)
            return Status::sgl_type_invalid;
        if (segment.length() == 0 || segment.length() % sizeof(SglDescriptor) != 0)
            return Status::sgl_segment_invalid;
        return Status::success;
    }

    // The descriptors of one segment. `more`: `segment` is now the one that goes on, which only the
    // last descriptor of a segment that is not the last may be.
    Status read_segment(SglDescriptor& segment, bool last, bool& more)
    {
        auto at = segment.address;
        for (auto count = segment.length() / sizeof(SglDescriptor); count != 0;) {
            std::array<SglDescriptor, 64> storage;
            auto const batch = std::span{storage}.first(std::min<std::uint64_t>(64, count));
            seen_ += batch.size();
            if (seen_ > kMostDescriptors) return Status::sgl_number_invalid;
            if (!port_.read(Iova{at}, std::as_writable_bytes(batch)))
                return Status::data_transfer_error;
            at += batch.size_bytes();
            count -= batch.size();
            for (auto const& one : batch) {
                bool const final = count == 0 && &one == &batch.back();
                if (one.type() == kDataBlock) {
                    if (auto const status = take(one); status != Status::success) return status;
                } else if (!last && final) {
                    segment = one;
                    more = true;
                } else {
                    return one.type() == kSegment || one.type() == kLastSegment
                               ? Status::sgl_segment_invalid
                               : Status::sgl_type_invalid;
                }
            }
        }
        return Status::success;
    }

    pci::DmaPort& port_;
    std::uint64_t left_;
    std::uint64_t seen_ = 0;
    std::vector<pci::DmaPiece>& pieces_;
};

}  // namespace

Status walk_sgl(pci::DmaPort& port, std::uint64_t address, std::uint64_t rest, std::uint64_t size,
                std::vector<pci::DmaPiece>& pieces)
{
    pieces.clear();
    return Walk{port, size, pieces}.run({address, rest});
}

}  // namespace pinfold::devices::nvme
