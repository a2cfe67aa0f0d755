#include "pagetable/table_memory.hpp"

#include <sys/mman.h>

#include <algorithm>

namespace pinfold::pagetable {

namespace {

constexpr std::uint64_t kEnd = ~std::uint64_t{0};  // the link of the last block of a stack
constexpr std::uint64_t kSmallestArena = std::uint64_t{1} << 20;
// Faulted in at once, so that mapping does not trap once for each table.
constexpr std::uint64_t kBatchBytes = std::uint64_t{128} << 10;
// An arena that has come so far goes on in huge pages, which cost fewer faults and shorter walks of
// the host's own.
constexpr std::uint64_t kHugeBytes = std::uint64_t{2} << 20;
constexpr std::uint64_t kSmallPage = 4096;  // what mprotect() goes by

// Address space that nothing can be in yet: the kernel fills whatever is accessible when the
// program says mlockall().
std::span<std::byte> reserve(std::uint64_t bytes)
{
    void* const start =
        ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) return {};
    ::munlock(start, bytes);  // where it has said MCL_FUTURE
    return {static_cast<std::byte*>(start), bytes};
}

std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment)
{
    return (value + alignment - 1) / alignment * alignment;
}

}  // namespace

// Under a limit on address space the arena shrinks until it fits.
Result<std::shared_ptr<TableMemory>> TableMemory::create(Options const& options)
{
    std::uint64_t const page = options.page.bytes();
    for (std::uint64_t bytes = options.arena_bytes;
         bytes >= std::min(kSmallestArena, options.arena_bytes) && bytes >= page; bytes /= 2) {
        // More than the arena, because mmap() aligns to the host's page only.
        std::uint64_t const slack = std::max(kHugeBytes, page << kMaxOrder);
        auto const mapping = reserve(bytes + slack + kSmallPage + bytes / page * sizeof(TableInfo));
        if (mapping.empty()) continue;
        return std::shared_ptr<TableMemory>{new TableMemory{options, mapping, bytes}};
    }
    return fail(Errno::nomem);
}

TableMemory::TableMemory(Options const& options, std::span<std::byte> mapping,
                         std::uint64_t arena_bytes)
    : page_{options.page}, mapping_{mapping}, arena_bytes_{arena_bytes}, budget_{options.budget}
{
    auto const start = reinterpret_cast<std::uintptr_t>(mapping.data());
    std::uint64_t const alignment = std::max(kHugeBytes, page_.bytes() << kMaxOrder);
    arena_ = mapping.data() + (align_up(start, alignment) - start);
    base_ = options.base ? options.base->raw() : reinterpret_cast<std::uintptr_t>(arena_);
    to_words_ = reinterpret_cast<std::uintptr_t>(arena_) - base_;
    // The pages are zero, which is what a TableInfo begins with.
    infos_ = reinterpret_cast<TableInfo*>(arena_ + align_up(arena_bytes, kSmallPage));
}

TableMemory::~TableMemory() { ::munmap(mapping_.data(), mapping_.size()); }

std::optional<TableBlock> TableMemory::allocate(unsigned lg2)
{
    unsigned const order = lg2 > page_.lg2() ? lg2 - page_.lg2() : 0;
    std::uint64_t const pages = std::uint64_t{1} << order;
    if (order > kMaxOrder) return std::nullopt;
    if (in_use_.fetch_add(pages, std::memory_order_relaxed) + pages <=
        budget_.load(std::memory_order_relaxed)) {
        if (auto const page = pop(order)) return TableBlock{paddr_of(*page), false};
        if (auto const page = take_untouched(order)) return TableBlock{paddr_of(*page), true};
    }
    in_use_.fetch_sub(pages, std::memory_order_relaxed);
    return std::nullopt;
}

void TableMemory::free(Paddr first, Paddr last, std::uint64_t count, unsigned lg2)
{
    unsigned const order = lg2 > page_.lg2() ? lg2 - page_.lg2() : 0;
    push(order, static_cast<std::uint32_t>(page_of(first)),
         static_cast<std::uint32_t>(page_of(last)));
    in_use_.fetch_sub(count << order, std::memory_order_relaxed);
}

std::optional<std::uint32_t> TableMemory::pop(unsigned order)
{
    auto& stack = free_[order];
    std::uint64_t head = stack.load(std::memory_order_acquire);
    for (;;) {
        auto const number = static_cast<std::uint32_t>(head);
        if (number == 0) return std::nullopt;
        // Another thread may have taken the block and be using its link: then the stack changed.
        std::uint64_t const link = infos_[number - 1].link.load(std::memory_order_relaxed);
        std::uint32_t const next =
            link == kEnd ? 0 : static_cast<std::uint32_t>(page_of(Paddr{link}) + 1);
        std::uint64_t const changed = ((head >> 32) + 1) << 32 | next;
        if (stack.compare_exchange_weak(head, changed, std::memory_order_acq_rel,
                                        std::memory_order_acquire))
            return number - 1;
    }
}

// Blocks that are linked from the first to the last.
void TableMemory::push(unsigned order, std::uint32_t first, std::uint32_t last)
{
    auto& stack = free_[order];
    std::uint64_t head = stack.load(std::memory_order_relaxed);
    std::uint64_t changed;
    do {
        auto const top = static_cast<std::uint32_t>(head);
        infos_[last].link.store(top == 0 ? kEnd : paddr_of(top - 1).raw(),
                                std::memory_order_relaxed);
        changed = ((head >> 32) + 1) << 32 | (first + 1);
    } while (!stack.compare_exchange_weak(head, changed, std::memory_order_acq_rel,
                                          std::memory_order_relaxed));
}

// Blocks start at multiples of their size: what is passed over is free.
std::optional<std::uint32_t> TableMemory::take_untouched(unsigned order)
{
    std::uint32_t const pages = std::uint32_t{1} << order;
    std::uint64_t const end = arena_bytes_ >> page_.lg2();
    std::uint32_t before = untouched_.load(std::memory_order_relaxed);
    std::uint64_t start;
    do {
        start = align_up(before, pages);
        if (start + pages > end || !make_accessible((start + pages) << page_.lg2()))
            return std::nullopt;
    } while (!untouched_.compare_exchange_weak(before, static_cast<std::uint32_t>(start + pages),
                                               std::memory_order_acq_rel,
                                               std::memory_order_relaxed));
    for (std::uint32_t page = before; page < start; ++page) push(0, page, page);
    return static_cast<std::uint32_t>(start);
}

// The arena's first `bytes`, and what is kept about their pages. Threads that come at the same time
// do the same more than once, which changes nothing. False: the kernel has no memory for it.
bool TableMemory::make_accessible(std::uint64_t bytes)
{
    std::uint64_t const from = accessible_.load(std::memory_order_acquire) << page_.lg2();
    if (bytes <= from) return true;
    std::uint64_t const batch = from >= kHugeBytes ? kHugeBytes : kBatchBytes;
    std::uint64_t const to = std::min(align_up(bytes, batch), arena_bytes_);
    std::uint64_t const first = (from >> page_.lg2()) * sizeof(TableInfo) / kSmallPage * kSmallPage;
    std::uint64_t const last = (to >> page_.lg2()) * sizeof(TableInfo);
    if (::mprotect(arena_ + from, to - from, PROT_READ | PROT_WRITE) != 0 ||
        ::mprotect(reinterpret_cast<std::byte*>(infos_) + first, last - first,
                   PROT_READ | PROT_WRITE) != 0)
        return false;

    // Only hints: a page that is not faulted in now will be when it is written.
    if (batch == kHugeBytes) ::madvise(arena_ + from, to - from, MADV_HUGEPAGE);
    ::madvise(arena_ + from, to - from, MADV_POPULATE_WRITE);

    std::uint64_t before = from >> page_.lg2();
    std::uint64_t const pages = to >> page_.lg2();
    while (before < pages &&
           !accessible_.compare_exchange_weak(before, pages, std::memory_order_acq_rel,
                                              std::memory_order_acquire)) {
    }
    return true;
}

std::span<std::byte const> TableMemory::used() const
{
    return {arena_, std::uint64_t{untouched_.load(std::memory_order_relaxed)} << page_.lg2()};
}

}  // namespace pinfold::pagetable
