// Which pages devices have really written, page of 4 KiB by page, over all 64 bits of IOVA: a bit
// for each page, a summary bit for each 512, kept twice so that one half is taken away while
// devices go on marking in the other.
//
//   IOVA 63..47 -> branch -> 46..30 -> block of 1 GiB: { which half is marked, bits[2], summary[2]
//   }
//
// What there is no memory to mark counts as written, a block at a time, until it is taken.
//
// Thread safety: mark() from any thread inside a ReadSection. flip() and take() from one thread at
// a time, and whoever calls them waits for the readers in between.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>

#include "base/address.hpp"
#include "base/page_size.hpp"
#include "base/range.hpp"
#include "base/result.hpp"
#include "native/dirty_words.hpp"

namespace pinfold::iommu {

class WriteLog {
public:
    static constexpr PageSize kPage = k4K;

    // ENOMEM: no address space. `most_blocks`: for tests that run out of memory at a chosen moment.
    static Result<std::unique_ptr<WriteLog>> create(std::uint64_t most_blocks = ~std::uint64_t{0});
    ~WriteLog();
    WriteLog(WriteLog const&) = delete;
    WriteLog& operator=(WriteLog const&) = delete;

    // `size` bytes from `iova` on are written. REQUIRES: size is not 0 and nothing wraps.
    void mark(Iova iova, std::uint64_t size);

    // From here on marks in `range` are made in the other half.
    void flip(IovaRange range);
    // Sets the bit of each page of `range` that was marked before flip(range), bit 0 for its first
    // page, and forgets those marks; marks outside the range stay. REQUIRES: flip(range), then all
    // readers have been waited for; `bits` has room.
    void take(IovaRange range, std::span<std::uint64_t> bits);

private:
    static constexpr unsigned kBlockLg2 = 30;
    static constexpr unsigned kBranchLg2 = 47;
    static constexpr std::uint64_t kBlockPages = std::uint64_t{1} << (kBlockLg2 - kPage.lg2());
    static constexpr std::uint64_t kWords = kBlockPages / 64;
    static constexpr std::uint64_t kWordsPerSummaryBit = 8;
    static constexpr std::uint64_t kSummaryWords = kWords / kWordsPerSummaryBit / 64;
    static constexpr std::uint64_t kSlots = std::uint64_t{1} << 17;

    using Word = std::atomic<std::uint64_t>;
    struct Half {
        std::array<Word, kSummaryWords> summary;
        std::array<std::uint64_t, kWords> bits;  // set by atomic_ref
    };
    struct Block {
        std::atomic<unsigned> marked;  // which half
        std::array<Half, 2> halves;
    };
    struct Branch {
        std::array<std::atomic<Block*>, kSlots> blocks;
    };
    struct Root {
        std::array<std::atomic<Branch*>, kSlots> branches;
    };

    WriteLog(Root* root, std::uint64_t most_blocks) : root_{root}, blocks_left_{most_blocks} {}

    std::atomic<Block*>* slot_of(Iova iova) const;
    std::atomic<Block*>* slot_to_mark(Iova iova);
    Block* block_to_mark(Iova iova);
    static void mark_in(Half& half, std::uint64_t first, std::uint64_t last);
    template <class Visit>
    void for_each_block(IovaRange range, Visit visit) const;
    void take_block(Block& block, IovaRange part, IovaRange whole,
                    std::span<std::uint64_t> bits) const;
    void take_whole_words(Half& half, std::uint64_t* into) const;
    Block* lost() const { return reinterpret_cast<Block*>(root_); }  // a name that no block has

    Root* root_;
    std::atomic<std::uint64_t> blocks_left_;
    std::atomic<bool> lost_branch_{false};
    native::MoveWords move_words_ = native::moves_of_words().back();
};

}  // namespace pinfold::iommu
