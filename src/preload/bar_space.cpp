#include "preload/bar_space.hpp"

#include <algorithm>

namespace pinfold::preload {
namespace {

constexpr std::uint64_t kPage = 4096;

uapi::Call access(BarMap::Place const& place, uapi::Call::Op op, unsigned width,
                  std::uint64_t value)
{
    return {.file = place.file, .op = op, .arg = value, .size = width, .offset = place.offset};
}

}  // namespace

std::optional<BarMap::Place> const& BarSpace::find(Vaddr vaddr)
{
    if (found_ && found_at_ == vaddr) return found_;
    found_ = bars_.find(vaddr);
    found_at_ = vaddr;
    return found_;
}

Result<AddressSpace::Stretch> BarSpace::stretch(Vaddr vaddr, std::uint64_t size, Touch touch)
{
    auto const& place = find(vaddr);
    if (!place) return Stretch{std::min(size, kPage - vaddr.raw() % kPage), false};
    bool const allowed = place->accessible && (touch == Touch::read || place->writable);
    if (!allowed) return fail(Errno::acces);
    return Stretch{std::min(size, place->left), true};
}

Result<std::uint64_t> BarSpace::device_read(Vaddr vaddr, unsigned width)
{
    auto const& place = find(vaddr);
    if (!place) return fail(Errno::io);
    return door_(access(*place, uapi::Call::Op::mmio_read, width, 0));
}

Result<> BarSpace::device_write(Vaddr vaddr, unsigned width, std::uint64_t value)
{
    auto const& place = find(vaddr);
    if (!place) return fail(Errno::io);
    (void)TRY(door_(access(*place, uapi::Call::Op::mmio_write, width, value)));
    return {};
}

}  // namespace pinfold::preload
