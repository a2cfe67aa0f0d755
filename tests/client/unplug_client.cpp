// A device that is taken away while a program has it open: REQ fires, the device works on, and once
// it is closed it is gone. Prints what failed; exit status 0 where nothing did.
#include <poll.h>
#include <sys/eventfd.h>

#include "vfio_client.hpp"

namespace {

int bind_request(int device, int eventfd)
{
    alignas(vfio_irq_set) unsigned char bytes[sizeof(vfio_irq_set) + sizeof(std::int32_t)];
    vfio_irq_set head{};
    head.argsz = sizeof bytes;
    head.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
    head.index = VFIO_PCI_REQ_IRQ_INDEX;
    head.count = 1;
    std::memcpy(bytes, &head, sizeof head);
    std::memcpy(bytes + sizeof head, &eventfd, sizeof eventfd);
    return ::ioctl(device, VFIO_DEVICE_SET_IRQS, bytes);
}

void remove_device()
{
    auto const path = std::string{"/sys/bus/pci/devices/"} + kBdf + "/remove";
    int const file = must(::open(path.c_str(), O_WRONLY), path.c_str());
    CHECK(::write(file, "1", 1) == 1);
    (void)::close(file);
}

bool fires(int eventfd, int milliseconds)
{
    pollfd wait{eventfd, POLLIN, 0};
    return ::poll(&wait, 1, milliseconds) == 1;
}

}  // namespace

int main()
{
    Edu edu;
    int const request = ::eventfd(0, EFD_CLOEXEC);
    CHECK(bind_request(edu.device, request) == 0);
    CHECK(!fires(request, 0));
    remove_device();
    CHECK(fires(request, 10'000));

    // It is a request only.
    CHECK(edu.registers[0] == 0x010000ed);
    int const again = ::ioctl(edu.group, VFIO_GROUP_GET_DEVICE_FD, kBdf);
    CHECK(again >= 0);
    CHECK(::munmap(const_cast<std::uint32_t*>(edu.registers), kPage) == 0);
    CHECK(::close(edu.device) == 0);
    CHECK(::close(again) == 0);
    CHECK_FAILS(ENODEV, ::ioctl(edu.group, VFIO_GROUP_GET_DEVICE_FD, kBdf));
    CHECK(::close(edu.group) == 0);
    CHECK(::close(edu.container) == 0);
    edu.device = -1;
    return finish();
}
