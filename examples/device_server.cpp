// A device server: a client's memory comes as a file, a device thread reaches it, and what it wrote
// is known. No pinning, no table to keep by hand.
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>

#include "pinfold/dma_map.hpp"

namespace {

using pinfold::Access;
using pinfold::DmaMap;
using pinfold::Iova;
using pinfold::Prot;

constexpr std::uint64_t kSize = 8 * 4096;
constexpr Iova kIova{0x100000};

// Answers one request, as a device would.
void device(DmaMap& map, Iova request)
{
    auto const reader = map.add_reader(pinfold::Reading::sections);
    if (!reader) return;
    pinfold::DmaSection const section{*reader};
    std::byte* const text = reader->translate(request, 64, Access::write);
    if (text == nullptr) return;
    std::strcpy(reinterpret_cast<char*>(text), "written by the device");
    reader->mark_dirty(request, 64);
}

pinfold::Result<> demonstrate(int client_fd)
{
    auto const map = TRY(DmaMap::create({}));
    auto const file = TRY(map->file(client_fd));
    TRY(map->map(kIova, file, 0, kSize, Prot::read_write));
    TRY(map->start_dirty_log());

    std::thread{device, std::ref(*map), kIova + 3 * 4096}.join();
    std::array<std::uint64_t, 1> dirty{};
    TRY(map->harvest({kIova, kIova + (kSize - 1)}, dirty));
    std::array<char, 64> seen{};
    (void)!::pread(client_fd, seen.data(), seen.size(), 3 * 4096);
    std::printf("the client reads: %s\ndirty pages: 0x%llx\n", seen.data(),
                static_cast<unsigned long long>(dirty[0]));

    auto const cut = map->unmap(kIova, 4096);
    std::printf("unmapping a part: %s\n", std::string{pinfold::name(cut.error())}.c_str());
    std::printf("unmapped %llu bytes\n", static_cast<unsigned long long>(map->unmap_all()));
    return {};
}

}  // namespace

int main()
{
    int const client_fd = ::memfd_create("client", MFD_CLOEXEC);
    if (client_fd < 0 || ::ftruncate(client_fd, kSize) != 0) return 1;
    return demonstrate(client_fd) ? 0 : 1;
}
