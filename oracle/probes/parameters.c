/* What the parameters of vfio_iommu_type1 change (rules K-1 to K-3, C-12): each run has another one
 * set. What the IOMMU is told is compared too. */
// oracle: run
// oracle: run [allow_unsafe_interrupts=0]
// oracle: run [disable_hugepages=1]
// oracle: run [dma_entry_limit=0]
// oracle: run [dma_entry_limit=2]
// oracle: trace
#include "probe.h"

/* Two containers side by side, as far as they come: each back end has taken the parameters for
 * itself. */
static void enter(char const* bdf, unsigned long type)
{
    struct place const place = {open_container(), open_group(bdf)};
    need(set_container(place.group, place.container) == 0, "SET_CONTAINER");
    bool const entered = check("K-1 6.2 C-13", ioctl(place.container, VFIO_SET_IOMMU, type),
                               "SET_IOMMU(%lu)", type) == 0;
    check("A-7 A-5", ioctl(place.container, VFIO_SET_IOMMU, type), "SET_IOMMU(%lu) again", type);
    if (entered) {
        uint64_t const g = granule(place.container);
        struct memory const memory = touched("memory", 16 * g / page());
        state("C-12 K-3 I-14", place.container);
        map("K-2 K-3 I-4", place.container, kBoth, memory, 0, kIova, 8 * g);
        map("K-2 K-3", place.container, kRead, memory, 8 * g, kIova + 8 * g, 4 * g);
        map("K-3", place.container, kBoth, memory, 0, kIova + 12 * g, g);
        state("C-12 K-3 P-7", place.container);
        unmap("K-2 U-3", place.container, 0, kIova, 8 * g);
        unmap("K-2 U-3", place.container, 0, kIova, 16 * g);
        state("P-7", place.container);
        release(memory);
    }
    leave(place);
}

int main(void)
{
    begin();
    ipc_lock(true);
    heading("parameters");
    enter(kFirst, VFIO_TYPE1v2_IOMMU);
    enter(kSecond, VFIO_TYPE1_IOMMU);
    return finish();
}
