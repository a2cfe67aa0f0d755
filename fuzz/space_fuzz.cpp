#include <sys/mman.h>

#include <array>
#include <cstdlib>
#include <map>

#include "input.hpp"
#include "pinfold/space.hpp"

namespace {

using namespace pinfold;

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kPages = 64;

std::byte* pages()
{
    static auto* const made = static_cast<std::byte*>(::mmap(
        nullptr, kPages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    return made;
}

void require(bool holds)
{
    if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size)
{
    Input input{data, size};
    auto const tables =
        input.take<std::uint8_t>() % 2 == 0 ? Space::Tables::native : Space::Tables::vtd;
    auto const made = Space::create({.tables = tables, .address_width = 39, .mapping_limit = 16});
    require(made.has_value());
    Space& space = **made;
    std::map<std::uint64_t, std::uint64_t> model;  // start to size of what is mapped
    while (!input.empty()) {
        // Mostly small numbers, so that ranges meet; sometimes any.
        bool const wild = input.take<std::uint8_t>() % 16 == 0;
        std::uint64_t const iova =
            wild ? input.take<std::uint64_t>() : (input.take<std::uint8_t>() % 96) * kPage;
        std::uint64_t const bytes =
            wild ? input.take<std::uint64_t>() : (input.take<std::uint8_t>() % 9) * kPage;
        switch (input.take<std::uint8_t>() % 4) {
            case 0: {
                std::uint64_t const page = input.take<std::uint8_t>() % kPages;
                auto const prot = static_cast<Prot>(input.take<std::uint8_t>() % 4);
                if (space.map(Iova{iova}, pages() + page * kPage, bytes, prot))
                    model.emplace(iova, bytes);
                break;
            }
            case 1: {
                auto const gone = space.unmap(Iova{iova}, bytes);
                std::uint64_t expected = 0;
                for (auto at = model.begin(); gone && at != model.end();) {
                    bool const inside =
                        at->first >= iova && at->first + at->second - 1 <= iova + (bytes - 1);
                    if (inside) expected += at->second;
                    at = inside ? model.erase(at) : std::next(at);
                }
                require(!gone || *gone == expected);
                break;
            }
            case 2: {
                std::array<std::byte, 64> some{};
                (void)space.read(Iova{iova}, some);
                break;
            }
            default: {
                std::array<std::byte, 64> const some{};
                (void)space.write(Iova{iova}, some);
                break;
            }
        }
        require(model.size() <= 16);
    }
    std::uint64_t mapped = 0;
    for (auto const& [start, length] : model) mapped += length;
    require(space.unmap_all() == mapped);
    require(space.pinned_pages() == 0);
    return 0;
}
