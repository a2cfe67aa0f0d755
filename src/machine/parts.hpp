// What a machine is made of, in the order in which it is made; later parts use earlier ones.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "host/memory.hpp"
#include "host/process.hpp"
#include "iommu/iommu.hpp"
#include "machine/description.hpp"
#include "machine/face.hpp"
#include "machine/recorder.hpp"
#include "pci/function.hpp"
#include "type1/activity.hpp"
#include "type1/group.hpp"
#include "type1/settings.hpp"
#include "uapi/door.hpp"

namespace pinfold::machine {

struct Counters;

struct Parts {
    std::optional<Recorder> recorder;  // empty: nobody reads the journal
    bool coarse = false;               // is_coarse()
    std::unique_ptr<host::Memory> memory;
    std::map<std::string, std::unique_ptr<iommu::Iommu>> iommus;  // by name; "" is the first
    std::vector<std::unique_ptr<iommu::Endpoint>> endpoints;      // in the order of devices
    std::vector<std::unique_ptr<pci::Function>> functions;        // likewise
    std::vector<unsigned> group_numbers;                          // likewise
    std::vector<std::unique_ptr<type1::Group>> groups;
    type1::Activity activity;
    std::optional<type1::Settings> settings;
    std::optional<uapi::Door> door;
};

Face face_of(pci::Function& function, Bdf bdf, unsigned group);
void publish_parts(Parts const& parts, Description const& description, host::Process& process,
                   Counters& counters);

}  // namespace pinfold::machine
