#include <ucontext.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "preload/instruction.hpp"
#include "preload/mmio.hpp"

namespace {

using namespace pinfold;
using preload::Carried;

// Devices everywhere, so that no instruction reaches memory of the fuzzer's.
class Devices final : public preload::AddressSpace {
public:
    Result<Stretch> stretch(Vaddr vaddr, std::uint64_t size, Touch touch) override
    {
        if (touch == Touch::write && vaddr.raw() % 4096 >= 4000) return fail(Errno::acces);
        return Stretch{std::min<std::uint64_t>(size, 4096 - vaddr.raw() % 4096), true};
    }
    Result<std::uint64_t> device_read(Vaddr vaddr, unsigned width) override
    {
        check_width(width);
        if (vaddr.raw() % 64 == 8) return fail(Errno::io);
        return 0x8081'8283'8485'8687 >> (64 - 8 * width);
    }
    Result<> device_write(Vaddr vaddr, unsigned width, std::uint64_t) override
    {
        check_width(width);
        if (vaddr.raw() % 64 == 16) return fail(Errno::io);
        return {};
    }

private:
    static void check_width(unsigned width)
    {
        if (width != 1 && width != 2 && width != 4 && width != 8) std::abort();
    }
};

bool leaps(preload::Plan const& plan)
{
    using Form = preload::Plan::Form;
    return plan.form == Form::call || plan.form == Form::jump || plan.form == Form::string;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size)
{
    std::span const code{data, std::min(size, preload::kLongestInstruction)};
    ucontext_t context{};
    auto& registers = context.uc_mcontext.gregs;
    for (int const it : {REG_RDI, REG_RSI, REG_RSP, REG_RBX}) registers[it] = 0x10'0000 + it * 8;
    registers[REG_RCX] = 3;
    ucontext_t const before = context;

    Devices devices;
    auto const plan = preload::make_plan(code);
    auto const carried = preload::carry_out(code, plan.address.in(context), context, devices);
    auto const moved = registers[REG_RIP] - before.uc_mcontext.gregs[REG_RIP];
    bool const same = std::memcmp(&registers, &before.uc_mcontext.gregs, sizeof registers) == 0;
    if (carried.how == Carried::How::refused && !same) std::abort();
    if (carried.how == Carried::How::faulted && !carried.fault) std::abort();
    if (carried.how == Carried::How::out && !leaps(plan) && (moved < 1 || moved > 15)) std::abort();
    (void)preload::describe_instruction(code, 0x1000);
    return 0;
}
