#include "pci/interrupts.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cassert>
#include <utility>

namespace pinfold::pci {

using Action = IrqRequest::Action;
using Data = IrqRequest::Data;

ClientEvent::ClientEvent(UniqueFd eventfd) : eventfd_{std::move(eventfd)}
{
    int const flags = ::fcntl(eventfd_.get(), F_GETFL);
    blocks_ = flags < 0 || (flags & O_NONBLOCK) == 0;
}

void ClientEvent::signal() const
{
    if (blocks_) {
        pollfd ready{.fd = eventfd_.get(), .events = POLLOUT, .revents = 0};
        if (::poll(&ready, 1, 0) != 1) return;
    }
    std::uint64_t const one = 1;
    (void)!::write(eventfd_.get(), &one, sizeof one);
}

Interrupts::Interrupts(Identity const& identity, EventfdWatch& watch, MsixTable table)
    : watch_{watch},
      table_{table},
      intx_count_{identity.interrupt_pin != 0 ? 1U : 0U},
      msi_count_{identity.msi_vectors}
{
    assert(table.vectors() == identity.msix.vectors);
}

unsigned Interrupts::count(IrqIndex index) const
{
    switch (index) {
        case IrqIndex::intx: return intx_count_;
        case IrqIndex::msi: return msi_count_;
        case IrqIndex::msix: return table_.vectors();
        case IrqIndex::err:
        case IrqIndex::req: return 1;
    }
    return 0;
}

Result<> Interrupts::set(IrqRequest const& request, OpenEventfd open)
{
    assert(request.start < count(request.index));
    assert(request.count <= count(request.index) - request.start);
    if (request.index == IrqIndex::intx) return set_intx(request, open);
    if (request.action != Action::trigger) return fail(Errno::notty);
    switch (request.index) {
        case IrqIndex::msi: return set_messages(request, open, Active::msi);
        case IrqIndex::msix: return set_messages(request, open, Active::msix);
        case IrqIndex::err: return set_notifier(error_, request, open);
        default: return set_notifier(release_request_, request, open);
    }
}

// Rule V-10, mask and unmask.
Result<> Interrupts::set_intx(IrqRequest const& request, OpenEventfd open)
{
    if (request.action == Action::trigger) return trigger_intx(request, open);
    if (active_ != Active::intx || request.start != 0 || request.count != 1)
        return fail(Errno::inval);
    if (request.data == Data::eventfd) return unmask_by_eventfd(request, open);
    if (request.data == Data::boolean && request.booleans[0] == 0) return {};
    if (request.action == Action::mask)
        mask_intx();
    else
        unmask_intx();
    return {};
}

// EBUSY: there is one already. Taking away the one that is not there is fine.
Result<> Interrupts::unmask_by_eventfd(IrqRequest const& request, OpenEventfd open)
{
    if (request.action == Action::mask) return fail(Errno::notty);
    if (request.descriptors[0] < 0) {
        forget_unmask();
        return {};
    }
    auto eventfd = TRY(open(request.descriptors[0]));
    if (unmask_ != 0) return fail(Errno::busy);
    unmask_ = TRY(watch_.add(std::move(eventfd)));
    return {};
}

void Interrupts::forget_unmask()
{
    if (unmask_ != 0) watch_.remove(std::exchange(unmask_, 0));
}

void Interrupts::notified(EventfdWatch::Ticket ticket)
{
    if (ticket == unmask_ && active_ == Active::intx) unmask_intx();
}

// Rule V-10, trigger.
Result<> Interrupts::trigger_intx(IrqRequest const& request, OpenEventfd open)
{
    if (active_ == Active::intx && request.count == 0 && request.data == Data::none) {
        active_ = Active::none;
        intx_ = {};
        forget_unmask();
        return {};
    }
    if ((active_ != Active::intx && active_ != Active::none) || request.count != 1)
        return fail(Errno::inval);

    if (request.data == Data::eventfd) {
        int const descriptor = request.descriptors[0];
        ClientEvent event = descriptor >= 0 ? ClientEvent{TRY(open(descriptor))} : ClientEvent{};

        if (active_ == Active::none) masked_ = disabled_;
        active_ = Active::intx;
        intx_ = std::move(event);
        settle_intx();
        return {};
    }
    if (active_ != Active::intx) return fail(Errno::inval);
    if ((request.data == Data::none || request.booleans[0] != 0) && !disabled_) fire(intx_);
    return {};
}

// Rule V-11.
Result<> Interrupts::set_messages(IrqRequest const& request, OpenEventfd open, Active kind)
{
    if (active_ == kind && request.count == 0 && request.data == Data::none) {
        release_messages();
        return {};
    }
    if (active_ != kind && active_ != Active::none) return fail(Errno::inval);

    bool const beyond = request.start + request.count > allocated_;
    if (active_ == kind && request.fixed && beyond) return fail(Errno::inval);
    if (request.data == Data::eventfd) {
        if (active_ == kind) return bind(request, open);
        if (request.start + request.count == 0) return fail(Errno::range);
        std::vector<ClientEvent> vectors(count(request.index));

        vectors_ = std::move(vectors);
        allocated_ = request.start + request.count;
        active_ = kind;
        if (kind == Active::msix) table_.mask_all();
        auto const bound = bind(request, open);
        if (!bound) release_messages();
        return bound;
    }
    if (active_ != kind) return fail(Errno::inval);
    for (std::uint32_t i = 0; i < request.count; ++i)
        if (request.data == Data::none || request.booleans[i] != 0)
            fire(vectors_[request.start + i]);
    return {};
}

// Binds descriptors from request.start on. An error unbinds those before it and the failing one.
Result<> Interrupts::bind(IrqRequest const& request, OpenEventfd open)
{
    for (std::uint32_t i = 0; i < request.count; ++i) {
        auto const bound = bind_one(request.start + i, request.descriptors[i], open);
        if (bound) continue;
        for (std::uint32_t undone = 0; undone <= i; ++undone) unbind(request.start + undone);
        return bound;
    }
    return {};
}

void Interrupts::unbind(unsigned vector)
{
    if (!vectors_[vector]) return;
    mask(vector, true);
    vectors_[vector] = {};
}

// MSI keeps the vectors that it was set up with; MSI-X grows.
Result<> Interrupts::bind_one(unsigned vector, int descriptor, OpenEventfd open)
{
    unbind(vector);
    if (descriptor < 0) return {};
    if (vector >= allocated_) {
        if (active_ == Active::msi) return fail(Errno::inval);
        allocated_ = vector + 1;
    }
    vectors_[vector] = TRY(open(descriptor));
    mask(vector, false);
    return {};
}

// Of MSI-X; MSI has no masks here. What was pending fires when its mask goes.
void Interrupts::mask(unsigned vector, bool masked)
{
    if (active_ != Active::msix) return;
    table_.mask(vector, masked);
    table_written();
}

void Interrupts::table_written()
{
    if (active_ != Active::msix) return;
    for (unsigned vector = 0; vector < table_.vectors(); ++vector) {
        if (!table_.pending(vector) || table_.masked(vector)) continue;
        table_.set_pending(vector, false);
        fire(vectors_[vector]);
    }
}

// Rule V-12.
Result<> Interrupts::set_notifier(ClientEvent& notifier, IrqRequest const& request,
                                  OpenEventfd open)
{
    switch (request.data) {
        case Data::none:
            if (!notifier) return fail(Errno::inval);
            if (request.count != 0)
                fire(notifier);
            else
                notifier = {};
            return {};
        case Data::boolean:
            if (request.count == 0) return fail(Errno::inval);
            if (request.booleans[0] != 0) fire(notifier);
            return {};
        case Data::eventfd:
            if (request.count == 0) return fail(Errno::inval);
            if (request.descriptors[0] == -1) notifier = {};
            if (request.descriptors[0] >= 0) notifier = TRY(open(request.descriptors[0]));
            return {};
    }
    return fail(Errno::inval);
}

void Interrupts::release()
{
    release_messages();
    intx_ = {};
    forget_unmask();
    error_ = {};
    release_request_ = {};
    masked_ = false;
    disabled_ = false;
}

void Interrupts::release_messages()
{
    for (unsigned vector = 0; active_ == Active::msix && vector < allocated_; ++vector)
        table_.mask(vector, true);
    active_ = Active::none;
    vectors_.clear();
    allocated_ = 0;
}

void Interrupts::message(unsigned vector, bool sent)
{
    if (vector >= vectors_.size()) return;
    if (active_ == Active::msix && table_.masked(vector))
        table_.set_pending(vector, true);
    else if (sent)
        fire(vectors_[vector]);
}

// What the host restores: the entries of vectors that are bound, without their masks.
void Interrupts::reset()
{
    table_.reset();
    for (unsigned vector = 0; active_ == Active::msix && vector < vectors_.size(); ++vector)
        table_.mask(vector, !vectors_[vector]);
}

void Interrupts::assert_intx()
{
    asserted_ = true;
    settle_intx();
}

void Interrupts::deassert_intx() { asserted_ = false; }

void Interrupts::disable_intx(bool disabled)
{
    if (disabled == disabled_) return;
    disabled_ = disabled;
    if (disabled)
        mask_intx();
    else
        unmask_intx();
}

void Interrupts::mask_intx() { masked_ = true; }

// No effect while INTX_DISABLE masks it: clearing that bit unmasks.
void Interrupts::unmask_intx()
{
    if (disabled_) return;
    masked_ = false;
    settle_intx();
}

// An asserted level fires once and masks itself.
void Interrupts::settle_intx()
{
    if (active_ != Active::intx || !asserted_ || masked_) return;
    masked_ = true;
    fire(intx_);
}

void Interrupts::fire(ClientEvent const& event)
{
    if (!event) return;
    event.signal();
    delivered_.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace pinfold::pci
