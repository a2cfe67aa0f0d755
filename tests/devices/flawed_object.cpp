// A shared object with one flaw, which the build names.
#include <cstdint>
#include <cstring>

#include "pinfold/device_abi.h"

namespace {

std::uint64_t bar_read(void*, unsigned, std::uint64_t, unsigned) { return 0; }
void bar_write(void*, unsigned, std::uint64_t, unsigned, std::uint64_t) {}
void nothing(void*) {}
void summary(void*, char* into, std::size_t) { *into = '\0'; }

[[maybe_unused]] int create(pinfold_setting const*, std::size_t,
                            [[maybe_unused]] pinfold_bus const* bus, pinfold_device* device, char*,
                            std::size_t)
{
    device->bar_read = bar_read;
    device->bar_write = bar_write;
    device->reset = nothing;
    device->summary = summary;
    device->destroy = nothing;
    auto& identity = device->identity;
    identity.bars[0] = {PINFOLD_BAR_MEMORY32, 0, 8192, nullptr, 0};
#if defined(FLAW_SILENT_DEVICE)
    device->bar_read = nullptr;
#elif defined(FLAW_BAR_SIZE)
    identity.bars[0].size = 12288;
#elif defined(FLAW_BAR_HUGE)
    identity.bars[0].kind = PINFOLD_BAR_MEMORY64;
    identity.bars[0].size = std::uint64_t{1} << 40;
#elif defined(FLAW_EARLY)
    std::uint32_t word = 0;
    bool const fine = bus->dma_read(bus->host, 0, &word, sizeof word) == -1 &&
                      bus->dma_write(bus->host, 0, &word, sizeof word) == -1 &&
                      bus->message_signalled(bus->host) == 0 &&
                      bus->bar_memory(bus->host, 0) == nullptr;
    bus->raise(bus->host, 0);
    bus->lower(bus->host);
    if (!fine) return -1;
#elif defined(FLAW_BAR_HALF)
    identity.bars[0].kind = PINFOLD_BAR_MEMORY64;
    identity.bars[1] = {PINFOLD_BAR_MEMORY32, 0, 4096, nullptr, 0};
#elif defined(FLAW_MSIX)
    identity.msix_vectors = 8;
    identity.msix_table = 8192 - 64;
#elif defined(FLAW_MSIX_OVERLAP)
    identity.msix_vectors = 8;
    identity.msix_pending = 64;
#elif defined(FLAW_MSI)
    identity.msi_vectors = 3;
#elif defined(FLAW_PIN)
    identity.interrupt_pin = 2;
#elif defined(FLAW_KIND)
    int const kind = 77;  // as a model in C could say
    std::memcpy(&identity.bars[0].kind, &kind, sizeof kind);
#endif
    return 0;
}

}  // namespace

#if !defined(FLAW_NOTHING)
extern "C" __attribute__((visibility("default"))) pinfold_model const* pinfold_device_model()
{
    static pinfold_model model{
        PINFOLD_DEVICE_ABI, sizeof(pinfold_model), "flawed", "", nullptr, 0, create};
#if defined(FLAW_VERSION)
    model.abi = 77;
#elif defined(FLAW_INCOMPLETE)
    model.create = nullptr;
#endif
    return &model;
}
#endif
