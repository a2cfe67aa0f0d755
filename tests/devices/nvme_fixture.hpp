// One controller with one disk of 8 MiB, enabled as a driver would.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "devices/nvme_driver.hpp"
#include "devices/nvme_rig.hpp"

namespace pinfold::devices::nvme {

class NvmeTest : public testing::Test {
protected:
    static constexpr std::uint64_t kDiskSize = 8 << 20;

    NvmeTest() { driver_.enable(); }

    Status admin(Command const& command) { return status_of(driver_.admin(command)); }
    // An admin command whose data, a page, comes back in `page_`.
    Status admin_data(Command command, std::uint64_t size = kPage)
    {
        driver_.point(command, page_, size);
        return admin(command);
    }
    template <class T>
    T field(std::size_t offset) const
    {
        T value;
        std::memcpy(&value, rig_.memory(page_ + offset, sizeof value).data(), sizeof value);
        return value;
    }
    // CSTS shows that the controller is ready and has not failed.
    bool healthy() { return (driver_.csts() & 3) == 1; }

    TestDisk disk_{kDiskSize};
    NvmeRig rig_{{{"disk", disk_.path()}}};
    NvmeDriver driver_{rig_};
    // The page after what enable() uses, and free for everybody's data.
    std::uint64_t page_ = NvmeRig::kIova + NvmeRig::kSize - kPage;
};

}  // namespace pinfold::devices::nvme
