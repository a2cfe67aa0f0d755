// What a device sees that may only read: read_pin_client KERNEL, under a machine of that kernel.
// Prints what failed; exit status 0 where nothing did.
#include "vfio_client.hpp"

namespace {

constexpr std::uint64_t kIova = 0x100000;
constexpr std::uint64_t kScratch = 0x200000;

// Eight bytes at `iova`, by way of the device's own memory.
std::uint8_t seen(Edu const& edu, std::uint64_t iova)
{
    static auto* const scratch = memory(kPage);
    CHECK(edu.map(scratch, kScratch, kPage) == 0);
    std::memset(scratch, 0xee, 8);
    edu.transfer(iova, 8, Edu::Direction::to_device);
    edu.transfer(kScratch, 8, Edu::Direction::from_device);
    CHECK(edu.unmap(kScratch, kPage) == static_cast<long>(kPage));
    return scratch[0];
}

void untouched_memory(Edu const& edu, bool before_6_2)
{
    auto* const pages = memory(4 * kPage);
    pages[kPage] = 1;
    CHECK(pages[2 * kPage] == 0);  // read only
    CHECK(edu.map(pages, kIova, 4 * kPage, VFIO_DMA_MAP_FLAG_READ) == 0);
    for (std::uint64_t i = 0; i < 4; ++i) pages[i * kPage] = static_cast<std::uint8_t>(i + 5);
    for (std::uint64_t i = 0; i < 4; ++i) {
        std::uint8_t const written = static_cast<std::uint8_t>(i + 5);
        CHECK(seen(edu, kIova + i * kPage) == (before_6_2 && i != 1 ? 0 : written));
    }
    CHECK(edu.unmap(kIova, 4 * kPage) == 4 * static_cast<long>(kPage));
    CHECK(edu.map(pages, kIova, 4 * kPage, VFIO_DMA_MAP_FLAG_READ) == 0);
    CHECK(seen(edu, kIova) == 5 && seen(edu, kIova + 3 * kPage) == 8);
    CHECK(edu.unmap(kIova, 4 * kPage) == 4 * static_cast<long>(kPage));
    // A map for writing gets pages of its own whatever the kernel.
    auto* const fresh = memory(kPage);
    CHECK(edu.map(fresh, kIova, kPage) == 0);
    fresh[0] = 9;
    CHECK(seen(edu, kIova) == 9);
    CHECK(edu.unmap(kIova, kPage) == static_cast<long>(kPage));
}

void private_file(Edu const& edu, bool before_6_2)
{
    int const file = ::memfd_create("file", MFD_CLOEXEC);
    CHECK(::ftruncate(file, static_cast<off_t>(kPage)) == 0);
    auto* const page = static_cast<std::uint8_t*>(
        ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0));
    CHECK(edu.map(page, kIova, kPage, VFIO_DMA_MAP_FLAG_READ) == 0);
    CHECK(::pwrite(file, "A", 1, 0) == 1);
    CHECK(seen(edu, kIova) == (before_6_2 ? 'A' : 0));
    CHECK(edu.unmap(kIova, kPage) == static_cast<long>(kPage));
    (void)::munmap(page, kPage);
    (void)::close(file);
}

}  // namespace

int main(int, char** argv)
{
    bool const before_6_2 = std::strcmp(argv[1], "6.1") == 0;
    Edu edu;
    untouched_memory(edu, before_6_2);
    private_file(edu, before_6_2);
    return finish();
}
