// A machine as data: what a TOML file, a preset or the command line says, before anything of it
// exists. docs/machine-format.md is its reference. No code anywhere asks which preset a machine
// came from.
#pragma once

#include <cstdint>
#include <expected>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/kernel.hpp"
#include "base/page_size.hpp"
#include "host/memory.hpp"
#include "iommu/iommu.hpp"
#include "pci/device.hpp"
#include "type1/page_sizes.hpp"

namespace pinfold::machine {

// A sentence for the user: what, where, what to do instead.
template <class T>
using Checked = std::expected<T, std::string>;

struct Bdf {
    std::uint16_t domain = 0;
    std::uint8_t bus = 0, device = 0, function = 0;
    static Checked<Bdf> parse(std::string_view text);  // "0000:00:04.0"; the domain may be left out
    std::string text() const;
    auto operator<=>(Bdf const&) const = default;
};

// What RLIMIT_MEMLOCK counts as.
struct Memlock {
    enum class Kind { inherit, bytes, unlimited } kind = Kind::inherit;
    std::uint64_t bytes = 0;
};

struct DeviceEntry {
    Bdf bdf;
    std::optional<unsigned> group;  // nullopt: one of its own
    std::string iommu;              // the name of an ExtraIommu; empty: the machine's first
    // What has it at the start: the name of a driver (drivers.h), "host" for the one that Linux
    // would bind by itself, or "none".
    std::string driver = "vfio-pci";
    pci::DeviceSpec spec;
    // For errors: "machine.toml:12", or "--device" and the argument.
    std::string where;
};

// One more IOMMU unit, for devices that name it.
struct ExtraIommu {
    std::string name;
    iommu::Iommu::Options options;
};

struct Description {
    std::string name = "vtd";
    Kernel kernel = Kernel::v7_3;  // whose behaviour applies
    struct {
        PageSize page_size = k4K;
        Memlock memlock;
        host::FrameNumbering frames = host::FrameNumbering::contiguous;
        std::uint64_t frame_seed = 0;
    } host;
    iommu::Iommu::Options iommu;
    std::vector<ExtraIommu> extra_iommus;
    type1::SubpagePolicy policy = type1::SubpagePolicy::merged;
    // Whether an IOMMU whose smallest page is larger than the host's is let pass (rule T-3).
    bool allow_coarse = false;
    unsigned dma_entry_limit = 65535;  // module parameters of vfio_iommu_type1
    bool allow_unsafe_interrupts = false;
    bool disable_hugepages = false;
    std::vector<DeviceEntry> devices;
};

struct Preset {
    std::string_view name, summary;
    Description (*make)();
};
std::span<Preset const> presets();

// From a preset's name or a TOML file's path. Malformed: file, line and key are named. Files that
// its devices name are relative to the machine file's directory.
Checked<Description> load(std::string_view preset_or_file);
Checked<Description> parse_toml(std::string_view text, std::string_view file_name);
// A --device argument: "nvme,bdf=0000:00:04.0,disk=FILE". A comma inside a value is written twice.
Checked<DeviceEntry> parse_device(std::string_view argument);
// "8M", "unlimited" or "inherit".
Checked<Memlock> parse_memlock(std::string_view text);
std::string memlock_text(Memlock memlock);
// The words for what has a device at the start (DeviceEntry::driver).
std::vector<std::string_view> driver_words();

// A group's number: below kMostGroups.
inline constexpr unsigned kMostGroups = 4096;
Checked<unsigned> parse_group(std::string_view text);
// Makes the settings that name files (Model::Option::value is "FILE"), and a model that is a shared
// object, absolute, from `directory` on, so that they hold wherever the client goes.
void anchor_files(DeviceEntry& entry, std::filesystem::path const& directory);
// The whole as TOML that parse_toml() reads back equal: how the launcher hands it to the engine.
std::string to_toml(Description const& description);
// What can be wrong with the whole: a BDF twice, groups that cannot be, what the models say of
// their settings.
Checked<void> check(Description const& description);
// The unit that a device is behind, as the machine's kernel and host would have it: every option
// that Description says elsewhere is filled in. REQUIRES: check() has passed, or the name is known.
iommu::Iommu::Options iommu_of(Description const& description, std::string_view name);
// Whether some unit's smallest page is larger than the host's: no Linux runs on such a machine, so
// none was compared with. Frames are scattered there (rule T-3). REQUIRES: check() has passed.
bool is_coarse(Description const& description);
// Gives every device without a group one; returns the group numbers in the order of devices.
std::vector<unsigned> assign_groups(Description const& description);

}  // namespace pinfold::machine
