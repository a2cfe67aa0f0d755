// The door for device servers and VMMs: which of the program's own memory is behind which IOVA,
// with Type1's rules and without pinning. include/pinfold/dma_map.hpp shows how it is used.
//
// Thread safety: any thread may map and unmap, at its own pace (or one at a time:
// Options::writers): a call may wait for readers, and others then wait for it. A DmaReader belongs
// to one thread, and its look-ups never wait. An unmap returns when no reader uses what it took
// away any more. A thread of Reading::polling leaves its reader before it calls anything here that
// has no `self`, because others may wait for it while they have the map.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/address.hpp"
#include "base/page_size.hpp"
#include "base/prot.hpp"
#include "base/range.hpp"
#include "base/result.hpp"
#include "native/dirty_log.hpp"
#include "native/files.hpp"
#include "native/index.hpp"
#include "native/memory.hpp"
#include "native/readers.hpp"
#include "native/spin_lock.hpp"

namespace pinfold {

class DmaBatch;
class DmaMap;
class DmaReader;
using Reading = native::Reading;
using Writers = native::Writers;

// A file of a client's whose parts can be mapped. It is mapped into the process once, all of it,
// until no handle and no mapping is left. A client that shortens the file makes accesses to what is
// gone a SIGBUS: ask for F_SEAL_SHRINK. It must not outlive its DmaMap.
class DmaFile {
public:
    DmaFile(DmaFile&& other) noexcept : map_{std::exchange(other.map_, nullptr)}, file_{other.file_}
    {
    }
    DmaFile& operator=(DmaFile&& other) noexcept
    {
        std::swap(map_, other.map_);
        std::swap(file_, other.file_);
        return *this;
    }
    ~DmaFile();

    bool writable() const { return file_->writable(); }

private:
    friend class DmaMap;
    DmaFile(DmaMap* map, native::File* file) : map_{map}, file_{file} {}

    DmaMap* map_;
    native::File* file_;
};

class DmaMap {
public:
    struct Options {
        unsigned iova_width = 64;  // bits, 13 to 64
        PageSize granule = k4K;    // what addresses and sizes are multiples of; 4K or more
        std::uint64_t mapping_limit = 65535;
        native::Memory* memory = nullptr;  // for tables; nullptr: the system's
        // `one`: no two threads are in a call of the map at once, which the program sees to, as
        // with one thread that does all of it. A call then saves a locked instruction, a third of
        // it. Calls are what DmaMap and DmaBatch have, and the ends of a DmaFile, a DmaBatch and a
        // DmaReader; look-ups and marks are none.
        Writers writers = Writers::many;
    };
    // EINVAL: no such width or granule. ENOMEM.
    static Result<std::unique_ptr<DmaMap>> create(Options options);
    // REQUIRES: no DmaReader and no DmaFile of it is left.
    ~DmaMap();
    DmaMap(DmaMap const&) = delete;
    DmaMap& operator=(DmaMap const&) = delete;

    // Who mappings are accounted to: a client, a device. Owner{} always exists and has no limits.
    enum class Owner : std::uint32_t {};
    struct Usage {
        std::uint64_t bytes = 0;
        std::uint64_t mappings = 0;
    };
    // The most that an owner may have. ENOMEM.
    Result<Owner> add_owner(Usage limits);
    // Unmaps what it has, and forgets it. EINVAL: there is no such owner, or it is Owner{}.
    Result<> remove_owner(Owner owner, DmaReader* self = nullptr);
    Usage usage(Owner owner) const;

    // Refers to the file that `fd` refers to; `fd` may be closed afterwards. The same file by
    // another descriptor is the same. EBADF. EACCES: not open for reading. ENODEV: not a regular
    // file or memfd. EMFILE, ENOMEM.
    Result<DmaFile> file(int fd);

    // VFIO_IOMMU_MAP_DMA, without pinning: what is mapped must stay, or become a fault of the
    // program. Checked in this order. EINVAL: iova, memory or size is no multiple of the granule,
    // size is 0, or prot grants nothing. EOVERFLOW: a range passes the end of its space. EEXIST:
    // overlaps a mapping. ENOSPC: the limit of mappings, or the owner's. EINVAL: beyond iova_width.
    // ENOMEM: the owner's limit of bytes, or no memory. A failed call changes nothing.
    Result<> map(Iova iova, void* memory, std::uint64_t size, Prot prot, Owner owner = {});
    // The same for bytes of a file, from `offset` on, a multiple of the granule. Before ENOMEM:
    // EACCES: for writing, of a file that is open for reading. EFAULT: the file ends before.
    Result<> map(Iova iova, DmaFile const& file, std::uint64_t offset, std::uint64_t size,
                 Prot prot, Owner owner = {});
    // For memory that cannot be reached from here, and is accessed by messages: it is known, takes
    // part in all the rules, and every look-up says FaultReason::no_memory.
    Result<> map_without_memory(Iova iova, std::uint64_t size, Prot prot, Owner owner = {});

    // VFIO_IOMMU_UNMAP_DMA, Type1v2: the bytes that were mapped in the range; 0 if nothing was.
    // EINVAL: no multiple of the granule, size 0, or a mapping reaches over an end of the range:
    // nothing is removed. EOVERFLOW: wraps. Returns when no reader uses what went; `self` is the
    // caller's own reader, if it is a thread that has one, and uses nothing: not what it looked up
    // before, either.
    // REQUIRES: the calling thread is in no DmaSection.
    Result<std::uint64_t> unmap(Iova iova, std::uint64_t size, DmaReader* self = nullptr);
    // Several ranges, all or none, with one wait; 0 stands for 2^64, too. They may overlap. EINVAL:
    // one is no multiple of the granule or ends before it starts, or a mapping reaches over an end
    // of one. DmaBatch waits once for several calls.
    Result<std::uint64_t> unmap(std::span<IovaRange const> ranges, DmaReader* self = nullptr);
    // The bytes that were mapped; 0 stands for 2^64, too.
    std::uint64_t unmap_all(DmaReader* self = nullptr);

    // The mapping at `from`, or the next one above it. nullopt: there is none.
    struct Region {
        IovaRange iova;
        std::byte* memory;  // nullptr: mapped without
        Prot prot;
        Owner owner;
    };
    std::optional<Region> region(Iova from) const;
    std::uint64_t mappings() const;
    // Of tables and records in use; without the dirty log.
    std::uint64_t table_bytes() const;

    // A place for one thread that looks things up. ENOMEM.
    Result<DmaReader> add_reader(Reading reading);

    // From the return on, what readers mark is kept, a bit for each 4 KiB. Again is no error.
    // ENOMEM.
    Result<> start_dirty_log(DmaReader* self = nullptr);
    void stop_dirty_log(DmaReader* self = nullptr);
    // Sets the bit of each page of `range` that was written since it was harvested last (bit 0 of
    // word 0: the first page) and leaves the others; devices go on meanwhile. When it returns, the
    // writes that these bits are about have been made. Bits outlive an unmap, so that what was
    // written last can be harvested after it. EINVAL: no log, no whole pages, or `into` has too few
    // bits.
    Result<> harvest(IovaRange range, std::span<std::uint64_t> into, DmaReader* self = nullptr);

private:
    friend class DmaBatch;
    friend class DmaFile;
    friend class DmaReader;
    class Call;
    // A line each, which is found by a shift.
    struct alignas(64) Account {
        Usage limits;
        Usage used;
        bool free = false;
    };
    struct Request {
        IovaRange iova;
        Owner owner;
    };

    DmaMap(Options const& options, std::unique_ptr<native::Index> index);
    bool aligned(std::uint64_t raw) const { return (raw & granule_mask_) == 0; }
    Result<> check(Iova iova, std::uint64_t other, std::uint64_t size, Prot prot) const;
    Result<IovaRange> unmappable(Iova iova, std::uint64_t size) const;
    std::optional<IovaRange> known(IovaRange range) const;
    bool within_limits(Request const& request) const;
    bool map_among_others(Request const& request, native::Entry entry);
    void charge(Request const& request);
    Result<> admit(Request const& request) const;
    Result<> commit(Request const& request, native::Entry entry, native::View* view);
    Result<> cuts_nothing(IovaRange range) const;
    std::uint64_t take(IovaRange range);
    void take_those_of(Owner owner);
    bool take_one(IovaRange range);
    Result<std::uint64_t> take_whole(IovaRange range);
    void remove(native::Index::Held const& held);
    void discharge(IovaRange iova, native::Index::Tag const& tag);
    void settle(DmaReader* self);
    void wait(DmaReader* self);
    void close(native::File& file);
    void remove_reader(native::Readers::Reader* reader);

    Iova const last_iova_;
    std::uint64_t const granule_mask_;
    std::uint64_t const mapping_limit_;
    native::Memory& memory_;
    std::atomic<native::DirtySide*> dirty_{nullptr};  // what devices mark; nullptr: no log is kept

    alignas(64) mutable native::SpinLock lock_;  // of all that follows
    std::unique_ptr<native::Index> const index_;
    std::vector<Account> accounts_;
    native::Readers readers_;
    native::Files files_;
    bool unsettled_ = false;   // mappings went, and nobody has waited since
    bool views_left_ = false;  // by mappings that went
    std::unique_ptr<native::DirtyLog> own_log_;
};

}  // namespace pinfold

#include "native/dma_batch.hpp"
#include "native/dma_reader.hpp"
