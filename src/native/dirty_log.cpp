#include "native/dirty_log.hpp"

#include <algorithm>
#include <bit>

namespace pinfold::native {

namespace {

constexpr unsigned kBlockLg2 = DirtyHalf::kLg2;
constexpr unsigned kWordLg2 = DirtyHalf::kWordLg2;
constexpr unsigned kGroupLg2 = DirtyHalf::kGroupLg2;
constexpr std::size_t kWordsInGroup = DirtyHalf::kWordsInGroup;

}  // namespace

Result<std::unique_ptr<DirtyLog>> DirtyLog::create(Memory& memory, std::atomic<DirtySide*>& shown)
{
    std::unique_ptr<DirtyLog> log{new DirtyLog{memory, shown}};
    for (DirtySide*& side : log->sides_) {
        side = static_cast<DirtySide*>(memory.take(sizeof(DirtySide), alignof(DirtySide)));
        if (side == nullptr) return fail(Errno::nomem);
    }
    return log;
}

DirtyLog::~DirtyLog()
{
    for (DirtySide* const side : sides_)
        if (side != nullptr) drop(side);
}

void DirtyLog::drop(DirtySide* side)
{
    for (auto const& window : side->windows_)
        if (auto* const halves = window.load(std::memory_order_relaxed))
            memory_.give_back(halves, sizeof(*halves));
    memory_.give_back(side, sizeof(DirtySide));
}

Result<> DirtyLog::cover(IovaRange range)
{
    std::uint64_t const first = range.start.raw() >> kBlockLg2;
    std::uint64_t const last = range.last.raw() >> kBlockLg2;
    constexpr std::uint64_t kMost = std::uint64_t{15} * 1024;
    if (last - first >= kMost) return fail(Errno::nomem);
    for (std::uint64_t block = first; block <= last; ++block) TRY(cover_block(block << kBlockLg2));
    return {};
}

Result<> DirtyLog::cover_block(std::uint64_t raw)
{
    std::array<DirtySide::Halves*, 2> const halves{TRY(window_of(*sides_[0], raw)),
                                                   TRY(window_of(*sides_[1], raw))};
    std::size_t const number = (raw >> kBlockLg2) % DirtySide::kInWindow;
    if ((*halves[0])[number].load(std::memory_order_relaxed) != nullptr) return {};
    if (!arena_.ensure(1)) return fail(Errno::nomem);
    auto& block = *reinterpret_cast<Block*>(arena_.at(arena_.take()));
    for (std::size_t side = 0; side < 2; ++side)
        (*halves[side])[number].store(&block[side], std::memory_order_release);
    return {};
}

// What has the halves of all blocks around `raw`.
auto DirtyLog::window_of(DirtySide& side, std::uint64_t raw) -> Result<DirtySide::Halves*>
{
    using Halves = DirtySide::Halves;
    if (raw >> DirtySide::kWindowLg2 == 0) return &side.lowest_;
    auto& window = side.windows_[raw >> DirtySide::kWindowLg2];
    if (Halves* const known = window.load(std::memory_order_relaxed)) return known;
    auto* const halves = static_cast<Halves*>(memory_.take(sizeof(Halves), alignof(Halves)));
    if (halves == nullptr) return fail(Errno::nomem);
    window.store(halves, std::memory_order_release);
    return halves;
}

// Where the bits of one block go.
struct DirtyLog::Taking {
    IovaRange part;    // of the harvested range, in this block
    Iova range_start;  // what bit 0 of `into` stands for
    std::span<std::uint64_t> into;

    std::uint64_t block() const
    {
        return part.start.raw() & ~((std::uint64_t{1} << kBlockLg2) - 1);
    }
    // The bits of a word that belong to the range.
    std::uint64_t mask(std::uint64_t word_start) const
    {
        std::uint64_t const word_last = word_start | ((std::uint64_t{1} << kWordLg2) - 1);
        std::uint64_t bits = ~std::uint64_t{0};
        if (part.start.raw() > word_last || part.last.raw() < word_start) return 0;
        if (part.start.raw() > word_start) bits <<= (part.start.raw() - word_start) >> 12;
        if (part.last.raw() < word_last)
            bits &= ~std::uint64_t{0} >> ((word_last - part.last.raw()) >> 12);
        return bits;
    }
    // `bits`, of which the first stands for the page at `word_start`, which may lie before the
    // range.
    void put(std::uint64_t word_start, std::uint64_t bits) const
    {
        if (word_start < range_start.raw()) {
            into[0] |= bits >> ((range_start.raw() - word_start) >> 12);
            return;
        }
        std::uint64_t const page = (word_start - range_start.raw()) >> 12;
        std::size_t const word = page / 64;
        unsigned const shift = page % 64;
        into[word] |= bits << shift;
        if (shift != 0 && bits >> (64 - shift) != 0) into[word + 1] |= bits >> (64 - shift);
    }
    bool whole_words(std::uint64_t start, std::uint64_t bytes) const
    {
        return part.start.raw() <= start && start + (bytes - 1) <= part.last.raw() &&
               (start - range_start.raw()) % (std::uint64_t{1} << kWordLg2) == 0;
    }
};

// What is left from harvests of other ranges comes first; nobody writes there. Then the halves
// change places, and what was the active one is taken when the last mark() in it has ended.
void DirtyLog::harvest(IovaRange range, std::span<std::uint64_t> into, FunctionRef<void()> wait)
{
    DirtySide const& before = *sides_[active_];
    active_ = 1 - active_;
    take(*sides_[active_], range, into);
    show(active_);
    wait();
    take(before, range, into);
}

void DirtyLog::take(DirtySide const& side, IovaRange range, std::span<std::uint64_t> into)
{
    for (std::uint64_t at = range.start.raw();;) {
        std::uint64_t const end =
            std::min(range.last.raw(), at | ((std::uint64_t{1} << kBlockLg2) - 1));
        if (Half* const half = side.half_at(at))
            take_block(*half, {{Iova{at}, Iova{end}}, range.start, into});
        if (end == range.last.raw()) return;
        at = end + 1;
    }
}

void DirtyLog::take_block(Half& half, Taking const& taking)
{
    std::uint64_t any = 0;
    for (std::uint64_t const word : half.summary) any |= word;
    if (any == 0) return;
    constexpr int kMany = 16;  // of 64 groups: then it is quicker to move all of them
    for (std::size_t word = 0; word < half.summary.size(); ++word) {
        if (std::popcount(half.summary[word]) >= kMany && take_64_groups(half, word, taking))
            continue;
        for (std::uint64_t rest = half.summary[word]; rest != 0; rest &= rest - 1)
            take_group(half, word * 64 + static_cast<unsigned>(std::countr_zero(rest)), taking);
    }
}

// All behind one word of the summary, in one run over memory. False: not all of it is wanted.
bool DirtyLog::take_64_groups(Half& half, std::size_t word, Taking const& taking)
{
    constexpr std::size_t kWords = 64 * kWordsInGroup;
    std::uint64_t const start = taking.block() + (std::uint64_t{word} * kWords << kWordLg2);
    if (!taking.whole_words(start, std::uint64_t{kWords} << kWordLg2)) return false;
    move_words_(&half.bits[word * kWords],
                &taking.into[(start - taking.range_start.raw()) >> kWordLg2], kWords);
    half.summary[word] = 0;
    return true;
}

void DirtyLog::take_group(Half& half, std::size_t group, Taking const& taking)
{
    std::uint64_t const start = taking.block() + (std::uint64_t{group} << kGroupLg2);
    std::uint64_t* __restrict const words = &half.bits[group * kWordsInGroup];
    bool empty = true;
    if (taking.whole_words(start, std::uint64_t{1} << kGroupLg2)) {
        std::uint64_t* __restrict const into =
            &taking.into[(start - taking.range_start.raw()) >> kWordLg2];
        for (std::size_t word = 0; word < kWordsInGroup; ++word) into[word] |= words[word];
        std::fill_n(words, kWordsInGroup, 0);
    } else {
        for (std::size_t word = 0; word < kWordsInGroup; ++word) {
            std::uint64_t const word_start = start + (std::uint64_t{word} << kWordLg2);
            std::uint64_t const mask = taking.mask(word_start);
            if ((words[word] & mask) != 0) taking.put(word_start, words[word] & mask);
            words[word] &= ~mask;
            empty = empty && words[word] == 0;
        }
    }
    if (empty) half.summary[group / 64] &= ~(std::uint64_t{1} << (group % 64));
}

}  // namespace pinfold::native
