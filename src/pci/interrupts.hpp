// The interrupts of a function as SET_IRQS sets them up: at most one of INTx, MSI and MSI-X, bound
// to eventfds, and the two notifiers ERR and REQ. Rules V-8 to V-12; which error wins is ABI.
//
// INTx is a level: while the device asserts it, it fires once and stays masked until the client
// unmasks it. The host masks an entry of the MSI-X table while nothing is bound to its vector, and
// a client may by a store: a message that finds it masked stays pending, and fires when the mask
// goes. One of MSI that finds nothing bound is lost.
//
// Not thread safe, but for delivered(): its Function's lock is held.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "base/function_ref.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "pci/device.hpp"
#include "pci/eventfd_watch.hpp"
#include "pci/msix_table.hpp"

namespace pinfold::pci {

enum class IrqIndex : std::uint8_t { intx, msi, msix, err, req };
inline constexpr unsigned kIrqIndexes = 5;

// SET_IRQS decoded. Its data is `none`, or `count` elements of one of the two lists.
struct IrqRequest {
    enum class Action : std::uint8_t { mask, unmask, trigger };
    enum class Data : std::uint8_t { none, boolean, eventfd };
    IrqIndex index = IrqIndex::intx;
    Action action = Action::trigger;
    Data data = Data::none;
    std::uint32_t start = 0;
    std::uint32_t count = 0;
    bool fixed = false;  // nothing that is set up can grow, as before Linux 6.5 (rule V-23)
    std::span<std::uint8_t const> booleans;
    std::span<std::int32_t const> descriptors;
};

// A reference to the client's eventfd. EBADF: not open. EINVAL: not an eventfd.
using OpenEventfd = FunctionRef<Result<UniqueFd>(int)>;

// A client's eventfd, to be signalled.
class ClientEvent {
public:
    ClientEvent() = default;
    ClientEvent(UniqueFd eventfd);  // NOLINT(google-explicit-constructor): it becomes one

    explicit operator bool() const { return static_cast<bool>(eventfd_); }
    // Adds 1. One that cannot take it (the client has filled it up) would block a write(2); it
    // stays as it is, as the kernel's saturates.
    void signal() const;

private:
    UniqueFd eventfd_;
    // O_NONBLOCK, as it was when the eventfd came: a program that takes it away and fills the
    // eventfd up waits for itself, and so do the other processes that share its devices.
    bool blocks_ = true;
};

class Interrupts {
public:
    // `watch` outlives it, and tells its Function, which calls notified(). `table` has as many
    // vectors as the identity.
    Interrupts(Identity const& identity, EventfdWatch& watch, MsixTable table);

    // How many interrupts an index has; 0: absent (rule V-8).
    unsigned count(IrqIndex index) const;

    // REQUIRES: start < count(index) and start + request.count <= count(index).
    // ENOTTY: the index does not know the action.
    Result<> set(IrqRequest const& request, OpenEventfd open);

    // Fires REQ, if the client wants to hear that its device is to go (rule V-12).
    void request_release() { fire(release_request_); }

    // Everything torn down, as at the last close.
    void release();

    // The client has signalled an eventfd: if it unmasks INTx, it does so now.
    void notified(EventfdWatch::Ticket ticket);

    // A client has written to entries of the MSI-X table.
    void table_written();

    // The device's side. INTx follows the level. `sent`: the function masters the bus, or its
    // message is lost (but not one that is pending).
    void message(unsigned vector, bool sent = true);
    // The device has been reset, and the host has restored its MSI-X table.
    void reset();
    void assert_intx();
    void deassert_intx();
    bool intx_asserted() const { return asserted_; }
    // COMMAND.INTX_DISABLE as the client wrote it (rule V-19).
    void disable_intx(bool disabled);

    bool msix_active() const { return active_ == Active::msix; }
    // Vectors of MSI that are allocated; 0: MSI is not set up.
    unsigned msi_vectors() const { return active_ == Active::msi ? allocated_ : 0; }

    std::uint64_t delivered() const { return delivered_.load(std::memory_order_relaxed); }

private:
    enum class Active : std::uint8_t { none, intx, msi, msix };

    Result<> set_intx(IrqRequest const& request, OpenEventfd open);
    Result<> unmask_by_eventfd(IrqRequest const& request, OpenEventfd open);
    void forget_unmask();
    Result<> trigger_intx(IrqRequest const& request, OpenEventfd open);
    Result<> set_messages(IrqRequest const& request, OpenEventfd open, Active kind);
    Result<> bind(IrqRequest const& request, OpenEventfd open);
    void unbind(unsigned vector);
    Result<> bind_one(unsigned vector, int descriptor, OpenEventfd open);
    Result<> set_notifier(ClientEvent& notifier, IrqRequest const& request, OpenEventfd open);
    void mask_intx();
    void unmask_intx();
    void settle_intx();
    void fire(ClientEvent const& event);
    void release_messages();
    void mask(unsigned vector, bool masked);

    EventfdWatch& watch_;
    MsixTable table_;
    unsigned intx_count_;
    unsigned msi_count_;
    Active active_ = Active::none;

    ClientEvent intx_;
    EventfdWatch::Ticket unmask_ = 0;  // of the eventfd that unmasks; 0: none
    bool asserted_ = false;
    bool masked_ = false;
    bool disabled_ = false;

    std::vector<ClientEvent> vectors_;  // by vector; empty ones are unbound
    unsigned allocated_ = 0;

    ClientEvent error_;
    ClientEvent release_request_;
    std::atomic<std::uint64_t> delivered_{0};
};

}  // namespace pinfold::pci
