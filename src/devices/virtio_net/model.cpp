#include "devices/virtio_net/model.hpp"

#include <memory>
#include <utility>

#include "devices/virtio_net/capture.hpp"
#include "devices/virtio_net/port.hpp"
#include "devices/virtio_net/settings.hpp"

namespace pinfold::devices::virtio_net {
namespace {

class VirtioNetModel final : public pci::Model {
public:
    std::string_view name() const override { return "virtio-net"; }
    std::string_view summary() const override
    {
        return "virtio network device, legacy and 1.1; frames come back or go to a peer";
    }
    std::span<Option const> options() const override { return setting_options(); }
    std::string_view example() const override { return "virtio-net,bdf=0000:00:05.0"; }

    pci::Checked<void> check(pci::DeviceSpec const& spec) const override
    {
        auto const settings = parse_settings(spec);
        if (!settings) return std::unexpected{settings.error()};
        if (settings->pcap.empty()) return {};
        if (auto const usable = Capture::check(settings->pcap); !usable)
            return std::unexpected{"virtio-net: " + usable.error()};
        return {};
    }

    pci::Checked<std::unique_ptr<pci::Device>> create(pci::DeviceSpec const& spec,
                                                      pci::Bus& bus) const override
    {
        auto settings = parse_settings(spec);
        if (!settings) return std::unexpected{settings.error()};
        Capture capture;
        if (!settings->pcap.empty()) {
            auto opened = Capture::open(settings->pcap);
            if (!opened) return std::unexpected{"virtio-net: " + opened.error()};
            capture = std::move(*opened);
        }
        return std::make_unique<Port>(bus, std::move(*settings), std::move(capture));
    }
};

}  // namespace

pci::Model const& model()
{
    static VirtioNetModel const the_model;
    return the_model;
}

}  // namespace pinfold::devices::virtio_net
