#include "exam.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <cstring>
#include <iostream>

namespace pinfold::tables {

namespace {

// Whoever started this program boots the guest when it reads "boot", and says "booted".
bool boot()
{
    fmt::print("boot\n");
    std::fflush(stdout);
    std::string word;
    return static_cast<bool>(std::getline(std::cin, word)) && word == "booted";
}

std::size_t probes_in(std::vector<Pass> const& passes)
{
    std::size_t count = 0;
    for (Pass const& pass : passes) count += pass.planned.size();
    return count;
}

}  // namespace

// The passes, the probes and the answers stand behind one another.
::orders& Exam::write(std::uint64_t const (&settings)[8], std::vector<Pass> const& passes)
{
    std::size_t const count = probes_in(passes);
    std::uint64_t const passes_at = sizeof(::orders);
    std::uint64_t const probes_at = passes_at + passes.size() * sizeof(::pass);
    std::uint64_t const answers_at = probes_at + count * sizeof(::probe);
    std::memset(orders_.data() + answers_at, 0, count * sizeof(::answer));

    auto& orders = *reinterpret_cast<::orders*>(orders_.data());
    orders = {ORDERS_MAGIC,
              0,
              {},
              (paddr_ + passes_at).raw(),
              passes.size(),
              (paddr_ + probes_at).raw(),
              (paddr_ + answers_at).raw()};
    std::ranges::copy(settings, orders.setting);
    auto* pass_to = reinterpret_cast<::pass*>(orders_.data() + passes_at);
    auto* probe_to = reinterpret_cast<::probe*>(orders_.data() + probes_at);
    std::uint64_t first = 0;
    for (Pass const& pass : passes) {
        *pass_to++ = {pass.word, pass.flip, first, pass.planned.size()};
        for (Planned const& planned : pass.planned) *probe_to++ = planned.probe;
        first += pass.planned.size();
    }
    return orders;
}

std::vector<std::vector<Finding>> Exam::run(std::uint64_t const (&settings)[8],
                                            std::vector<Pass> const& passes)
{
    ::orders& orders = write(settings, passes);
    if (!boot() || orders.done != ORDERS_MAGIC) return {};
    auto const* answer =
        reinterpret_cast<::answer const*>(orders_.data() + (Paddr{orders.answers} - paddr_));
    std::vector<std::vector<Finding>> findings;
    for (Pass const& pass : passes) {
        std::vector<Finding> of_pass;
        for (Planned const& planned : pass.planned) of_pass.push_back(judge(planned, *answer++));
        findings.push_back(std::move(of_pass));
    }
    return findings;
}

// A load brings the marker of where it went; a store is looked for where it should have gone.
bool Exam::reached(Planned const& planned, ::answer const& answer) const
{
    Paddr const paddr = planned.expected.paddr;
    if (planned.probe.kind == PROBE_READ) return answer.value == marker(paddr);
    return ram_->exists(paddr) && ram_->read(paddr) == planned.probe.value;
}

Seen Exam::see(Planned const& planned, ::answer const& answer) const
{
    if (answer.outcome == ANSWER_NONE) return {Outcome::unknown, std::nullopt, std::nullopt};
    if (answer.outcome == ANSWER_FAULT || translates(planned.probe))
        return reader_->understand(answer, planned.probe);
    if (planned.probe.kind == PROBE_READ) {
        if (auto const paddr = marked(answer.value)) return {Outcome::reaches, std::nullopt, paddr};
        bool const nothing = reader_->nothing && answer.value == *reader_->nothing;
        if (nothing)
            return {reader_->reports_all ? Outcome::outside : Outcome::fault, std::nullopt,
                    std::nullopt};
        return {Outcome::unknown, std::nullopt, std::nullopt};
    }
    // Of a store that was not reported as a fault, only where it should be can be looked at.
    bool const there = planned.expected.outcome == Outcome::reaches && reached(planned, answer);
    if (there) return {Outcome::reaches, std::nullopt, planned.expected.paddr};
    return {reader_->reports_all ? Outcome::unknown : Outcome::fault, std::nullopt, std::nullopt};
}

Finding Exam::judge(Planned const& planned, ::answer const& answer) const
{
    Finding finding{planned, see(planned, answer), false, {}};
    Expected const& expected = planned.expected;
    finding.agrees = agree(expected, finding.seen);
    // Where a store was to be denied, or a load was made, nothing may have been written.
    bool const untouched = planned.probe.kind != PROBE_WRITE ||
                           expected.outcome != Outcome::denied || !ram_->exists(expected.paddr) ||
                           ram_->read(expected.paddr) == marker(expected.paddr);
    if (!untouched) finding.agrees = false;
    if (!finding.agrees)
        finding.difference = fmt::format(
            "{} of iova {:#x}: expected {}, got {}{} (outcome {} code {:#x} value {:#x} address "
            "{:#x})",
            access_of(planned.probe) == Access::read ? "read" : "write", planned.probe.iova,
            describe(expected), describe(finding.seen), untouched ? "" : ", and memory was written",
            answer.outcome, answer.code, answer.value, answer.address);
    return finding;
}

}  // namespace pinfold::tables
