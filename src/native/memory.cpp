#include "native/memory.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <cstdint>

namespace pinfold::native {
namespace {

constexpr std::size_t kPage = 4096;

class SystemMemory final : public Memory {
public:
    // More than is asked for, and the ends cut off.
    void* take(std::size_t bytes, std::size_t alignment) override
    {
        std::size_t const slack = alignment > kPage ? alignment : 0;
        void* const got = ::mmap(nullptr, bytes + slack, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (got == MAP_FAILED) return nullptr;
        if (slack == 0) return got;
        auto const start = reinterpret_cast<std::uintptr_t>(got);
        std::uintptr_t const aligned = (start + alignment - 1) & ~(alignment - 1);
        auto* const memory = static_cast<std::byte*>(got) + (aligned - start);
        if (aligned != start) (void)::munmap(got, aligned - start);
        std::size_t const behind = start + slack - aligned;
        if (behind != 0) (void)::munmap(memory + bytes, behind);
        return memory;
    }
    void give_back(void* memory, std::size_t bytes) override { (void)::munmap(memory, bytes); }

    // Kernels before 5.14 cannot: EINVAL, and the pages are faulted in when they are touched.
    bool populate(void* memory, std::size_t bytes, Pages pages) override
    {
        if (pages == Pages::huge) (void)::madvise(memory, bytes, MADV_HUGEPAGE);
        return ::madvise(memory, bytes, MADV_POPULATE_WRITE) == 0 || errno == EINVAL;
    }
};

}  // namespace

Memory& Memory::system()
{
    static SystemMemory memory;
    return memory;
}

}  // namespace pinfold::native
