#include "devices/nvme/model.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <memory>

#include "devices/nvme/controller.hpp"
#include "devices/nvme/identify.hpp"
#include "devices/nvme/settings.hpp"
#include "devices/nvme/unique_name.hpp"

namespace pinfold::devices::nvme {
namespace {

pci::Checked<std::vector<Namespace>> open_namespaces(Settings const& settings)
{
    std::vector<Namespace> namespaces;
    for (auto const& one : settings.namespaces) {
        auto ns = Namespace::open(static_cast<unsigned>(namespaces.size()) + 1, one);
        if (!ns) return std::unexpected{fmt::format("nvme: {}", ns.error())};
        namespaces.push_back(std::move(*ns));
    }
    return namespaces;
}

bool same_file(std::string const& left, std::string const& right)
{
    struct stat a{}, b{};
    return ::stat(left.c_str(), &a) == 0 && ::stat(right.c_str(), &b) == 0 &&
           a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

pci::Checked<void> check_different(Settings const& settings)
{
    auto const& namespaces = settings.namespaces;
    for (std::size_t i = 0; i < namespaces.size(); ++i) {
        for (std::size_t j = i + 1; j < namespaces.size(); ++j) {
            if (!same_file(namespaces[i].disk, namespaces[j].disk)) continue;
            return std::unexpected{fmt::format("nvme: namespaces {} and {} are both the disk {}",
                                               i + 1, j + 1, namespaces[j].disk)};
        }
    }
    return {};
}

std::string serial_of(Settings const& settings)
{
    if (!settings.serial.empty()) return settings.serial;
    auto const name = unique_name(settings.namespaces.front().disk, 0);
    return fmt::format("PF{:02x}{:02x}{:02x}{:02x}{:02x}{:02x}", name[0], name[1], name[2], name[3],
                       name[4], name[5]);
}

class NvmeModel final : public pci::Model {
public:
    std::string_view name() const override { return "nvme"; }
    std::string_view summary() const override
    {
        return "NVM Express 1.4 controller; its disks are files or block devices";
    }
    std::span<Option const> options() const override { return setting_options(); }
    std::string_view example() const override { return "nvme,bdf=0000:00:04.0,disk=disk.raw"; }

    pci::Checked<void> check(pci::DeviceSpec const& spec) const override
    {
        auto const locks = lock_disks(spec);
        if (!locks) return std::unexpected{locks.error()};
        auto const settings = parse_settings(spec);
        if (auto const namespaces = open_namespaces(*settings); !namespaces) {
            return std::unexpected{namespaces.error()};
        }
        return {};
    }

    pci::Checked<std::unique_ptr<pci::Device>> create(pci::DeviceSpec const& spec,
                                                      pci::Bus& bus) const override
    {
        auto const settings = parse_settings(spec);
        if (!settings) return std::unexpected{settings.error()};
        auto namespaces = open_namespaces(*settings);
        if (!namespaces) return std::unexpected{namespaces.error()};
        return std::make_unique<Controller>(bus, pci_identity(settings->error_reporting),
                                            serial_of(*settings), std::move(*namespaces));
    }
};

}  // namespace

pci::Model const& model()
{
    static NvmeModel const the_model;
    return the_model;
}

pci::Checked<std::vector<UniqueFd>> lock_disks(pci::DeviceSpec const& spec)
{
    auto const settings = parse_settings(spec);
    if (!settings) return std::unexpected{settings.error()};
    if (auto const different = check_different(*settings); !different) {
        return std::unexpected{different.error()};
    }
    std::vector<UniqueFd> locks;
    for (auto const& one : settings->namespaces) {
        auto lock = lock_disk(one.disk, one.access);
        if (!lock) return std::unexpected{fmt::format("nvme: {}", lock.error())};
        locks.push_back(std::move(*lock));
    }
    return locks;
}

}  // namespace pinfold::devices::nvme
