// A group whose other device (0000:00:05.0, an NVMe disk) a driver of the kernel's has at the
// start: what VFIO says to that, and what the kernel says to such a driver while the group is a
// user's. Prints what failed; exit status 0 where nothing did.
#include <unistd.h>

#include "vfio_client.hpp"

namespace {

constexpr char kOther[] = "0000:00:05.0";
std::string const kBus = "/sys/bus/pci/";

// write(2) of a text to a file of the bus.
int put(std::string const& file, char const* text)
{
    int const fd = ::open((kBus + file).c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    auto const size = static_cast<ssize_t>(std::strlen(text));
    bool const good = ::write(fd, text, std::strlen(text)) == size;
    int const error = errno;
    (void)::close(fd);
    errno = error;
    return good ? 0 : -1;
}

void override_by(char const* driver)
{
    CHECK(put(std::string{"devices/"} + kOther + "/driver_override", driver) == 0);
}

std::uint32_t flags_of(int group)
{
    vfio_group_status status{sizeof status, 0};
    CHECK(::ioctl(group, VFIO_GROUP_GET_STATUS, &status) == 0);
    return status.flags;
}

constexpr std::uint32_t kViable = VFIO_GROUP_FLAGS_VIABLE;
constexpr std::uint32_t kInContainer = VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET;

void not_viable(int group, int container)
{
    CHECK(flags_of(group) == 0);
    CHECK_FAILS(EPERM, ::ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
    CHECK_FAILS(EINVAL, ::ioctl(group, VFIO_GROUP_GET_DEVICE_FD, kBdf));
    CHECK_FAILS(ENODEV, ::ioctl(group, VFIO_GROUP_GET_DEVICE_FD, kOther));
}

// Without a driver, or with one that leaves DMA alone, a device is in nobody's way.
void viable_without_and_with_a_stub(int group)
{
    CHECK(put(std::string{"devices/"} + kOther + "/driver/unbind", kOther) == 0);
    CHECK(flags_of(group) == kViable);
    override_by("pci-stub");
    CHECK(put("drivers/pci-stub/bind", kOther) == 0);
    CHECK(flags_of(group) == kViable);
    CHECK_FAILS(ENODEV, put("drivers/vfio-pci/unbind", kOther));
    CHECK(put("drivers/pci-stub/unbind", kOther) == 0);
}

void no_driver_while_in_a_container(int group, int container)
{
    CHECK(::ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) == 0);
    CHECK(flags_of(group) == kInContainer);
    override_by("\n");
    CHECK_FAILS(EBUSY, put("drivers/nvme/bind", kOther));
    CHECK_FAILS(EINVAL, put("drivers_probe", kOther));
    CHECK_FAILS(ENODEV, put("drivers/uio_pci_generic/bind", kOther));
    override_by("uio_pci_generic");
    CHECK_FAILS(ENODEV, put("drivers/nvme/bind", kOther));
    CHECK_FAILS(EBUSY, put("drivers/uio_pci_generic/bind", kOther));
    CHECK(flags_of(group) == kInContainer);

    CHECK(::ioctl(group, VFIO_GROUP_UNSET_CONTAINER) == 0);
    CHECK(flags_of(group) == kViable);
    CHECK(put("drivers/uio_pci_generic/bind", kOther) == 0);
    not_viable(group, container);
    CHECK(put("drivers/uio_pci_generic/unbind", kOther) == 0);
}

// By its own ids the disk is nvme's.
void probing_finds_the_drivers_own_devices(int group)
{
    override_by("\n");
    CHECK(put("drivers_probe", kOther) == 0);
    CHECK(flags_of(group) == 0);
    CHECK(put("drivers/nvme/unbind", kOther) == 0);
}

void both_are_the_users(int group, int container)
{
    override_by("vfio-pci");
    CHECK(put("drivers_probe", kOther) == 0);
    CHECK(::ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) == 0);
    CHECK(::ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU) == 0);
    for (auto const* const bdf : {kBdf, kOther}) {
        int const device = ::ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
        CHECK(device >= 0 && ::close(device) == 0);
    }
}

}  // namespace

int main()
{
    int const container = must(::open("/dev/vfio/vfio", O_RDWR), "/dev/vfio/vfio");
    int const group = must(::open("/dev/vfio/0", O_RDWR), "/dev/vfio/0");
    not_viable(group, container);
    viable_without_and_with_a_stub(group);
    no_driver_while_in_a_container(group, container);
    probing_finds_the_drivers_own_devices(group);
    both_are_the_users(group, container);
    return finish();
}
