#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "preload/mmio.hpp"

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size)
{
    using namespace pinfold;
    ucontext_t context{};
    _libc_fpstate vectors{};
    context.uc_mcontext.fpregs = &vectors;
    auto const rip = context.uc_mcontext.gregs[REG_RIP];
    auto const read = [](std::uint64_t at, unsigned width) -> Result<std::uint64_t> {
        if (at + width > 16 || width > 8) std::abort();
        return at == 8 ? Result<std::uint64_t>{fail(Errno::io)} : 0x8081828384858687;
    };
    auto const write = [](std::uint64_t at, unsigned width, std::uint64_t) -> Result<> {
        if (at + width > 16 || width > 8) std::abort();
        return {};
    };
    auto const carried = preload::carry_out({data, size}, context, {.read = read, .write = write});
    auto const moved = context.uc_mcontext.gregs[REG_RIP] - rip;
    if (carried == preload::Carried::out && (moved < 1 || moved > 15)) std::abort();
    if (carried == preload::Carried::refused && moved != 0) std::abort();
    (void)preload::describe_instruction({data, size}, 0x1000);
    return 0;
}
