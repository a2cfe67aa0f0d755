/* Makes a few calls of which a wrapper of the user's sees each once: one open, three ioctls, one
 * mmap and two sigactions. */
#include <fcntl.h>
#include <linux/vfio.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

int main(void)
{
    int const container = open("/dev/vfio/vfio", O_RDWR);
    if (container < 0 || ioctl(container, VFIO_GET_API_VERSION) != VFIO_API_VERSION) return 1;
    if (ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) != 1) return 2;
    if (ioctl(container, VFIO_CHECK_EXTENSION, 1000) != 0) return 3;
    if (mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED) return 4;
    struct sigaction action;
    if (sigaction(SIGSEGV, NULL, &action) != 0 || sigaction(SIGSEGV, &action, NULL) != 0) return 5;
    return puts("all answered") < 0;
}
