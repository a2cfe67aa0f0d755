// The open files by FileId. A look-up is two atomic operations and no lock: every call on a
// descriptor passes here.
//
// A file lives while its descriptors do and while somebody holds a Ref: a call that is inside it,
// or a device file that holds its group. The last one to let go destroys it. An id is not given out
// again soon, so a stale one finds nothing. Thread safe.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "uapi/file.hpp"

namespace pinfold::uapi {

class FileTable {
    struct Slot;

public:
    // Keeps a file alive.
    class Ref {
    public:
        Ref() = default;
        Ref(Ref&& other) noexcept : table_{other.table_}, slot_{std::exchange(other.slot_, nullptr)}
        {
        }
        Ref& operator=(Ref&& other) noexcept
        {
            std::swap(table_, other.table_);
            std::swap(slot_, other.slot_);
            return *this;
        }
        ~Ref()
        {
            if (slot_ != nullptr) table_->drop(*slot_);
        }

        explicit operator bool() const { return slot_ != nullptr; }
        File* operator->() const { return slot_->file.get(); }
        File& operator*() const { return *slot_->file; }

    private:
        friend class FileTable;
        Ref(FileTable& table, Slot& slot) : table_{&table}, slot_{&slot} {}

        FileTable* table_ = nullptr;
        Slot* slot_ = nullptr;
    };

    FileTable() = default;
    ~FileTable();
    FileTable(FileTable const&) = delete;
    FileTable& operator=(FileTable const&) = delete;

    // Takes the file in; `keeps` is let go of when the file has been destroyed. ENOMEM: the table
    // is full.
    Result<FileId> insert(std::unique_ptr<File> file, std::shared_ptr<void> keeps = nullptr);

    // The file of a descriptor; empty: none of ours, or its descriptors are gone.
    Ref find(FileId id);
    // Another reference to a file that somebody holds.
    Ref hold(File const& file);
    // Its descriptors are gone. Nothing happens for an id that find() does not know.
    void release(FileId id);

private:
    // state: generation << 32 | kOpen (its descriptors are there) | references, theirs included.
    struct Slot {
        std::atomic<std::uint64_t> state{0};
        std::unique_ptr<File> file;
        std::shared_ptr<void> keeps;
        std::uint32_t index = 0;
        Slot* next_free = nullptr;
    };
    static constexpr std::size_t kChunkSlots = 256;
    static constexpr std::size_t kChunks = 4096;
    struct Chunk {
        std::array<Slot, kChunkSlots> slots;
    };

    Slot* slot_of(FileId id) const;
    Result<Slot*> take_slot();
    void drop(Slot& slot);

    std::array<std::atomic<Chunk*>, kChunks> chunks_{};
    std::mutex mutex_;  // guards what follows
    std::vector<std::unique_ptr<Chunk>> owned_;
    Slot* free_ = nullptr;
};

}  // namespace pinfold::uapi
