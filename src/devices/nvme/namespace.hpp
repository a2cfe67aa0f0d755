// One namespace: a disk in logical blocks, and what was done to it. Not thread safe.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "devices/nvme/disk.hpp"
#include "devices/nvme/settings.hpp"
#include "devices/nvme/status.hpp"

namespace pinfold::devices::nvme {

class Namespace {
public:
    struct Counters {
        std::uint64_t reads = 0, read_bytes = 0;
        std::uint64_t writes = 0, written_bytes = 0;
        std::uint64_t forced = 0;  // of the writes, those that were done once on the medium
        std::uint64_t flushes = 0;
    };

    static pci::Checked<Namespace> open(unsigned id, NamespaceSettings const& settings);

    unsigned id() const { return id_; }
    unsigned block_lg2() const { return block_lg2_; }
    std::uint64_t blocks() const { return disk_.size() >> block_lg2_; }
    bool read_only() const { return disk_.access() == DiskAccess::read_only; }
    Disk& disk() { return disk_; }
    // Format NVM: all blocks read as zeros, in the new size. EIO, ENOSPC: the file cannot do it,
    // and the size stays. EINTR: as Disk::zero(). REQUIRES: not read_only(); one block fits.
    Result<> format(unsigned block_lg2, Disk::GoesOn goes_on);
    Counters& counters() { return counters_; }
    Counters const& counters() const { return counters_; }

    // Lba_out_of_range where some block of [first, first + count) does not exist.
    Status check_range(std::uint64_t first, std::uint64_t count) const;

    // The same bytes for the same file and namespace in every run, different ones for others: UUID
    // (and NGUID), EUI-64.
    std::array<std::uint8_t, 16> const& uuid() const { return uuid_; }
    std::array<std::uint8_t, 8> eui64() const;

    // "ns1 disk.img 512 MiB: 812 reads 410.2 MiB, 655 writes 327.0 MiB (7 forced), 12 flushes"
    std::string summary() const;

private:
    Namespace(unsigned id, NamespaceSettings const& settings, Disk disk);

    unsigned id_;
    unsigned block_lg2_;
    Disk disk_;
    std::string file_name_;
    std::array<std::uint8_t, 16> uuid_;
    Counters counters_;
};

}  // namespace pinfold::devices::nvme
