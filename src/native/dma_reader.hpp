// A device thread's side of a DmaMap. Included by dma_map.hpp.
#pragma once

#include <sys/uio.h>

#include "native/dma_map.hpp"

namespace pinfold {

// Why an access goes no further.
enum class DmaFaultReason { not_mapped, no_permission, no_memory };

struct DmaFault {
    Iova iova;  // the first byte that does not translate
    DmaFaultReason reason;
};

// What segments() found: `count` pieces with `bytes` in all. Less than was asked for: the fault, or
// none and no piece was left; go on behind these bytes then.
struct DmaSegments {
    std::size_t count = 0;
    std::uint64_t bytes = 0;
    std::optional<DmaFault> fault;
};

// One thread's. Looks up inside a DmaSection, or if it is Reading::polling between two calls of
// quiescent(). What was looked up is good until then. It must not outlive its DmaMap.
class DmaReader {
public:
    DmaReader(DmaReader&& other) noexcept
        : map_{std::exchange(other.map_, nullptr)}, reader_{other.reader_}, index_{other.index_}
    {
    }
    DmaReader& operator=(DmaReader&& other) noexcept
    {
        std::swap(map_, other.map_);
        std::swap(reader_, other.reader_);
        std::swap(index_, other.index_);
        return *this;
    }
    ~DmaReader()
    {
        if (map_ != nullptr) map_->remove_reader(reader_);
    }

    // Where `iova` leads, if all of [iova, iova + size) is there in one piece and grants `access`.
    // nullptr: it is not; segments() tells what is. size 0 is nowhere.
    [[gnu::always_inline]] std::byte* translate(Iova iova, std::uint64_t size, Access access) const
    {
        return index_->span(
            iova, [&](native::Entry entry, std::uint64_t last) __attribute__((always_inline)) {
                if (is_one_piece(entry, last, iova, size, access)) [[likely]]
                    return at(entry, iova);
                return translate_pieces(iova, size, access);
            });
    }

    // The pieces behind [iova, iova + size), merged where they are contiguous here; size 0 has
    // none.
    [[gnu::always_inline]] DmaSegments segments(Iova iova, std::uint64_t size, Access access,
                                                std::span<iovec> into) const
    {
        auto const [entry, last] = index_->span(iova);
        if (!is_one_piece(entry, last.raw(), iova, size, access) || into.empty()) [[unlikely]]
            return several_segments(iova, size, access, into);
        into[0] = {at(entry, iova), size};
        return {.count = 1, .bytes = size, .fault = {}};
    }

    // Copies. EFAULT: some byte does not translate; what comes before it is done. They open a
    // section of their own unless the thread polls; a write is marked dirty.
    Result<> read(Iova from, std::span<std::byte> into) const;
    Result<> write(Iova to, std::span<std::byte const> from) const;

    // The device has written, or is about to, [iova, iova + size), in this section. Nothing if no
    // log is kept or size is 0. REQUIRES: iova + size does not wrap; translate() has said so.
    [[gnu::always_inline]] void mark_dirty(Iova iova, std::uint64_t size) const
    {
        native::DirtySide* const side = map_->dirty_.load(std::memory_order_acquire);
        if (side != nullptr) side->mark(iova, size);
    }

    // Of Reading::polling: nothing is used that was looked up before. Call it in the device's loop,
    // and leave() before the thread blocks: an unmap waits for one of both.
    void quiescent() const { reader_->quiescent(); }
    void leave() const { reader_->leave(); }
    void enter() const { reader_->enter(); }

private:
    friend class DmaMap;
    friend class DmaMap::Call;
    DmaReader(DmaMap* map, native::Readers::Reader* reader)
        : map_{map}, reader_{reader}, index_{map->index_.get()}
    {
    }

    // `entry` holds up to `last`. A size of 0 is no piece.
    static bool is_one_piece(native::Entry entry, std::uint64_t last, Iova iova, std::uint64_t size,
                             Access access)
    {
        return entry.allows(access) && size - 1 <= last - iova.raw();
    }
    static std::byte* at(native::Entry entry, Iova iova)
    {
        return reinterpret_cast<std::byte*>(entry.paddr(iova).raw());
    }
    DmaSegments several_segments(Iova iova, std::uint64_t size, Access access,
                                 std::span<iovec> into) const;
    std::byte* translate_pieces(Iova iova, std::uint64_t size, Access access) const;

    DmaMap* map_;
    native::Readers::Reader* reader_;
    native::Index const* index_;
};

// One call of a thread that may be a device itself. A polling one is away meanwhile: it waits for
// others, who may wait for it.
class DmaMap::Call {
public:
    Call(DmaMap const& map, DmaReader const* self)
        : away_{self != nullptr && self->reader_->polls() ? self->reader_ : nullptr}, map_{map}
    {
        if (away_ != nullptr) away_->leave();
        map_.lock_.lock();
    }
    ~Call()
    {
        map_.lock_.unlock();
        if (away_ != nullptr) away_->enter();
    }
    Call(Call const&) = delete;
    Call& operator=(Call const&) = delete;

private:
    native::Readers::Reader* away_;
    DmaMap const& map_;
};

// While it lives, what was looked up inside stays. Not nested, and not of a polling thread.
class DmaSection {
public:
    explicit DmaSection(DmaReader const& reader) : reader_{reader} { reader.enter(); }
    ~DmaSection() { reader_.leave(); }
    DmaSection(DmaSection const&) = delete;
    DmaSection& operator=(DmaSection const&) = delete;

private:
    DmaReader const& reader_;
};

}  // namespace pinfold
