#include "uapi/file_table.hpp"

namespace pinfold::uapi {
namespace {

constexpr std::uint64_t kOpen = std::uint64_t{1} << 31;
constexpr std::uint64_t kReferences = kOpen - 1;
constexpr unsigned kGenerationShift = 32;

// FileId: generation << kIndexBits | index. Generation 0 is skipped, so no id is FileId::none.
constexpr unsigned kIndexBits = 20;
constexpr std::uint32_t kIndexMask = (1U << kIndexBits) - 1;
constexpr std::uint32_t kLastGeneration = (1U << (32 - kIndexBits)) - 1;

std::uint32_t generation_of(std::uint64_t state)
{
    return static_cast<std::uint32_t>(state >> kGenerationShift);
}
FileId id_of(std::uint64_t state, std::uint32_t index)
{
    return FileId{generation_of(state) << kIndexBits | index};
}

}  // namespace

// A file that another one holds goes when that one does.
FileTable::~FileTable()
{
    for (auto const& chunk : owned_)
        for (Slot& slot : chunk->slots) release(id_of(slot.state, slot.index));
}

FileTable::Slot* FileTable::slot_of(FileId id) const
{
    std::uint32_t const index = static_cast<std::uint32_t>(id) & kIndexMask;
    Chunk* const chunk = chunks_[index / kChunkSlots].load(std::memory_order_acquire);
    return chunk == nullptr ? nullptr : &chunk->slots[index % kChunkSlots];
}

Result<FileTable::Slot*> FileTable::take_slot()
{
    std::lock_guard const lock{mutex_};
    if (free_ == nullptr) {
        if (owned_.size() == kChunks) return fail(Errno::nomem);
        auto chunk = std::make_unique<Chunk>();
        owned_.reserve(owned_.size() + 1);
        for (std::size_t i = kChunkSlots; i-- > 0;) {
            Slot& slot = chunk->slots[i];
            slot.index = static_cast<std::uint32_t>(owned_.size() * kChunkSlots + i);
            slot.next_free = std::exchange(free_, &slot);
        }
        chunks_[owned_.size()].store(chunk.get(), std::memory_order_release);
        owned_.push_back(std::move(chunk));
    }
    return std::exchange(free_, free_->next_free);
}

Result<FileId> FileTable::insert(std::unique_ptr<File> file, std::shared_ptr<void> keeps)
{
    Slot& slot = *TRY(take_slot());
    std::uint32_t const generation = generation_of(slot.state) % kLastGeneration + 1;
    std::uint64_t const state = std::uint64_t{generation} << kGenerationShift | kOpen | 1;
    FileId const id = id_of(state, slot.index);
    file->id_ = id;
    slot.file = std::move(file);
    slot.keeps = std::move(keeps);
    slot.state.store(state, std::memory_order_release);
    return id;
}

FileTable::Ref FileTable::find(FileId id)
{
    Slot* const slot = slot_of(id);
    if (slot == nullptr) return {};
    std::uint64_t state = slot->state.load(std::memory_order_acquire);
    do {
        if ((state & kOpen) == 0 || id_of(state, slot->index) != id) return {};
    } while (!slot->state.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel,
                                                std::memory_order_acquire));
    return {*this, *slot};
}

FileTable::Ref FileTable::hold(File const& file)
{
    Slot& slot = *slot_of(file.id_);
    slot.state.fetch_add(1, std::memory_order_relaxed);
    return {*this, slot};
}

void FileTable::release(FileId id)
{
    Slot* const slot = slot_of(id);
    if (slot == nullptr) return;
    std::uint64_t state = slot->state.load(std::memory_order_acquire);
    do {
        if ((state & kOpen) == 0 || id_of(state, slot->index) != id) return;
    } while (!slot->state.compare_exchange_weak(state, state & ~kOpen, std::memory_order_acq_rel,
                                                std::memory_order_acquire));
    drop(*slot);
}

// The file's destructor may drop others, so nothing is locked while it runs.
void FileTable::drop(Slot& slot)
{
    std::uint64_t const before = slot.state.fetch_sub(1, std::memory_order_acq_rel);
    if ((before & kReferences) != 1) return;
    slot.file.reset();
    slot.keeps.reset();
    std::lock_guard const lock{mutex_};
    slot.next_free = std::exchange(free_, &slot);
}

}  // namespace pinfold::uapi
