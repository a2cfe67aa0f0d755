#include "cli/driver_tree.hpp"

#include <algorithm>

#include "cli/device_tree.hpp"

namespace pinfold::cli {

namespace {

namespace fs = std::filesystem;
using machine::Face;

constexpr mode_t kWriteOnly = 0200;
constexpr mode_t kReadWrite = 0644;
constexpr char kHost[] = "host", kNone[] = "none";

fs::path directory_of(pinfold_driver const& driver)
{
    return fs::path{kPciBus} / "drivers" / driver.name;
}

}  // namespace

pinfold_driver const* first_driver(Face const& face)
{
    auto const& id = face.identity;
    auto const found = std::ranges::find_if(kPinfoldDrivers, [&](pinfold_driver const& driver) {
        return face.driver == kHost
                   ? pinfold_driver_knows(&driver, id.vendor, id.device, id.class_code)
                   : face.driver == driver.name;
    });
    return found != std::end(kPinfoldDrivers) ? found : nullptr;
}

std::string_view first_override(Face const& face)
{
    return face.driver == kHost || face.driver == kNone ? "(null)" : std::string_view{face.driver};
}

void write_pci_bus(TreeWriter& tree)
{
    fs::path const bus{kPciBus};
    tree.directory(bus / "devices");
    tree.directory(bus / "slots");
    tree.file(bus / "drivers_autoprobe", "1\n", kReadWrite);
    tree.file(bus / "resource_alignment", "\n", kReadWrite);
    for (auto const* const file : {"drivers_probe", "rescan", "uevent"})
        tree.file(bus / file, "", kWriteOnly);
    for (auto const& driver : kPinfoldDrivers) {
        for (auto const* const file : {"bind", "unbind", "new_id", "remove_id", "uevent"})
            tree.file(directory_of(driver) / file, "", kWriteOnly);
        tree.link(directory_of(driver) / "module", fs::path{"../../../../module"} / driver.module);
    }
}

void write_binding(TreeWriter& tree, Face const& face)
{
    auto const directory = device_directory(face.bdf);
    tree.file(directory / "driver_override", std::string{first_override(face)} + '\n', kReadWrite);
    auto const* const driver = first_driver(face);
    if (driver == nullptr) return;
    tree.link(directory / "driver", fs::path{"../../../../bus/pci/drivers"} / driver->name);
    tree.link(directory_of(*driver) / face.bdf.text(), link_to_device(4, face.bdf));
}

}  // namespace pinfold::cli
