#include "native/dma_reader.hpp"

#include <algorithm>
#include <cstring>

namespace pinfold {
namespace {

DmaFault fault_of(native::Entry entry, Iova iova, Access access)
{
    if (entry.empty()) return {iova, DmaFaultReason::not_mapped};
    if (!allows(entry.prot(), access)) return {iova, DmaFaultReason::no_permission};
    return {iova, DmaFaultReason::no_memory};
}

// One for the accesses of a thread that does not poll.
class OwnSection {
public:
    OwnSection(DmaReader const& reader, bool polling) : reader_{polling ? nullptr : &reader}
    {
        if (reader_ != nullptr) reader_->enter();
    }
    ~OwnSection()
    {
        if (reader_ != nullptr) reader_->leave();
    }
    OwnSection(OwnSection const&) = delete;
    OwnSection& operator=(OwnSection const&) = delete;

private:
    DmaReader const* reader_;
};

}  // namespace

DmaSegments DmaReader::several_segments(Iova iova, std::uint64_t size, Access access,
                                        std::span<iovec> into) const
{
    DmaSegments found;
    if (size == 0) return found;
    auto const range = IovaRange::of(iova, size);
    Iova const last = range ? range->last : Iova{~std::uint64_t{0}};
    std::byte* expected = nullptr;  // where a piece would begin that continues the last one
    index_->visit({iova, last}, [&](native::Entry entry, std::uint64_t from, std::uint64_t to) {
        if (!entry.allows(access)) [[unlikely]] {
            found.fault = fault_of(entry, Iova{from}, access);
            return false;
        }
        std::byte* const memory = at(entry, Iova{from});
        std::uint64_t const bytes = to - from + 1;
        if (memory == expected && found.count != 0) {
            into[found.count - 1].iov_len += bytes;
        } else {
            if (found.count == into.size()) return false;
            into[found.count++] = {memory, bytes};
        }
        expected = memory + bytes;
        found.bytes += bytes;
        return true;
    });
    if (!range && !found.fault && found.bytes == last.raw() - iova.raw() + 1)
        found.fault = DmaFault{Iova{0}, DmaFaultReason::not_mapped};
    return found;
}

std::byte* DmaReader::translate_pieces(Iova iova, std::uint64_t size, Access access) const
{
    iovec piece = {};
    auto const found = several_segments(iova, size, access, {&piece, 1});
    return found.bytes == size && size != 0 ? static_cast<std::byte*>(piece.iov_base) : nullptr;
}

Result<> DmaReader::read(Iova from, std::span<std::byte> into) const
{
    OwnSection const section{*this, reader_->reading() == Reading::polling};
    while (!into.empty()) {
        iovec piece = {};
        auto const found = segments(from, into.size(), Access::read, {&piece, 1});
        if (found.bytes == 0) return fail(Errno::fault);
        std::memcpy(into.data(), piece.iov_base, found.bytes);
        if (found.bytes == into.size()) return {};
        if (found.fault) return fail(Errno::fault);
        into = into.subspan(found.bytes);
        from = from + found.bytes;
    }
    return {};
}

Result<> DmaReader::write(Iova to, std::span<std::byte const> from) const
{
    OwnSection const section{*this, reader_->reading() == Reading::polling};
    while (!from.empty()) {
        iovec piece = {};
        auto const found = segments(to, from.size(), Access::write, {&piece, 1});
        if (found.bytes == 0) return fail(Errno::fault);
        std::memcpy(piece.iov_base, from.data(), found.bytes);
        mark_dirty(to, found.bytes);
        if (found.bytes == from.size()) return {};
        if (found.fault) return fail(Errno::fault);
        from = from.subspan(found.bytes);
        to = to + found.bytes;
    }
    return {};
}

}  // namespace pinfold
