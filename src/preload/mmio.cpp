#include "preload/mmio.hpp"

#include <array>

#include "preload/execution.hpp"
#include "preload/indexed_instruction.hpp"
#include "preload/instruction.hpp"
#include "preload/string_instruction.hpp"

namespace pinfold::preload {
namespace {

class Access {
public:
    Access(Plan const& plan, Vaddr operand, ucontext_t& context, AddressSpace& space)
        : plan_{plan}, operand_{operand}, context_{context}, space_{space}
    {
    }

    std::optional<Fault> load_register()
    {
        std::uint64_t value = 0;
        if (auto fault = load(operand_, plan_.size, value)) return fault;
        bool const sign = plan_.extend == Plan::Extend::sign;
        plan_.reg.store(context_, sign ? sign_extended(value, plan_.size) : value);
        return done();
    }

    std::optional<Fault> store_value()
    {
        std::uint64_t value = plan_.has_reg ? plan_.reg.load(context_) : plan_.immediate;
        if (auto fault = store(operand_, plan_.size, value)) return fault;
        return done();
    }

    std::optional<Fault> push()
    {
        std::uint64_t value = 0;
        if (auto fault = load(operand_, plan_.size, value)) return fault;
        if (auto fault = push_value(value, plan_.size)) return fault;
        return done();
    }

    std::optional<Fault> pop()
    {
        std::uint64_t value = 0;
        if (auto fault = load(Vaddr{kStack.load(context_)}, plan_.size, value)) return fault;
        if (auto fault = store(operand_, plan_.size, value)) return fault;
        kStack.store(context_, kStack.load(context_) + plan_.size);
        return done();
    }

    std::optional<Fault> jump(bool call)
    {
        std::uint64_t target = 0;
        if (auto fault = load(operand_, plan_.size, target)) return fault;
        if (call)
            if (auto fault = push_value(rip() + plan_.length, 8)) return fault;
        context_.uc_mcontext.gregs[REG_RIP] = static_cast<greg_t>(target);
        return std::nullopt;
    }

    // Only the carry flag changes.
    std::optional<Fault> bit()
    {
        using Operation = Plan::Operation;
        std::uint64_t value = 0;
        std::uint64_t const one = std::uint64_t{1}
                                  << (plan_.reg.load(context_) % (8U * plan_.size));
        if (plan_.operation != Operation::test)
            if (auto fault = space_.check(operand_, plan_.size, AddressSpace::Touch::write))
                return fault;
        if (auto fault = load(operand_, plan_.size, value)) return fault;
        bool const was = (value & one) != 0;
        if (plan_.operation == Operation::set) value |= one;
        if (plan_.operation == Operation::reset) value &= ~one;
        if (plan_.operation == Operation::complement) value ^= one;
        if (plan_.operation != Operation::test)
            if (auto fault = store(operand_, plan_.size, value)) return fault;
        auto& flags = context_.uc_mcontext.gregs[REG_EFL];
        flags = (flags & ~greg_t{1}) | (was ? 1 : 0);
        return done();
    }

    std::optional<Fault> copy_64_bytes()
    {
        std::array<std::byte, 64> bytes;
        if (auto fault = space_.load(operand_, bytes)) return fault;
        if (auto fault = space_.store(Vaddr{plan_.reg.load(context_)}, bytes)) return fault;
        return done();
    }

    // REQUIRES: the kernel has saved vector state.
    std::optional<Fault> masked_bytes()
    {
        VectorState const vectors{context_};
        std::array<std::byte, 16> bytes;
        vectors.read(plan_.vector, 0, bytes);
        auto const chosen = [&](unsigned at) {
            return at < bytes.size() && vectors.highest_bit(plan_.mask_register, at, 1);
        };
        auto const each = [&](auto visit) -> std::optional<Fault> {
            for (unsigned at = 0; at < bytes.size(); ++at) {
                unsigned past = at;
                while (chosen(past)) ++past;
                if (past == at) continue;
                if (auto fault = visit(operand_ + at, std::span{bytes}.subspan(at, past - at)))
                    return fault;
                at = past;
            }
            return std::nullopt;
        };
        if (auto fault = each([&](Vaddr to, auto part) {
                return space_.check(to, part.size(), AddressSpace::Touch::write);
            }))
            return fault;
        if (auto fault = each([&](Vaddr to, auto part) { return space_.store(to, part); }))
            return fault;
        return done();
    }

private:
    static constexpr Register kStack{.greg = REG_RSP};

    std::uint64_t rip() const
    {
        return static_cast<std::uint64_t>(context_.uc_mcontext.gregs[REG_RIP]);
    }
    std::optional<Fault> load(Vaddr from, unsigned size, std::uint64_t& value)
    {
        return space_.load(from, std::as_writable_bytes(std::span{&value, 1}).first(size));
    }
    std::optional<Fault> store(Vaddr to, unsigned size, std::uint64_t const& value)
    {
        return space_.store(to, std::as_bytes(std::span{&value, 1}).first(size));
    }
    std::optional<Fault> push_value(std::uint64_t value, unsigned size)
    {
        std::uint64_t const top = kStack.load(context_) - size;
        if (auto fault = store(Vaddr{top}, size, value)) return fault;
        kStack.store(context_, top);
        return std::nullopt;
    }
    std::optional<Fault> done()
    {
        context_.uc_mcontext.gregs[REG_RIP] += plan_.length;
        return std::nullopt;
    }

    Plan const& plan_;
    Vaddr const operand_;
    ucontext_t& context_;
    AddressSpace& space_;
};

// Where the operand is: a register that counts bits reaches beyond it.
Vaddr operand_of(Plan const& plan, ucontext_t const& context)
{
    Vaddr const at = plan.address.in(context);
    if (plan.form != Plan::Form::bit) return at;
    auto const bit =
        static_cast<std::int64_t>(sign_extended(plan.reg.load(context), plan.reg.size));
    std::int64_t const width = 8 * plan.size;
    std::int64_t const away = (bit >= 0 ? bit : bit - (width - 1)) / width;
    return Vaddr{at.raw() + static_cast<std::uint64_t>(away * plan.size)};
}

bool covers(Vaddr start, unsigned size, Vaddr at) { return at.raw() - start.raw() < size; }

Carried as_carried(std::optional<Fault> fault)
{
    return fault ? Carried{Carried::How::faulted, fault} : Carried{Carried::How::out};
}

}  // namespace

Carried carry_out(std::span<std::uint8_t const> code, Vaddr at, ucontext_t& context,
                  AddressSpace& space)
{
    using Form = Plan::Form;
    auto const rip = static_cast<std::uint64_t>(context.uc_mcontext.gregs[REG_RIP]);
    Plan const plan = plan_of(rip, code);
    if (plan.form == Form::unknown) return {Carried::How::refused};
    bool const alone = plan.locked || plan.form == Form::executed;  // there is one workshop
    BusHold const bus{alone ? BusHold::Kind::alone : BusHold::Kind::shared};
    if (plan.form == Form::string) return as_carried(repeat_string(plan, context, space));
    if (plan.form == Form::gather || plan.form == Form::scatter)
        return gather_or_scatter(plan, at, context, space);
    Vaddr const operand = operand_of(plan, context);
    // The trap may have been for something else: a stack that lies in a BAR.
    bool const stack = plan.form == Form::push || plan.form == Form::pop || plan.form == Form::call;
    if (!covers(operand, plan.reach, at) && !stack && plan.form != Form::copy_64_bytes)
        return {Carried::How::refused};
    if (plan.form == Form::executed) {
        auto const execution = execute(plan, operand, context, space);
        return execution.impossible ? Carried{Carried::How::refused} : as_carried(execution.fault);
    }
    if (plan.form == Form::masked_bytes && VectorState{context}.area() == nullptr)
        return {Carried::How::refused};
    Access access{plan, operand, context, space};
    switch (plan.form) {
        case Form::load: return as_carried(access.load_register());
        case Form::store: return as_carried(access.store_value());
        case Form::push: return as_carried(access.push());
        case Form::pop: return as_carried(access.pop());
        case Form::call: return as_carried(access.jump(true));
        case Form::jump: return as_carried(access.jump(false));
        case Form::bit: return as_carried(access.bit());
        case Form::masked_bytes: return as_carried(access.masked_bytes());
        case Form::copy_64_bytes: return as_carried(access.copy_64_bytes());
        default: return {Carried::How::refused};
    }
}

}  // namespace pinfold::preload
