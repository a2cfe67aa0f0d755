// A machine that exists: its host memory, IOMMU, groups, functions and the door to them, built from
// a Description.
#pragma once

#include <memory>

#include "host/process.hpp"
#include "machine/description.hpp"
#include "machine/face.hpp"
#include "machine/journal.hpp"
#include "uapi/door.hpp"

namespace pinfold::machine {

// Numbers for the run's report, kept where the launcher can read them even after the client was
// killed.
struct Counters;

class Machine {
public:
    // The sentence says why it cannot be built. `process` is the client, `journal` where the
    // machine writes what a kernel would log and trace (nullptr: nowhere); both outlive the
    // machine.
    static Checked<std::unique_ptr<Machine>> build(Description const& description,
                                                   host::Process& process,
                                                   Journal* journal = nullptr);
    ~Machine();

    uapi::Door& door();
    host::Memory& memory();
    Description const& description() const;
    // The functions as the bus shows them before anybody has opened one; in the order of devices.
    std::vector<Face> faces() const;

    // Takes a device away: pci::Function::unplug(). False: none is there. Any thread.
    bool unplug(Bdf bdf);
    // Whether anybody has the device open. Any thread.
    bool in_use(Bdf bdf) const;

    // Brings `counters` up to date with everything that the machine counts. Cheap; any thread.
    void publish(Counters& counters) const;

private:
    struct Impl;
    explicit Machine(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace pinfold::machine
