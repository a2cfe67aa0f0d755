// What the launcher hands to the engine of a run, through a directory that both can reach:
//
//   <state>/machine.toml   the machine
//   <state>/run            the facts below, one per line: "mode namespace", "node vfio mount 71", …
//   <state>/root/…         the files that the client is to see: dev/vfio/… and sys/…. In namespace
//                          mode they are mounted in place; in paths mode the path library leads
//                          there
//   <state>/devices/<BDF>  empty files; a device descriptor is an O_PATH descriptor of one, so that
//                          whatever is not interposed fails with EBADF
//   <state>/removals/<BDF> empty files; what is written to one unplugs the device
//   <state>/owners/PID     sockets where other processes reach the engine of an open file
//   <state>/dma.N          locked (F_OFD_SETLK) while group N is in a container
//   <state>/counters/…     one file for each engine that ran, read by the launcher at the end
//
// The stub needs none of it but the environment (run_names.h). Thread safe: values and files that
// do not change once the client runs.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "host/locked_memory.hpp"
#include "machine/description.hpp"
#include "machine/run_names.h"

namespace pinfold::machine {

struct RunState {
    enum class Mode { namespaced, paths };

    // How a descriptor is told to be a node's. In namespace mode all nodes are bind mounts of one
    // character device, and the mount tells them apart (statx, STATX_MNT_ID). In paths mode a node
    // is an empty file of its own.
    struct Node {
        std::optional<unsigned> group;         // nullopt: /dev/vfio/vfio
        std::uint64_t mount_id = 0;            // namespace mode
        std::uint64_t st_dev = 0, st_ino = 0;  // paths mode: the file; namespace mode: the
                                               // character device that is mounted there
    };
    // The file that a device's descriptors are O_PATH descriptors of, in both modes.
    struct DeviceFile {
        Bdf bdf;
        unsigned group = 0;
        std::uint64_t st_dev = 0, st_ino = 0;
    };

    Mode mode = Mode::namespaced;
    // CAP_IPC_LOCK in the initial user namespace, as the launcher had it before it entered another.
    host::LockCap lock_cap = host::LockCap::no;
    std::filesystem::path engine;  // the engine library
    std::vector<Node> nodes;
    std::vector<DeviceFile> devices;
};

// The sentence names the file and the system's reason.
Checked<void> write_run_state(std::filesystem::path const& state, RunState const& run);
// The sentence names the file and the line.
Checked<RunState> read_run_state(std::filesystem::path const& state);
// The machine that <state>/machine.toml describes.
Checked<Description> read_machine(std::filesystem::path const& state);

// <state>/devices/<BDF>.
std::filesystem::path device_file(std::filesystem::path const& state, Bdf bdf);
// The directory of a device in the tree that the client sees.
std::filesystem::path tree_directory(Bdf bdf);
// <state>/removals/<BDF>: whoever writes to it unplugs the device.
std::filesystem::path removal_file(std::filesystem::path const& state, Bdf bdf);
// Where in <state>/root the mirror of an absolute path is.
std::filesystem::path mirrored(std::filesystem::path const& state,
                               std::filesystem::path const& absolute);

}  // namespace pinfold::machine
