#include "devices/null.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "devices/null_settings.hpp"

namespace pinfold::devices {

namespace {

using pci::Checked;
using pci::DeviceSpec;

class Null final : public pci::Device {
public:
    Null(pci::Bus& bus, NullSettings settings)
        : bus_{bus}, identity_{std::move(settings.identity)}, trigger_{settings.trigger}
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
        if (trigger_ && bar == trigger_->bar && offset == trigger_->offset)
            return bus_.raise(static_cast<unsigned>(value));
        if (trigger_ && bar == trigger_->bar && offset == trigger_->offset + 4) return bus_.lower();
        std::memcpy(memory(bar).data() + offset, &value, size);
    }
    void reset() override
    {
        for (unsigned i = 0; i < ports_.size(); ++i) clear(i);
    }

private:
    std::span<std::byte> memory(unsigned bar)
    {
        return ports_[bar].empty() ? bus_.bar_memory(bar) : std::span{ports_[bar]};
    }

    // All but the MSI-X table and its pending bits, which are not the device's.
    void clear(unsigned bar)
    {
        auto const& msix = identity_.msix;
        auto rest = memory(bar);
        if (msix.vectors == 0 || msix.bar != bar)
            return (void)std::ranges::fill(rest, std::byte{0});
        std::pair<std::size_t, std::size_t> first{msix.table_offset,
                                                  std::size_t{16} * msix.vectors},
            second{msix.pba_offset, std::size_t{8} * ((msix.vectors + 63) / 64)};
        if (second < first) std::swap(first, second);
        std::ranges::fill(rest.first(first.first), std::byte{0});
        auto const between = first.first + first.second;
        std::ranges::fill(rest.subspan(between, second.first - between), std::byte{0});
        std::ranges::fill(rest.subspan(second.first + second.second), std::byte{0});
    }

    pci::Bus& bus_;
    pci::Identity identity_;
    std::optional<Trigger> trigger_;
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
        if (auto const settings = null_settings(spec); !settings)
            return std::unexpected{settings.error()};
        return {};
    }
    Checked<std::unique_ptr<pci::Device>> create(DeviceSpec const& spec,
                                                 pci::Bus& bus) const override
    {
        auto settings = null_settings(spec);
        if (!settings) return std::unexpected{settings.error()};
        return std::make_unique<Null>(bus, std::move(*settings));
    }
};

}  // namespace

pci::Model const& null_model()
{
    static NullModel const kModel;
    return kModel;
}

}  // namespace pinfold::devices
