#include "expected.hpp"

#include <fmt/format.h>

namespace pinfold::tables {

char const* name(Outcome outcome)
{
    switch (outcome) {
        case Outcome::reaches: return "reaches";
        case Outcome::hole: return "hole";
        case Outcome::denied: return "denied";
        case Outcome::reserved: return "reserved word";
        case Outcome::beyond: return "beyond the table's width";
        case Outcome::outside: return "no memory there";
        case Outcome::astray: return "no table there";
        case Outcome::fault: return "fault";
        case Outcome::unknown: break;
    }
    return "an answer that means nothing";
}

Expected expect(Subject const& subject, Iova iova, Access access)
{
    if (iova > subject.aperture().last) return {Outcome::beyond, Paddr{0}, 0};
    auto const steps = subject.path(iova);
    // A table that has not grown to this IOVA yet.
    if (steps.empty()) return {Outcome::beyond, Paddr{0}, 0};
    Step const& last = steps.back();
    auto const leaf = subject.walk(iova);
    if (!leaf) {
        Outcome const why = last.empty   ? Outcome::hole
                            : last.table ? Outcome::astray
                                         : Outcome::reserved;
        return {why, last.table ? last.next : Paddr{0}, last.level};
    }
    Paddr const paddr = leaf->paddr + (iova - leaf->iova.start);
    return {allows(leaf->prot, access) ? Outcome::reaches : Outcome::denied, paddr, last.level};
}

Access access_of(::probe const& probe)
{
    return probe.kind == PROBE_READ || probe.kind == PROBE_TRANSLATE_READ ? Access::read
                                                                          : Access::write;
}

bool translates(::probe const& probe)
{
    return probe.kind == PROBE_TRANSLATE_READ || probe.kind == PROBE_TRANSLATE_WRITE;
}

std::string describe(Expected const& expected)
{
    switch (expected.outcome) {
        case Outcome::reaches: return fmt::format("paddr {:#x}", expected.paddr.raw());
        case Outcome::hole:
        case Outcome::denied:
        case Outcome::reserved:
            return fmt::format("{} at level {}", name(expected.outcome), expected.level);
        default: return name(expected.outcome);
    }
}

std::string describe(Seen const& seen)
{
    std::string text = name(seen.outcome);
    if (seen.paddr) text = fmt::format("paddr {:#x}", seen.paddr->raw());
    if (seen.level) text += fmt::format(" at level {}", *seen.level);
    return text;
}

}  // namespace pinfold::tables
