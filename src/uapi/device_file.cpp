#include "uapi/device_file.hpp"

#include <linux/vfio.h>

#include <algorithm>
#include <array>
#include <bit>

#include "pci/function.hpp"
#include "uapi/device_control.hpp"
#include "uapi/device_info.hpp"
#include "uapi/device_irqs.hpp"
#include "uapi/user_memory.hpp"

namespace pinfold::uapi {
namespace {

// An offset in the device file, taken apart.
struct Position {
    explicit Position(std::uint64_t in_file)
        : region{in_file >> kRegionShift}, offset{in_file % region_offset(1)}
    {
    }
    unsigned index() const { return static_cast<unsigned>(region); }

    std::uint64_t region;  // may be none
    std::uint64_t offset;
};

// The widest access that is aligned at `offset` and not longer than `left`: 1 to `most` bytes.
unsigned access_width(std::uint64_t offset, std::uint64_t left, unsigned most)
{
    std::uint64_t const aligned = std::uint64_t{1} << std::countr_zero(offset | most);
    return static_cast<unsigned>(std::min(aligned, std::bit_floor(left)));
}

class DeviceFile final : public File {
public:
    DeviceFile(pci::Function& function, DeviceContext context)
        : function_{function}, context_{context}
    {
        function_.open();
    }
    ~DeviceFile() override { function_.close(); }

    Reply ioctl(Client& client, std::uint32_t request, std::uint64_t arg) override;
    Reply read(Client& client, Vaddr buffer, std::uint64_t size, std::uint64_t offset) override;
    Reply write(Client& client, Vaddr buffer, std::uint64_t size, std::uint64_t offset) override;
    Reply mmio_read(std::uint64_t offset, unsigned size) override;
    Reply mmio_write(std::uint64_t offset, unsigned size, std::uint64_t value) override;
    Result<BarMapping> mmap(std::uint64_t offset, std::uint64_t size, bool shared) override;

private:
    // Of the accesses that read(2) and write(2) of a BAR are made of (rule V-17).
    unsigned widest() const { return context_.kernel >= Kernel::v6_12 ? 8 : 4; }
    Result<std::uint64_t> bar_left(Position at, std::uint64_t size) const;
    Reply read_config(Client& client, Vaddr buffer, std::uint64_t size, std::uint64_t offset);
    Reply write_config(Client& client, Vaddr buffer, std::uint64_t size, std::uint64_t offset);
    Reply read_bar(Client& client, Vaddr buffer, std::uint64_t size, Position at);
    Reply write_bar(Client& client, Vaddr buffer, std::uint64_t size, Position at);

    pci::Function& function_;
    DeviceContext context_;
};

Reply DeviceFile::ioctl(Client& client, std::uint32_t request, std::uint64_t arg)
{
    function_.access();
    switch (request) {
        case VFIO_DEVICE_GET_INFO: return device_get_info(client, function_, context_.kernel, arg);
        case VFIO_DEVICE_GET_REGION_INFO: return device_get_region_info(client, function_, arg);
        case VFIO_DEVICE_GET_IRQ_INFO:
            return device_get_irq_info(client, function_, context_.kernel, arg);
        case VFIO_DEVICE_SET_IRQS: return device_set_irqs(client, function_, context_.kernel, arg);
        case VFIO_DEVICE_RESET: return device_reset(function_);
        case VFIO_DEVICE_GET_PCI_HOT_RESET_INFO:
            return device_get_hot_reset_info(client, context_.kernel, context_.reset_domain, arg);
        case VFIO_DEVICE_PCI_HOT_RESET:
            return device_hot_reset(client, context_.kernel, context_.files, context_.reset_domain,
                                    arg);
        case VFIO_DEVICE_FEATURE: return device_feature(client, function_, arg);
        case VFIO_DEVICE_IOEVENTFD: return device_ioeventfd(client, function_, arg);
        default: return fail(Errno::notty);
    }
}

// Rule V-17: a count of 0 is answered before anything is looked at.
Reply DeviceFile::read(Client& client, Vaddr buffer, std::uint64_t size, std::uint64_t offset)
{
    if (size == 0) return 0;
    function_.access();
    Position const at{offset};
    if (at.region == pci::kConfigRegion) return read_config(client, buffer, size, at.offset);
    return read_bar(client, buffer, size, at);
}

Reply DeviceFile::write(Client& client, Vaddr buffer, std::uint64_t size, std::uint64_t offset)
{
    if (size == 0) return 0;
    function_.access();
    Position const at{offset};
    if (at.region == pci::kConfigRegion) return write_config(client, buffer, size, at.offset);
    return write_bar(client, buffer, size, at);
}

// Reading has no side effects, so it is one copy whatever accesses it stands for. EFAULT: outside.
Reply DeviceFile::read_config(Client& client, Vaddr buffer, std::uint64_t size,
                              std::uint64_t offset)
{
    std::size_t const whole = function_.config_size();
    if (offset >= whole || size > whole - offset) return fail(Errno::fault);
    std::array<std::byte, 4096> copy;
    auto const bytes = std::span{copy}.first(size);
    function_.config_read(offset, bytes);
    TRY(write_user_bytes(client, buffer.raw(), bytes));
    return size;
}

Reply DeviceFile::write_config(Client& client, Vaddr buffer, std::uint64_t size,
                               std::uint64_t offset)
{
    std::size_t const whole = function_.config_size();
    if (offset >= whole || size > whole - offset) return fail(Errno::fault);
    for (std::uint64_t done = 0; done < size;) {
        unsigned const width = access_width(offset + done, size - done, 4);
        std::uint32_t value = 0;
        TRY(read_user(client, buffer.raw() + done, value, width));
        function_.config_write(offset + done, width, value);
        done += width;
    }
    return size;
}

// How much of `size` is inside the BAR. EINVAL: nothing; or not a BAR. (The ROM BAR is empty.)
Result<std::uint64_t> DeviceFile::bar_left(Position at, std::uint64_t size) const
{
    if (at.region >= pci::kBars) return fail(Errno::inval);
    std::uint64_t const whole = function_.region(at.index())->size;
    if (at.offset >= whole) return fail(Errno::inval);
    return std::min(size, whole - at.offset);
}

Reply DeviceFile::read_bar(Client& client, Vaddr buffer, std::uint64_t size, Position at)
{
    std::uint64_t const count = TRY(bar_left(at, size));
    for (std::uint64_t done = 0; done < count;) {
        unsigned const width = access_width(at.offset + done, count - done, widest());
        std::uint64_t const value = TRY(function_.bar_read(at.index(), at.offset + done, width));
        TRY(write_user(client, buffer.raw() + done, value, width));
        done += width;
    }
    return count;
}

Reply DeviceFile::write_bar(Client& client, Vaddr buffer, std::uint64_t size, Position at)
{
    std::uint64_t const count = TRY(bar_left(at, size));
    for (std::uint64_t done = 0; done < count;) {
        unsigned const width = access_width(at.offset + done, count - done, widest());
        std::uint64_t value = 0;
        TRY(read_user(client, buffer.raw() + done, value, width));
        TRY(function_.bar_write(at.index(), at.offset + done, width, value));
        done += width;
    }
    return count;
}

bool register_width(unsigned size) { return size <= 8 && std::has_single_bit(size); }

Reply DeviceFile::mmio_read(std::uint64_t offset, unsigned size)
{
    Position const at{offset};
    if (!register_width(size) || at.region >= pci::kBars) return fail(Errno::inval);
    return function_.mmio_read(at.index(), at.offset, size);
}

Reply DeviceFile::mmio_write(std::uint64_t offset, unsigned size, std::uint64_t value)
{
    Position const at{offset};
    if (!register_width(size) || at.region >= pci::kBars) return fail(Errno::inval);
    TRY(function_.mmio_write(at.index(), at.offset, size, value));
    return 0;
}

// Rule V-18. Before VFIO is asked, the kernel refuses an offset inside a page and a size of 0.
Result<BarMapping> DeviceFile::mmap(std::uint64_t offset, std::uint64_t size, bool shared)
{
    PageSize const page = context_.host_page;
    Position const at{offset};
    if (!page.aligned(offset) || size == 0) return fail(Errno::inval);
    if (at.region >= pci::kBars || !shared) return fail(Errno::inval);
    auto const region = *function_.region(at.index());
    if (!region.mappable) return fail(Errno::inval);
    std::uint64_t const whole = page.align_up(region.size);
    if (at.offset > whole || size > whole - at.offset) return fail(Errno::inval);

    auto const peer = function_.peer(at.index());
    BarMapping mapping{.memory = function_.bar_descriptor(at.index()),
                       .offset = at.offset,
                       .readable = {},
                       .region_offset = offset,
                       .device = peer.memory,
                       .paddr = peer.start + at.offset};
    for (std::uint64_t i = 0; i < page.align_up(size); i += k4K.bytes())
        mapping.readable.push_back(function_.page_readable(at.index(), at.offset + i));
    return mapping;
}

}  // namespace

Result<std::unique_ptr<File>> make_device_file(pci::Function& function, DeviceContext context)
{
    return std::make_unique<DeviceFile>(function, context);
}

std::string_view device_name(pci::Function const& function) { return function.name(); }
bool device_gone(pci::Function const& function) { return function.gone(); }

}  // namespace pinfold::uapi
