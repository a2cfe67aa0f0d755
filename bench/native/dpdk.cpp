// A peer where Debian's DPDK is installed: how a driver on DPDK's own memory table finds the memory
// behind an IOVA, and the other way, of one region of external memory. IOVAs are addresses there,
// as everywhere without hugepages.
#include <rte_eal.h>
#include <rte_memory.h>
#include <sys/mman.h>

#include <array>
#include <memory>
#include <thread>
#include <vector>

#include "measure.hpp"

namespace pinfold::bench {
namespace {

using benchmark::State;

constexpr std::uint64_t kBytes = 64 * kMiB;
constexpr std::uint64_t kStart = 4 * kGiB;

// EAL ties the thread that begins it to a processor, so that is one which ends. nullptr: it does
// not run here.
std::byte* registered_memory()
{
    static std::byte* const memory = []() -> std::byte* {
        bool begun = false;
        std::thread{[&begun] {
            std::array<char const*, 9> words{
                "native_bench",   "--no-huge",  "--no-shconf", "--no-pci", "--no-telemetry",
                "--iova-mode=va", "--lcores=0", "-m",          "64"};
            std::array<char*, words.size() + 1> arguments{};
            for (std::size_t word = 0; word < words.size(); ++word)
                arguments[word] = const_cast<char*>(words[word]);
            begun = rte_eal_init(static_cast<int>(words.size()), arguments.data()) >= 0;
        }}.join();
        if (!begun) return nullptr;
        void* const raw = ::mmap(nullptr, 2 * kBytes, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (raw == MAP_FAILED) return nullptr;
        void* aligned = raw;
        std::size_t room = 2 * kBytes;
        auto* const bytes = static_cast<std::byte*>(std::align(kBytes, kBytes, aligned, room));
        std::vector<rte_iova_t> pages(kBytes / (2 * kMiB));
        for (std::size_t page = 0; page < pages.size(); ++page)
            pages[page] = kStart + page * 2 * kMiB;
        int const done = rte_extmem_register(bytes, kBytes, pages.data(),
                                             static_cast<unsigned>(pages.size()), 2 * kMiB);
        return done == 0 ? bytes : nullptr;
    }();
    return memory;
}

void iova_to_memory(State& state)
{
    if (registered_memory() == nullptr) return state.SkipWithError("DPDK does not run here");
    Random random;
    for (auto _ : state)
        benchmark::DoNotOptimize(
            rte_mem_iova2virt(kStart + random.below(kBytes / kPageBytes) * kPageBytes));
}

void memory_to_iova(State& state)
{
    std::byte* const memory = registered_memory();
    if (memory == nullptr) return state.SkipWithError("DPDK does not run here");
    Random random;
    for (auto _ : state)
        benchmark::DoNotOptimize(
            rte_mem_virt2iova(memory + random.below(kBytes / kPageBytes) * kPageBytes));
}

}  // namespace

void add_dpdk()
{
    add("rte_mem_iova2virt", iova_to_memory);
    add("rte_mem_virt2iova", memory_to_iova);
}

std::vector<Goal> dpdk_goals()
{
    return {{"G9", "translate, random 1x64G", "random 1x64G native", 2.2, "rte_mem_iova2virt"},
            {"G9", "", "random 1x64G native", 2.2, "rte_mem_virt2iova"}};
}

}  // namespace pinfold::bench
