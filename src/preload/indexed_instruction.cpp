#include "preload/indexed_instruction.hpp"

#include <array>
#include <cstring>
#include <optional>
#include <span>

namespace pinfold::preload {
namespace {

class Elements {
public:
    Elements(Plan const& plan, ucontext_t& context, AddressSpace& space)
        : plan_{plan}, context_{context}, vectors_{context}, space_{space}
    {
    }

    bool can_be_done() const { return vectors_.area() != nullptr; }
    bool left(unsigned element) const
    {
        if (plan_.mask == Plan::Mask::opmask)
            return (vectors_.opmask(plan_.mask_register) >> element & 1) != 0;
        return vectors_.highest_bit(plan_.mask_register, element * plan_.element, plan_.element);
    }
    Vaddr place(unsigned element) const
    {
        std::uint64_t index = 0;
        vectors_.read(plan_.index_vector, element * plan_.index_size,
                      std::as_writable_bytes(std::span{&index, 1}).first(plan_.index_size));
        return plan_.address.in(context_,
                                sign_extended(index, plan_.index_size) * plan_.address.scale);
    }

    std::optional<Fault> carry_out(unsigned element)
    {
        std::array<std::byte, 8> room{};
        auto const value = std::span{room}.first(plan_.element);
        unsigned const at = element * plan_.element;
        if (plan_.form == Plan::Form::gather) {
            if (auto fault = space_.load(place(element), value)) return fault;
            vectors_.write(plan_.vector, at, value);
        } else {
            vectors_.read(plan_.vector, at, value);
            if (auto fault = space_.store(place(element), value)) return fault;
        }
        take_out(element);
        return std::nullopt;
    }

    // The mask is empty, and of a gather's register nothing is left above the elements.
    void finish()
    {
        if (plan_.mask == Plan::Mask::opmask)
            vectors_.set_opmask(plan_.mask_register, 0);
        else
            vectors_.clear(plan_.mask_register, 0);
        if (plan_.form == Plan::Form::gather)
            vectors_.clear(plan_.vector, unsigned{plan_.elements} * plan_.element);
        context_.uc_mcontext.gregs[REG_RIP] += plan_.length;
    }

private:
    void take_out(unsigned element)
    {
        if (plan_.mask == Plan::Mask::opmask) {
            std::uint64_t const bits = vectors_.opmask(plan_.mask_register);
            vectors_.set_opmask(plan_.mask_register, bits & ~(std::uint64_t{1} << element));
            return;
        }
        constexpr std::array<std::byte, 8> kDone{};
        vectors_.write(plan_.mask_register, element * plan_.element,
                       std::span{kDone}.first(plan_.element));
    }

    Plan const& plan_;
    ucontext_t& context_;
    VectorState vectors_;
    AddressSpace& space_;
};

}  // namespace

Carried gather_or_scatter(Plan const& plan, Vaddr at, ucontext_t& context, AddressSpace& space)
{
    Elements elements{plan, context, space};
    bool met = false;
    for (unsigned i = 0; elements.can_be_done() && i < plan.elements; ++i)
        met = met || (elements.left(i) && at.raw() - elements.place(i).raw() < plan.element);
    if (!met) return {Carried::How::refused};
    for (unsigned i = 0; i < plan.elements; ++i)
        if (elements.left(i))
            if (auto fault = elements.carry_out(i)) return {Carried::How::faulted, fault};
    elements.finish();
    return {Carried::How::out};
}

}  // namespace pinfold::preload
