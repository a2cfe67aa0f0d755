// Linked to the kernel's self-tests beside their own, unmodified objects. Those that do not go
// through all ways to an IOMMU themselves use the way that this variable names; it begins as
// iommufd.
#include <stdlib.h>

extern char const* default_iommu_mode;

__attribute__((constructor)) static void choose_mode(void)
{
    char const* const mode = getenv("SELFTESTS_IOMMU_MODE");
    if (mode) default_iommu_mode = mode;
}
