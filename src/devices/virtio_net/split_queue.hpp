// The device's side of one split virtqueue: virtio 1.1, 2.6. The driver owns the descriptor table
// and the available ring, and may write anything there at any time; every index and length is
// checked when it is used, and each descriptor is read once for the chain that it belongs to.
//
// Errors: EFAULT, a ring or a table cannot be reached; EINVAL, what the driver wrote there is no
// queue. Neither can be mended: the queue is to be stopped.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "base/address.hpp"
#include "base/result.hpp"
#include "devices/virtio_net/wire.hpp"
#include "pci/dma_port.hpp"

namespace pinfold::devices::virtio_net {

struct QueueLayout {
    std::uint16_t size = 0;  // a power of two, at most kMostDescriptors
    Iova descriptors, available, used;
};

// The buffers of one chain: first those to read, then those to write.
class Chain {
public:
    std::uint16_t head() const { return head_; }
    std::span<pci::DmaPiece const> readable() const
    {
        return std::span{pieces_}.first(readable_count_);
    }
    std::span<pci::DmaPiece const> writable() const
    {
        return std::span{pieces_}.subspan(readable_count_, count_ - readable_count_);
    }
    std::uint64_t readable_bytes() const { return readable_bytes_; }
    std::uint64_t writable_bytes() const { return writable_bytes_; }

private:
    friend class SplitQueue;
    std::array<pci::DmaPiece, kMostDescriptors> pieces_;
    std::uint16_t head_ = 0;
    std::size_t count_ = 0, readable_count_ = 0;
    std::uint64_t readable_bytes_ = 0, writable_bytes_ = 0;
};

class SplitQueue {
public:
    explicit SplitQueue(pci::DmaPort& dma) : dma_{dma} {}

    // `features` are the negotiated ones. EINVAL: a ring runs over the end of the address space.
    // REQUIRES: layout.size is as it says there.
    Result<> start(QueueLayout const& layout, std::uint64_t features);
    void stop() { layout_.size = 0; }
    bool running() const { return layout_.size != 0; }

    // How many chains wait, those given back included. EINVAL: more than the queue has room for.
    Result<unsigned> look();
    // What look() found and next() has not taken.
    unsigned waiting() const { return static_cast<std::uint16_t>(seen_ - next_); }
    // Takes the next chain. REQUIRES: waiting() != 0. EINVAL: an index outside of its table, a loop
    // or a chain longer than the queue, an indirect table that is none or not agreed on, a buffer
    // to read behind one to write.
    Result<> next(Chain& chain);
    // The last `count` chains taken, and not done, wait again.
    void give_back(unsigned count) { next_ = static_cast<std::uint16_t>(next_ - count); }

    // The chain is used, and `written` bytes were put into it. Seen by the driver at publish().
    Result<> done(Chain const& chain, std::uint32_t written) { return done(chain.head(), written); }
    Result<> done(std::uint16_t head, std::uint32_t written);
    // Shows what was done. True: the driver wants an interrupt for it.
    Result<bool> publish();
    // The driver is to notify when it adds to what was seen. Look once more afterwards: it may have
    // added meanwhile.
    Result<> ask_to_be_notified();
    // The driver need not notify: it is looked for without. Where events are agreed on, it does not
    // anyway until it comes to one.
    Result<> refuse_notifications();

private:
    static constexpr std::uint16_t kBatch = 64;

    Result<std::uint16_t> next_head();
    Result<Descriptor const*> descriptor(std::uint16_t index);
    Result<> walk(Chain& chain, Descriptor const* first);
    Result<> walk_indirect(Chain& chain, Descriptor const& table);
    Result<> add(Chain& chain, Descriptor const& one) const;
    Result<> flush();
    Result<> write_used(std::uint16_t from, std::uint16_t count);
    template <class T>
    Result<T> load(Iova from);
    template <class T>
    Result<> store(Iova to, T value);

    pci::DmaPort& dma_;
    QueueLayout layout_;
    bool event_index_ = false, indirect_ = false;
    bool refuses_ = false;  // notifications, and the driver has been told

    // Positions in the rings run freely; modulo the size they are entries.
    std::uint16_t seen_ = 0;       // avail->idx as it was last read
    std::uint16_t next_ = 0;       // the available entry to take next
    std::uint16_t used_ = 0;       // used->idx as the driver sees it
    std::uint16_t signalled_ = 0;  // used->idx when an interrupt was last considered

    // Read ahead, in one piece each: available entries from heads_at_ on, and descriptors from
    // table_at_ on. Good for what look() has seen.
    std::array<std::uint16_t, kBatch> heads_;
    std::uint16_t heads_at_ = 0, heads_count_ = 0;
    std::array<Descriptor, kBatch> table_;
    std::uint16_t table_at_ = 0, table_count_ = 0;

    std::array<Descriptor, kMostDescriptors> indirect_table_;  // of the chain that is being walked

    std::array<UsedElement, kBatch> done_;  // not yet in the used ring
    std::uint16_t done_count_ = 0;
};

}  // namespace pinfold::devices::virtio_net
