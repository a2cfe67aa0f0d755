#include "iommu/write_log.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <utility>

namespace pinfold::iommu {
namespace {

// All zeros, of which only what is touched costs memory.
template <class T>
T* map_zeroed()
{
    void* const at = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? nullptr : static_cast<T*>(at);
}

template <class T>
void unmap(T* object)
{
    if (object != nullptr) (void)::munmap(object, sizeof(T));
}

// What another thread has put into the slot meanwhile is as good.
template <class T>
T* put(std::atomic<T*>& slot, T* fresh)
{
    T* there = nullptr;
    if (slot.compare_exchange_strong(there, fresh)) return fresh;
    unmap(fresh);
    return there;
}

// Bits first..last of a word.
constexpr std::uint64_t mask_of(std::uint64_t first, std::uint64_t last)
{
    return ~std::uint64_t{0} >> (63 - (last - first)) << first;
}

// Sets the bits of `word` from bit `at` of the bitmap on, which may begin before it.
void put_bits(std::span<std::uint64_t> bits, std::int64_t at, std::uint64_t word)
{
    if (at < 0) {
        bits[0] |= word >> -at;
        return;
    }
    auto const index = static_cast<std::uint64_t>(at) / 64;
    auto const shift = static_cast<std::uint64_t>(at) % 64;
    bits[index] |= word << shift;
    if (shift != 0 && word >> (64 - shift) != 0) bits[index + 1] |= word >> (64 - shift);
}

}  // namespace

Result<std::unique_ptr<WriteLog>> WriteLog::create(std::uint64_t most_blocks)
{
    auto* const root = map_zeroed<Root>();
    if (root == nullptr) return fail(Errno::nomem);
    return std::unique_ptr<WriteLog>{new WriteLog{root, most_blocks}};
}

WriteLog::~WriteLog()
{
    for_each_block({Iova{0}, Iova{~std::uint64_t{0}}}, [&](std::atomic<Block*>& slot, IovaRange) {
        if (slot != lost()) unmap(slot.load());
    });
    for (auto& branch : root_->branches) unmap(branch.load());
    unmap(root_);
}

std::atomic<WriteLog::Block*>* WriteLog::slot_of(Iova iova) const
{
    Branch* const branch =
        root_->branches[iova.raw() >> kBranchLg2].load(std::memory_order_acquire);
    if (branch == nullptr) return nullptr;
    return &branch->blocks[(iova.raw() >> kBlockLg2) % kSlots];
}

std::atomic<WriteLog::Block*>* WriteLog::slot_to_mark(Iova iova)
{
    if (auto* const slot = slot_of(iova)) return slot;
    auto* const fresh = map_zeroed<Branch>();
    if (fresh == nullptr) return nullptr;
    put(root_->branches[iova.raw() >> kBranchLg2], fresh);
    return slot_of(iova);
}

// nullptr: there is no memory for it, which has been noted.
WriteLog::Block* WriteLog::block_to_mark(Iova iova)
{
    auto* const slot = slot_to_mark(iova);
    if (slot == nullptr) {
        lost_branch_ = true;
        return nullptr;
    }
    Block* block = slot->load(std::memory_order_acquire);
    if (block == nullptr) {
        bool const may = blocks_left_.fetch_sub(1) != 0;
        if (!may) blocks_left_.fetch_add(1);
        Block* const fresh = may ? map_zeroed<Block>() : nullptr;
        block = put(*slot, fresh == nullptr ? lost() : fresh);
    }
    return block == lost() ? nullptr : block;
}

void WriteLog::mark(Iova iova, std::uint64_t size)
{
    std::uint64_t const last = iova.raw() + (size - 1);
    for (std::uint64_t at = iova.raw();;) {
        std::uint64_t const end = std::min(last, at | PageSize::lg2_of(kBlockLg2).mask());
        if (Block* const block = block_to_mark(Iova{at}))
            mark_in(block->halves[block->marked.load(std::memory_order_acquire)],
                    (at >> kPage.lg2()) % kBlockPages, (end >> kPage.lg2()) % kBlockPages);
        if (end == last) return;
        at = end + 1;
    }
}

// Pages first..last. A bit that is set already costs no locked instruction.
void WriteLog::mark_in(Half& half, std::uint64_t first, std::uint64_t last)
{
    for (std::uint64_t page = first; page <= last;) {
        std::uint64_t const index = page / 64;
        std::uint64_t const end = std::min(last, page | 63);
        std::uint64_t const mask = mask_of(page % 64, end % 64);
        std::atomic_ref const word{half.bits[index]};
        if ((word.load(std::memory_order_relaxed) & mask) != mask) {
            word.fetch_or(mask, std::memory_order_relaxed);
            std::uint64_t const bit = index / kWordsPerSummaryBit;
            Word& summary = half.summary[bit / 64];
            std::uint64_t const summary_mask = std::uint64_t{1} << bit % 64;
            if ((summary.load(std::memory_order_relaxed) & summary_mask) == 0)
                summary.fetch_or(summary_mask, std::memory_order_relaxed);
        }
        page = end + 1;
    }
}

// The slots of `range` that are not empty, each with the part of the range that is in it.
template <class Visit>
void WriteLog::for_each_block(IovaRange range, Visit visit) const
{
    for (std::uint64_t at = range.start.raw();;) {
        auto* const slot = slot_of(Iova{at});
        unsigned const step_lg2 = slot == nullptr ? kBranchLg2 : kBlockLg2;
        std::uint64_t const end =
            std::min(range.last.raw(), at | PageSize::lg2_of(step_lg2).mask());
        if (slot != nullptr && slot->load(std::memory_order_acquire) != nullptr)
            visit(*slot, IovaRange{Iova{at}, Iova{end}});
        if (end == range.last.raw()) return;
        at = end + 1;
    }
}

void WriteLog::flip(IovaRange range)
{
    for_each_block(range, [&](std::atomic<Block*>& slot, IovaRange) {
        if (slot != lost()) slot.load()->marked.fetch_xor(1);
    });
}

void WriteLog::take(IovaRange range, std::span<std::uint64_t> bits)
{
    std::uint64_t const origin = range.start.raw() >> kPage.lg2();
    auto const take_all = [&](IovaRange part) {
        std::uint64_t const last = (part.last.raw() >> kPage.lg2()) - origin;
        for (std::uint64_t page = (part.start.raw() >> kPage.lg2()) - origin; page <= last;
             ++page) {
            bits[page / 64] |= std::uint64_t{1} << page % 64;
        }
    };
    for_each_block(range, [&](std::atomic<Block*>& slot, IovaRange part) {
        if (slot != lost()) {
            take_block(*slot.load(), part, range, bits);
        } else {
            slot = nullptr;
            take_all(part);
        }
    });
    // Some block had no slot even.
    if (lost_branch_.exchange(false)) take_all(range);
}

// Of all of a block, to where the bitmap has its first page.
void WriteLog::take_whole_words(Half& half, std::uint64_t* into) const
{
    for (std::uint64_t i = 0; i < kSummaryWords; ++i) {
        std::uint64_t summary = half.summary[i].load(std::memory_order_relaxed);
        half.summary[i].store(0, std::memory_order_relaxed);
        while (summary != 0) {
            // As many in a row as are marked.
            auto const first = static_cast<unsigned>(std::countr_zero(summary));
            auto const row = static_cast<unsigned>(std::countr_one(summary >> first));
            std::uint64_t const at = (i * 64 + first) * kWordsPerSummaryBit;
            move_words_(&half.bits[at], into + at, row * kWordsPerSummaryBit);
            summary &= ~mask_of(first, first + row - 1);
        }
    }
}

// What is marked outside of `part` moves to the half that is marked now.
void WriteLog::take_block(Block& block, IovaRange part, IovaRange whole,
                          std::span<std::uint64_t> bits) const
{
    unsigned const marked = block.marked.load(std::memory_order_relaxed);
    Half& half = block.halves[1 - marked];
    std::uint64_t const first = (part.start.raw() >> kPage.lg2()) % kBlockPages;
    std::uint64_t const last = (part.last.raw() >> kPage.lg2()) % kBlockPages;
    // Where page 0 of the block is in the bitmap.
    auto const origin = static_cast<std::int64_t>((part.start.raw() >> kPage.lg2()) -
                                                  (whole.start.raw() >> kPage.lg2())) -
                        static_cast<std::int64_t>(first);
    auto const take_word = [&](std::uint64_t index) {
        std::uint64_t const word = std::exchange(half.bits[index], 0);
        if (word == 0) return;
        std::uint64_t const start = index * 64;
        std::uint64_t taken = 0;
        if (start <= last && start + 63 >= first)
            taken = word & mask_of(std::max(first, start) - start, std::min(last - start, 63UL));
        if (taken != 0) put_bits(bits, origin + static_cast<std::int64_t>(start), taken);
        for (std::uint64_t rest = word & ~taken; rest != 0; rest &= rest - 1) {
            auto const page = start + static_cast<std::uint64_t>(std::countr_zero(rest));
            mark_in(block.halves[marked], page, page);
        }
    };
    // Of a block that is in the range as a whole, and begins with a word of the bitmap.
    if (first == 0 && last == kBlockPages - 1 && origin % 64 == 0)
        return take_whole_words(half, &bits[static_cast<std::uint64_t>(origin) / 64]);
    for (std::uint64_t i = 0; i < kSummaryWords; ++i) {
        std::uint64_t summary = half.summary[i].load(std::memory_order_relaxed);
        half.summary[i].store(0, std::memory_order_relaxed);
        for (; summary != 0; summary &= summary - 1) {
            auto const bit = i * 64 + static_cast<std::uint64_t>(std::countr_zero(summary));
            for (std::uint64_t word = 0; word < kWordsPerSummaryBit; ++word)
                take_word(bit * kWordsPerSummaryBit + word);
        }
    }
}

}  // namespace pinfold::iommu
