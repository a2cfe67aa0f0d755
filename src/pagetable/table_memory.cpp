#include "pagetable/table_memory.hpp"

#include <sys/mman.h>

#include <algorithm>

namespace pinfold::pagetable {

namespace {

// Address space only: a page costs memory when it is first used. 64 GiB of 4 KiB tables map 32 TiB
// in 4 KiB leaves.
constexpr std::uint64_t kArenaBytes = std::uint64_t{64} << 30;
constexpr std::uint64_t kSmallestArena = std::uint64_t{1} << 20;
// Pages faulted in at once, so that mapping does not trap once for each table.
constexpr std::uint32_t kBatch = 32;

std::span<std::byte> reserve(std::uint64_t bytes)
{
    void* const start = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) return {};
    return {static_cast<std::byte*>(start), bytes};
}

}  // namespace

// Under a limit on address space the arena shrinks until it fits.
Result<std::shared_ptr<TableMemory>> TableMemory::create(PageSize page, std::uint64_t budget)
{
    for (std::uint64_t bytes = kArenaBytes; bytes >= kSmallestArena; bytes /= 2) {
        // A page more than the arena, because mmap() aligns to the host's page only; a Node more
        // than pages, because numbers start at 1.
        std::uint64_t const nodes = (bytes / page.bytes() + 1) * sizeof(Node);
        auto const mapping = reserve(bytes + page.bytes() + nodes);
        if (mapping.empty()) continue;
        return std::shared_ptr<TableMemory>{new TableMemory{page, budget, mapping, bytes}};
    }
    return fail(Errno::nomem);
}

TableMemory::TableMemory(PageSize page, std::uint64_t budget, std::span<std::byte> mapping,
                         std::uint64_t arena_bytes)
    : page_{page},
      mapping_{mapping},
      arena_{page.align_up(reinterpret_cast<std::uint64_t>(mapping.data()))},
      arena_bytes_{arena_bytes},
      nodes_{reinterpret_cast<Node*>(words(Paddr{arena_ + arena_bytes}))},
      budget_{budget}
{
}

TableMemory::~TableMemory() { ::munmap(mapping_.data(), mapping_.size()); }

Result<Paddr> TableMemory::allocate(TableList& owner)
{
    std::uint32_t const number = TRY(take_free());
    link(number, owner);
    return page_of(number);
}

Result<std::uint32_t> TableMemory::take_free()
{
    std::lock_guard const lock{mutex_};
    if (in_use_ >= budget_) return fail(Errno::nomem);

    std::uint32_t number = first_free_;
    if (number != 0) {
        first_free_ = node(number).next;
        // Word by word and atomically: a walk through a stale raw pointer may still look here.
        Word* const words_here = words(page_of(number));
        for (std::uint64_t i = 0; i < page_.bytes() / sizeof(Word); ++i)
            std::atomic_ref{words_here[i]}.store(0, std::memory_order_relaxed);
    } else {
        if (untouched_ > arena_bytes_ / page_.bytes()) return fail(Errno::nomem);
        number = untouched_++;
        if ((number - 1) % kBatch == 0) populate(number);
    }
    ++in_use_;
    return number;
}

// Only a hint: a page that is not faulted in now will be when it is written.
void TableMemory::populate(std::uint32_t number)
{
    std::uint64_t const start = page_of(number).raw();
    std::uint64_t const bytes = std::min(kBatch * page_.bytes(), arena_ + arena_bytes_ - start);
    ::madvise(words(Paddr{start}), bytes, MADV_POPULATE_WRITE);
}

bool TableMemory::move(Paddr table, TableList& from, TableList& to)
{
    if (!owns(from, table)) return false;
    std::uint32_t const number = number_of(table);
    unlink(number, from);
    link(number, to);
    return true;
}

void TableMemory::release(TableList& list)
{
    if (list.empty()) return;
    std::uint32_t last = 0;
    for (std::uint32_t at = list.first_; at != 0; at = node(at).next) {
        node(at).list.store(nullptr, std::memory_order_relaxed);
        last = at;
    }

    std::lock_guard const lock{mutex_};
    node(last).next = first_free_;
    first_free_ = list.first_;
    in_use_ -= list.pages_;
    list.first_ = 0;
    list.pages_ = 0;
}

bool TableMemory::owns(TableList const& list, Paddr table) const
{
    return contains(table) && node(number_of(table)).list.load(std::memory_order_relaxed) == &list;
}

std::uint64_t TableMemory::pages_in_use() const
{
    std::lock_guard const lock{mutex_};
    return in_use_;
}

void TableMemory::set_budget(std::uint64_t pages)
{
    std::lock_guard const lock{mutex_};
    budget_ = pages;
}

std::uint32_t TableMemory::number_of(Paddr table) const
{
    return static_cast<std::uint32_t>((table.raw() - arena_) >> page_.lg2()) + 1;
}

Paddr TableMemory::page_of(std::uint32_t number) const
{
    return Paddr{arena_ + (std::uint64_t{number - 1} << page_.lg2())};
}

void TableMemory::link(std::uint32_t number, TableList& list)
{
    Node& page = node(number);
    page.previous = 0;
    page.next = list.first_;
    page.list.store(&list, std::memory_order_relaxed);
    if (list.first_ != 0) node(list.first_).previous = number;
    list.first_ = number;
    ++list.pages_;
}

void TableMemory::unlink(std::uint32_t number, TableList& list)
{
    Node const& page = node(number);
    if (page.next != 0) node(page.next).previous = page.previous;
    if (page.previous != 0)
        node(page.previous).next = page.next;
    else
        list.first_ = page.next;
    --list.pages_;
}

}  // namespace pinfold::pagetable
