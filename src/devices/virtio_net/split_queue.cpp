#include "devices/virtio_net/split_queue.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cassert>
#include <concepts>
#include <utility>

namespace pinfold::devices::virtio_net {

namespace {

// Positions run freely, and every sum of them is taken modulo 2^16.
template <std::integral T>
std::uint16_t low16(T value)
{
    return static_cast<std::uint16_t>(value);
}

// Offsets in the rings, 2.6.6 and 2.6.8.
constexpr std::uint64_t kFlags = 0, kIndex = 2, kRing = 4;

// Rings are 64-bit addresses of the driver's; sums on them do not wrap where this holds.
bool wraps(QueueLayout const& layout)
{
    auto const beyond = [](Iova start, std::uint64_t size) { return start.raw() + size < size; };
    return beyond(layout.descriptors, layout.size * sizeof(Descriptor)) ||
           beyond(layout.available, kRing + layout.size * sizeof(std::uint16_t) + 2) ||
           beyond(layout.used, kRing + layout.size * sizeof(UsedElement) + 2);
}

}  // namespace

template <class T>
Result<T> SplitQueue::load(Iova from)
{
    T value{};
    TRY(dma_.read(from, std::as_writable_bytes(std::span{&value, 1})));
    return value;
}

template <class T>
Result<> SplitQueue::store(Iova to, T value)
{
    return dma_.write(to, std::as_bytes(std::span{&value, 1}));
}

Result<> SplitQueue::start(QueueLayout const& layout, std::uint64_t features)
{
    assert(std::has_single_bit(layout.size) && layout.size <= kMostDescriptors);
    if (wraps(layout)) return fail(Errno::inval);
    layout_ = layout;
    event_index_ = (features & feature::kEventIndex) != 0;
    indirect_ = (features & feature::kIndirect) != 0;
    seen_ = next_ = used_ = signalled_ = 0;
    heads_count_ = table_count_ = done_count_ = 0;
    refuses_ = false;
    return {};
}

Result<unsigned> SplitQueue::look()
{
    auto const index = TRY(load<std::uint16_t>(layout_.available + kIndex));
    // What the driver wrote before the index is read after it.
    std::atomic_thread_fence(std::memory_order_acquire);
    if (index == seen_) return waiting();
    if (low16(index - next_) > layout_.size) return fail(Errno::inval);
    seen_ = index;
    table_count_ = 0;
    return waiting();
}

Result<std::uint16_t> SplitQueue::next_head()
{
    if (low16(next_ - heads_at_) >= heads_count_) {
        unsigned const entry = next_ % layout_.size;
        auto const count = low16(
            std::min({waiting(), unsigned{kBatch}, static_cast<unsigned>(layout_.size - entry)}));
        heads_count_ = 0;
        TRY(dma_.read(layout_.available + (kRing + entry * sizeof heads_[0]),
                      std::as_writable_bytes(std::span{heads_}.first(count))));
        heads_at_ = next_;
        heads_count_ = count;
    }
    return heads_[low16(next_ - heads_at_)];
}

Result<Descriptor const*> SplitQueue::descriptor(std::uint16_t index)
{
    if (index >= layout_.size) return fail(Errno::inval);
    if (index < table_at_ || index - table_at_ >= table_count_) {
        auto const count = low16(std::min<unsigned>(kBatch, layout_.size - index));
        table_count_ = 0;
        TRY(dma_.read(layout_.descriptors + index * sizeof(Descriptor),
                      std::as_writable_bytes(std::span{table_}.first(count))));
        table_at_ = index;
        table_count_ = count;
    }
    return &table_[index - table_at_];
}

Result<> SplitQueue::next(Chain& chain)
{
    assert(waiting() != 0);
    chain.head_ = TRY(next_head());
    chain.count_ = chain.readable_count_ = 0;
    chain.readable_bytes_ = chain.writable_bytes_ = 0;
    TRY(walk(chain, TRY(descriptor(chain.head_))));
    ++next_;
    return {};
}

// `one` is good until the next descriptor is read.
Result<> SplitQueue::walk(Chain& chain, Descriptor const* one)
{
    for (unsigned steps = 1;; ++steps) {
        if (steps > layout_.size) return fail(Errno::inval);
        if ((one->flags & kDescriptorIndirect) != 0) return walk_indirect(chain, *one);
        TRY(add(chain, *one));
        if ((one->flags & kDescriptorNext) == 0) return {};
        one = TRY(descriptor(one->next));
    }
}

// An indirect table ends the chain that it is in, and leads to no other table: 2.6.5.3.
Result<> SplitQueue::walk_indirect(Chain& chain, Descriptor const& table)
{
    std::uint64_t const count = table.length / sizeof(Descriptor);
    if (!indirect_ || (table.flags & kDescriptorNext) != 0 || count == 0 ||
        table.length % sizeof(Descriptor) != 0 || count > kMostDescriptors)
        return fail(Errno::inval);
    TRY(dma_.read(Iova{table.address},
                  std::as_writable_bytes(std::span{indirect_table_}.first(count))));
    std::uint64_t index = 0;
    for (std::uint64_t steps = 1;; ++steps) {
        if (steps > count || index >= count) return fail(Errno::inval);
        Descriptor const& one = indirect_table_[index];
        if ((one.flags & kDescriptorIndirect) != 0) return fail(Errno::inval);
        TRY(add(chain, one));
        if ((one.flags & kDescriptorNext) == 0) return {};
        index = one.next;
    }
}

Result<> SplitQueue::add(Chain& chain, Descriptor const& one) const
{
    if (chain.count_ == layout_.size) return fail(Errno::inval);
    chain.pieces_[chain.count_] = {Iova{one.address}, one.length};
    if ((one.flags & kDescriptorWrite) != 0) {
        chain.writable_bytes_ += one.length;
    } else {
        if (chain.count_ != chain.readable_count_) return fail(Errno::inval);
        ++chain.readable_count_;
        chain.readable_bytes_ += one.length;
    }
    ++chain.count_;
    return {};
}

Result<> SplitQueue::done(std::uint16_t head, std::uint32_t written)
{
    if (done_count_ == kBatch) TRY(flush());
    done_[done_count_++] = {head, written};
    return {};
}

// The elements, and then the index that makes them the driver's.
Result<> SplitQueue::flush()
{
    auto const count = std::exchange(done_count_, std::uint16_t{0});
    auto const before_end = low16(std::min<unsigned>(count, layout_.size - used_ % layout_.size));
    TRY(write_used(0, before_end));
    used_ = low16(used_ + before_end);
    TRY(write_used(before_end, low16(count - before_end)));
    used_ = low16(used_ + count - before_end);
    std::atomic_thread_fence(std::memory_order_release);
    return store(layout_.used + kIndex, used_);
}

// `count` of done_, from `from` on, to the entry of used_.
Result<> SplitQueue::write_used(std::uint16_t from, std::uint16_t count)
{
    if (count == 0) return {};
    std::uint64_t const entry = used_ % layout_.size;
    return dma_.write(layout_.used + (kRing + entry * sizeof(UsedElement)),
                      std::as_bytes(std::span{done_}.subspan(from, count)));
}

Result<bool> SplitQueue::publish()
{
    if (done_count_ != 0) TRY(flush());
    if (used_ == signalled_) return false;
    auto const before = std::exchange(signalled_, used_);
    // The driver changes its mind, then looks at the index; here it is the other way round.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (!event_index_) {
        auto const flags = TRY(load<std::uint16_t>(layout_.available + kFlags));
        return (flags & kNoInterrupt) == 0;
    }
    auto const event =
        TRY(load<std::uint16_t>(layout_.available + (kRing + std::uint64_t{2} * layout_.size)));
    return low16(used_ - event - 1) < low16(used_ - before);
}

Result<> SplitQueue::refuse_notifications()
{
    if (event_index_ || refuses_) return {};
    TRY(store(layout_.used + kFlags, kNoNotify));
    refuses_ = true;
    return {};
}

Result<> SplitQueue::ask_to_be_notified()
{
    if (!event_index_) return {};
    TRY(store(layout_.used + (kRing + sizeof(UsedElement) * layout_.size), seen_));
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return {};
}

}  // namespace pinfold::devices::virtio_net
