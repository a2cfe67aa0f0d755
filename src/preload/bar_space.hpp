// The client's address space as its instructions see it: where BARs are mapped, and calls to the
// devices behind them. Made for one trap; async-signal-safe.
#pragma once

#include <optional>

#include "base/function_ref.hpp"
#include "preload/address_space.hpp"
#include "preload/bar_map.hpp"
#include "uapi/call.hpp"

namespace pinfold::preload {

class BarSpace final : public AddressSpace {
public:
    // Makes a call on a device file.
    using Door = FunctionRef<uapi::Reply(uapi::Call const&)>;

    // `place` is what was found at `vaddr`, where the trap was.
    BarSpace(BarMap const& bars, Door door, Vaddr vaddr, BarMap::Place const& place)
        : bars_{bars}, door_{door}, found_at_{vaddr}, found_{place}
    {
    }

    Result<Stretch> stretch(Vaddr vaddr, std::uint64_t size, Touch touch) override;
    Result<std::uint64_t> device_read(Vaddr vaddr, unsigned width) override;
    Result<> device_write(Vaddr vaddr, unsigned width, std::uint64_t value) override;

private:
    // What is at `vaddr`; the last answer is kept, because every access asks twice.
    std::optional<BarMap::Place> const& find(Vaddr vaddr);

    BarMap const& bars_;
    Door door_;
    Vaddr found_at_;
    std::optional<BarMap::Place> found_;
};

}  // namespace pinfold::preload
