#include "uapi/device_irqs.hpp"

#include <linux/vfio.h>

#include <limits>
#include <vector>

#include "uapi/user_memory.hpp"

namespace pinfold::uapi {
namespace {

constexpr std::size_t kHeader = offsetof(vfio_irq_set, data);
static_assert(kHeader == 20);

// Without the data behind it, which a copy of struct vfio_irq_set could not hold.
struct IrqSetHeader {
    std::uint32_t argsz, flags, index, start, count;
};
static_assert(sizeof(IrqSetHeader) == kHeader);

// The checks before any data is looked at, up to the kind of data.
Result<pci::IrqRequest> check(pci::Function const& function, Kernel kernel,
                              IrqSetHeader const& header)
{
    constexpr std::uint32_t kMost = std::numeric_limits<std::uint32_t>::max();
    if (header.argsz < kHeader || header.index >= pci::kIrqIndexes ||
        header.count >= kMost - header.start ||
        (header.flags &
         ~std::uint32_t{VFIO_IRQ_SET_DATA_TYPE_MASK | VFIO_IRQ_SET_ACTION_TYPE_MASK}))
        return fail(Errno::inval);

    pci::IrqRequest request{.index = static_cast<pci::IrqIndex>(header.index),
                            .start = header.start,
                            .count = header.count,
                            .booleans = {},
                            .descriptors = {}};
    unsigned const known = irq_count(function, request.index, kernel);
    if (header.start >= known || header.start + header.count > known) return fail(Errno::inval);
    switch (header.flags & VFIO_IRQ_SET_DATA_TYPE_MASK) {
        case VFIO_IRQ_SET_DATA_NONE: request.data = pci::IrqRequest::Data::none; break;
        case VFIO_IRQ_SET_DATA_BOOL: request.data = pci::IrqRequest::Data::boolean; break;
        case VFIO_IRQ_SET_DATA_EVENTFD: request.data = pci::IrqRequest::Data::eventfd; break;
        default: return fail(Errno::inval);
    }
    return request;
}

Result<pci::IrqRequest::Action> action_of(std::uint32_t flags)
{
    switch (flags & VFIO_IRQ_SET_ACTION_TYPE_MASK) {
        case VFIO_IRQ_SET_ACTION_MASK: return pci::IrqRequest::Action::mask;
        case VFIO_IRQ_SET_ACTION_UNMASK: return pci::IrqRequest::Action::unmask;
        case VFIO_IRQ_SET_ACTION_TRIGGER: return pci::IrqRequest::Action::trigger;
        default: return fail(Errno::notty);
    }
}

// The `count` elements behind the header. EINVAL: argsz does not cover them.
template <class T>
Result<std::vector<T>> read_elements(Client& client, std::uint64_t arg, IrqSetHeader const& header)
{
    std::uint64_t const bytes = std::uint64_t{header.count} * sizeof(T);
    if (header.argsz - kHeader < bytes) return fail(Errno::inval);
    std::vector<T> elements(header.count);
    TRY(read_user_bytes(client, arg + kHeader, std::as_writable_bytes(std::span{elements})));
    return elements;
}

}  // namespace

// A conventional function has had no ERR for long.
unsigned irq_count(pci::Function const& function, pci::IrqIndex index, Kernel kernel)
{
    bool const absent =
        index == pci::IrqIndex::err && !function.identity().pci_express && kernel < Kernel::v7_3;
    return absent ? 0 : function.irq_count(index);
}

Reply device_set_irqs(Client& client, pci::Function& function, Kernel kernel, std::uint64_t arg)
{
    IrqSetHeader header{};
    TRY(read_user(client, arg, header));
    auto request = TRY(check(function, kernel, header));
    std::vector<std::uint8_t> booleans;
    std::vector<std::int32_t> descriptors;
    if (request.data == pci::IrqRequest::Data::boolean)
        booleans = TRY(read_elements<std::uint8_t>(client, arg, header));
    if (request.data == pci::IrqRequest::Data::eventfd)
        descriptors = TRY(read_elements<std::int32_t>(client, arg, header));
    request.fixed = kernel < Kernel::v6_12;
    request.booleans = booleans;
    request.descriptors = descriptors;
    request.action = TRY(action_of(header.flags));
    TRY(function.set_irqs(request, [&](int fd) { return client.eventfd(fd); }));
    return 0;
}

}  // namespace pinfold::uapi
