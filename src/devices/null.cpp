#include "devices/null.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "devices/null_settings.hpp"

namespace pinfold::devices {

namespace {

using pci::Checked;
using pci::DeviceSpec;

class Null final : public pci::Device {
public:
    Null(pci::Bus& bus, pci::Identity identity) : bus_{bus}, identity_{std::move(identity)}
    {
        for (std::size_t i = 0; i < ports_.size(); ++i)
            if (identity_.bars[i].kind == pci::Bar::Kind::io)
                ports_[i].resize(identity_.bars[i].size);
    }

    pci::Identity const& identity() const override { return identity_; }
    std::uint64_t bar_read(unsigned bar, std::uint64_t offset, unsigned size) override
    {
        std::uint64_t value = 0;
        std::memcpy(&value, memory(bar).data() + offset, size);
        return value;
    }
    void bar_write(unsigned bar, std::uint64_t offset, unsigned size, std::uint64_t value) override
    {
        std::memcpy(memory(bar).data() + offset, &value, size);
    }
    // The MSI-X table is not the device's, and a BAR may have nothing else.
    void reset() override
    {
        for (unsigned i = 0; i < ports_.size(); ++i)
            if (identity_.msix.vectors == 0 || identity_.msix.bar != i)
                std::ranges::fill(memory(i), std::byte{0});
    }

private:
    std::span<std::byte> memory(unsigned bar)
    {
        return ports_[bar].empty() ? bus_.bar_memory(bar) : std::span{ports_[bar]};
    }

    pci::Bus& bus_;
    pci::Identity identity_;
    std::array<std::vector<std::byte>, 6> ports_;  // I/O BARs
};

class NullModel final : public pci::Model {
public:
    std::string_view name() const override { return "null"; }
    std::string_view summary() const override
    {
        return "a device that only keeps what is written to it, with the BARs and interrupts asked "
               "for";
    }
    std::span<Option const> options() const override { return null_options(); }
    std::string_view example() const override
    {
        return "null,bdf=0000:00:08.0,bar0=16K:readable,bar2=32:io,msix=8";
    }
    Checked<void> check(DeviceSpec const& spec) const override
    {
        if (auto const identity = null_identity(spec); !identity)
            return std::unexpected{identity.error()};
        return {};
    }
    Checked<std::unique_ptr<pci::Device>> create(DeviceSpec const& spec,
                                                 pci::Bus& bus) const override
    {
        auto identity = null_identity(spec);
        if (!identity) return std::unexpected{identity.error()};
        return std::make_unique<Null>(bus, std::move(*identity));
    }
};

}  // namespace

pci::Model const& null_model()
{
    static NullModel const kModel;
    return kModel;
}

}  // namespace pinfold::devices
