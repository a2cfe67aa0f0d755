#include "preload/string_instruction.hpp"

#include <span>

namespace pinfold::preload {
namespace {

constexpr std::uint64_t kZeroFlag = 0x40;
constexpr std::uint64_t kDirectionFlag = 0x400;
constexpr std::uint64_t kStatusFlags = 0x8d5;

// The flags of a comparison, by the processor itself.
template <class T>
std::uint64_t compare(std::uint64_t left, std::uint64_t right)
{
    std::uint64_t flags = 0;
    asm("cmp %[right], %[left]\n pushfq\n popq %[flags]"
        : [flags] "=r"(flags)
        : [left] "r"(static_cast<T>(left)), [right] "r"(static_cast<T>(right))
        : "cc");
    return flags & kStatusFlags;
}

std::uint64_t compare(std::uint64_t left, std::uint64_t right, unsigned size)
{
    switch (size) {
        case 1: return compare<std::uint8_t>(left, right);
        case 2: return compare<std::uint16_t>(left, right);
        case 4: return compare<std::uint32_t>(left, right);
        default: return compare<std::uint64_t>(left, right);
    }
}

class Strings {
public:
    Strings(Plan const& plan, ucontext_t& context, AddressSpace& space)
        : plan_{plan}, context_{context}, space_{space}
    {
        source_.segment = plan.address.segment;
        source_.narrow = target_.narrow = plan.address.narrow;
        std::uint8_t const width = plan.address.narrow ? 4 : 8;
        count_.size = source_register_.size = target_register_.size = width;
        accumulator_.size = static_cast<std::uint8_t>(plan.size);
    }

    // False: the repetition has come to its end, without this element.
    bool element_left() const
    {
        return plan_.repeat == Plan::Repeat::once || count_.load(context_) != 0;
    }
    bool touches_device() const
    {
        return (has_source() && space_.has_device(source_.in(context_), plan_.size)) ||
               (has_target() && space_.has_device(target_.in(context_), plan_.size));
    }

    std::optional<Fault> element()
    {
        std::uint64_t value = 0;
        std::uint64_t other = 0;
        if (has_source())
            if (auto fault = load(source_, value)) return fault;
        if (plan_.string == Plan::String::store || plan_.string == Plan::String::scan)
            value = accumulator_.load(context_);
        if (compares())
            if (auto fault = load(target_, other)) return fault;
        if (plan_.string == Plan::String::move || plan_.string == Plan::String::store)
            if (auto fault = space_.store(target_.in(context_), bytes(value))) return fault;
        if (plan_.string == Plan::String::load) accumulator_.store(context_, value);
        if (compares()) set_flags(compare(value, other, plan_.size));
        step();
        return std::nullopt;
    }

    // After an element: whether the instruction is done.
    bool done() const
    {
        using Repeat = Plan::Repeat;
        if (plan_.repeat == Repeat::once || count_.load(context_) == 0) return true;
        bool const equal = (flags() & kZeroFlag) != 0;
        return (plan_.repeat == Repeat::while_equal && !equal) ||
               (plan_.repeat == Repeat::while_different && equal);
    }

private:
    bool has_source() const
    {
        using String = Plan::String;
        return plan_.string == String::move || plan_.string == String::load ||
               plan_.string == String::compare;
    }
    bool has_target() const { return plan_.string != Plan::String::load; }
    bool compares() const
    {
        return plan_.string == Plan::String::compare || plan_.string == Plan::String::scan;
    }

    std::span<std::byte> bytes(std::uint64_t& value) const
    {
        return std::as_writable_bytes(std::span{&value, 1}).first(plan_.size);
    }
    std::optional<Fault> load(Address const& from, std::uint64_t& value)
    {
        return space_.load(from.in(context_), bytes(value));
    }

    std::uint64_t flags() const
    {
        return static_cast<std::uint64_t>(context_.uc_mcontext.gregs[REG_EFL]);
    }
    void set_flags(std::uint64_t status)
    {
        context_.uc_mcontext.gregs[REG_EFL] =
            static_cast<greg_t>((flags() & ~kStatusFlags) | status);
    }

    void step()
    {
        bool const down = (flags() & kDirectionFlag) != 0;
        std::uint64_t const by = down ? std::uint64_t{0} - plan_.size : plan_.size;
        if (has_source()) source_register_.store(context_, source_register_.load(context_) + by);
        if (has_target()) target_register_.store(context_, target_register_.load(context_) + by);
        if (plan_.repeat != Plan::Repeat::once) count_.store(context_, count_.load(context_) - 1);
    }

    Plan const& plan_;
    ucontext_t& context_;
    AddressSpace& space_;
    Address source_{.base = REG_RSI};
    Address target_{.base = REG_RDI};
    Register source_register_{.greg = REG_RSI};
    Register target_register_{.greg = REG_RDI};
    Register count_{.greg = REG_RCX};
    Register accumulator_{.greg = REG_RAX};
};

}  // namespace

std::optional<Fault> repeat_string(Plan const& plan, ucontext_t& context, AddressSpace& space)
{
    constexpr int kElementsAtOnce = 4096;
    Strings strings{plan, context, space};
    bool over = !strings.element_left();
    for (int i = 0; !over && i < kElementsAtOnce && strings.touches_device(); ++i) {
        if (auto fault = strings.element()) return fault;
        over = strings.done();
    }
    if (over) context.uc_mcontext.gregs[REG_RIP] += plan.length;
    return std::nullopt;
}

}  // namespace pinfold::preload
