#include "mutation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

namespace pinfold::tables {

namespace {

// A word, and IOVAs whose walks go through it.
struct Victim {
    std::string what;
    bool leaf;
    Step step;
    std::vector<Iova> iovas;
};

// Above what any board has besides RAM.
constexpr std::uint64_t kAboveDevices = std::uint64_t{1} << 41;

// A format of forty leaf sizes has more than can be had by slow accesses.
constexpr std::size_t kVictimsByDma = 14;

// Behind each IOVA, so that every pass finds bytes of its own.
constexpr std::uint64_t kProbedBytes = 2048;

bool same_end(Expected const& a, Expected const& b)
{
    bool const reaches = a.outcome == Outcome::reaches;
    return reaches == (b.outcome == Outcome::reaches) && (!reaches || a.paddr == b.paddr);
}

std::uint64_t word(Step const& step)
{
    std::uint64_t value = 0;
    std::memcpy(&value, reinterpret_cast<void const*>(step.slot), step.word_bytes);
    return value;
}

class Breaker {
public:
    Breaker(Subject& subject, Plan& plan, Ram& ram, Reader const& reader, Random& random,
            Iova window)
        : subject_{&subject}, plan_{&plan}, ram_{&ram}, reader_{&reader}, random_{&random}
    {
        if (!reader.needs_window) return;
        for (Step const& step : subject.path(window)) spared_.insert(step.slot);
    }

    std::vector<Victim> victims();
    // With the word changed.
    std::optional<Pass> pass(Victim const& victim, unsigned bit);
    bool unseen(Victim const& victim, unsigned bit) const
    {
        return victim.leaf && (reader_->unseen_in_leaf >> bit & 1) != 0;
    }

private:
    void add(std::map<std::string, Victim>& to, std::string what, bool leaf, Step const& step,
             Iova iova) const;
    std::optional<Planned> probe(Iova iova, std::uint64_t kind);
    void mark(Iova iova);

    Subject* subject_;
    Plan* plan_;
    Ram* ram_;
    Reader const* reader_;
    Random* random_;
    std::set<std::uint64_t> spared_;
};

// The first of its kind; and for tables more IOVAs, if they come along.
void Breaker::add(std::map<std::string, Victim>& to, std::string what, bool leaf, Step const& step,
                  Iova iova) const
{
    if (spared_.contains(step.slot) || step.level > reader_->highest_breakable) return;
    auto const [at, fresh] = to.try_emplace(what, Victim{what, leaf, step, {}});
    if (at->second.step.slot == step.slot && at->second.iovas.size() < 2)
        at->second.iovas.push_back(iova);
}

std::vector<Victim> Breaker::victims()
{
    std::vector<Iova> iovas;
    for (auto const& [start, mapping] : plan_->mappings()) {
        auto const part =
            ram_->any_part(*random_, {mapping.paddr, mapping.paddr + (mapping.last - start)});
        if (!part) continue;
        std::uint64_t const before = part->start - mapping.paddr;
        // The beginning of a page, so that there is room behind it.
        std::uint64_t const page = (before + below(*random_, part->size())) & ~std::uint64_t{0xfff};
        iovas.push_back(start + page);
    }
    std::ranges::shuffle(iovas, *random_);
    std::map<std::string, Victim> found;
    for (Iova const iova : iovas) {
        // A mark that came with one pass would show in the next.
        subject_->mark_written(iova);
        auto const steps = subject_->path(iova);
        auto const leaf = subject_->walk(iova);
        if (!leaf || !ram_->free(leaf->paddr + (iova - leaf->iova.start))) continue;
        for (Step const& step : steps)
            if (&step != &steps.back())
                add(found, fmt::format("table in level {}", step.level), false, step, iova);
        add(found,
            fmt::format("leaf of {:#x} bytes, {}", leaf->iova.size(),
                        static_cast<unsigned>(leaf->prot)),
            true, steps.back(), iova);
    }
    std::vector<Victim> all;
    for (auto& [what, victim] : found) all.push_back(std::move(victim));
    std::ranges::shuffle(all, *random_);
    std::ranges::partition(all, [](Victim const& victim) { return !victim.leaf; });
    if (reader_->by_dma && all.size() > kVictimsByDma) all.resize(kVictimsByDma);
    return all;
}

// Places that may not be touched are left out, and reads of where there is surely nothing are kept.
std::optional<Planned> Breaker::probe(Iova iova, std::uint64_t kind)
{
    Expected const expected =
        expect(*subject_, iova, kind == PROBE_READ ? Access::read : Access::write);
    bool const leads = expected.outcome == Outcome::reaches || expected.outcome == Outcome::denied;
    bool const nothing = expected.paddr.raw() >= kAboveDevices && !ram_->exists(expected.paddr);
    // A reader that ignores the bit, or finds a table where there is none, would write somewhere.
    bool const promised =
        leads && (word(subject_->path(iova).back()) & reader_->promise_in_leaf) != 0;
    if (promised) return std::nullopt;
    bool const wild = expected.outcome == Outcome::reserved ||
                      expected.outcome == Outcome::astray ||
                      (!reader_->reports_all && expected.outcome == Outcome::hole);
    if (wild && kind == PROBE_WRITE) return std::nullopt;
    if (expected.outcome == Outcome::astray) {
        bool const zero = plan_->untouched(Paddr{expected.paddr.raw() & ~std::uint64_t{7}});
        if (!zero && !nothing) return std::nullopt;
        return Planned{{iova.raw(), 0, kind}, expected};
    }
    if (!leads || ram_->free(expected.paddr)) return plan_->probe(iova, kind);
    if (!nothing || kind != PROBE_READ) return std::nullopt;
    if (expected.outcome == Outcome::reaches)
        return Planned{{iova.raw(), 0, kind}, {Outcome::outside, Paddr{0}, 0}};
    return Planned{{iova.raw(), 0, kind}, expected};
}

// So that a reader that ignores a broken bit is seen to do so.
void Breaker::mark(Iova iova)
{
    for (std::uint64_t offset = 0; offset < kProbedBytes; offset += 8) {
        Expected const whole = expect(*subject_, iova + offset, Access::read);
        if (whole.outcome == Outcome::reaches && ram_->free(whole.paddr))
            ram_->write(whole.paddr, marker(whole.paddr));
    }
}

std::optional<Pass> Breaker::pass(Victim const& victim, unsigned bit)
{
    bool const unseen = this->unseen(victim, bit);
    if (victim.leaf && (reader_->promise_in_leaf >> bit & 1) != 0) return std::nullopt;
    std::uint64_t const slot = victim.step.slot;
    unsigned const shift = static_cast<unsigned>(slot & 7) * 8;
    Pass pass{slot & ~std::uint64_t{7}, std::uint64_t{1} << (bit + shift), {}};
    auto* const word = reinterpret_cast<std::uint64_t*>(pass.word);
    for (Iova const iova : victim.iovas) mark(iova);
    *word ^= pass.flip;
    for (Iova const iova : victim.iovas)
        for (std::uint64_t offset = 0; offset < kProbedBytes; offset += 16) {
            if (auto read = probe(iova + offset, PROBE_READ)) pass.planned.push_back(*read);
            if (auto write = unseen ? std::nullopt : probe(iova + offset + 8, PROBE_WRITE))
                pass.planned.push_back(*write);
            if (pass.planned.size() >= 2) break;
        }
    *word ^= pass.flip;
    bool const level_wrong = std::ranges::any_of(pass.planned, [](Planned const& planned) {
        return planned.expected.outcome == Outcome::reserved;
    });
    if (level_wrong && reader_->follows_any_level) return std::nullopt;
    if (pass.planned.empty()) return std::nullopt;
    return pass;
}

// What a flip led to.
struct Verdict {
    bool meaningful = false;
    bool caught = false;
    bool ignored = false;
    Finding const* trouble = nullptr;
};

// How a fault comes about is not compared, nor what is found where a pointer leads astray.
bool acceptable(Finding const& finding)
{
    Outcome const expected = finding.planned.expected.outcome;
    Outcome const seen = finding.seen.outcome;
    if (expected == Outcome::reaches || finding.agrees) return finding.agrees;
    return seen != Outcome::reaches && (seen != Outcome::unknown || expected == Outcome::astray);
}

Verdict judge(Subject const& subject, std::vector<Finding> const& findings, bool unseen,
              bool insists)
{
    Verdict verdict;
    for (Finding const& finding : findings) {
        ::probe const& probe = finding.planned.probe;
        Expected const& broken = finding.planned.expected;
        Expected const whole = expect(subject, Iova{probe.iova}, access_of(probe));
        bool const as_whole = agree(whole, finding.seen);
        // A bit that must be zero, or one that this reader is known not to look at.
        bool const reaches =
            finding.seen.outcome == Outcome::reaches || finding.seen.outcome == Outcome::unknown;
        if ((broken.outcome == Outcome::reserved && reaches) || (unseen && as_whole)) {
            verdict.ignored = true;
            continue;
        }
        if (insists && finding.seen.outcome == Outcome::reserved) {
            verdict.ignored = true;
            continue;
        }
        if (!acceptable(finding)) verdict.trouble = &finding;
        if (same_end(whole, broken)) continue;
        verdict.meaningful = true;
        verdict.caught = verdict.caught || !as_whole;
    }
    return verdict;
}

}  // namespace

Mutations mutate(Subject& subject, Plan& plan, Exam& exam, Ram& ram, Reader const& reader,
                 std::uint64_t const (&settings)[8], Random& random)
{
    Mutations mutations;
    Breaker breaker{subject, plan, ram, reader, random, Iova{settings[2]}};
    std::vector<Pass> passes;
    std::vector<std::string> names;
    std::vector<bool> unseen;
    std::vector<bool> insists;
    for (Victim const& victim : breaker.victims())
        for (unsigned bit = 0; bit < 8 * victim.step.word_bytes; ++bit)
            if (auto pass = breaker.pass(victim, bit)) {
                passes.push_back(std::move(*pass));
                insists.push_back((reader.insists_on_zero >> bit & 1) != 0);
                unseen.push_back(breaker.unseen(victim, bit));
                names.push_back(fmt::format("{}, bit {} of {:#x} flipped", victim.what, bit,
                                            word(victim.step)));
            }
    auto const findings = exam.run(settings, passes);
    if (findings.size() != passes.size() || findings.empty()) {
        mutations.troubles.push_back("the guest did not come to the end with broken tables");
        return mutations;
    }

    for (std::size_t i = 0; i < passes.size(); ++i) {
        Verdict const verdict = judge(subject, findings[i], unseen[i], insists[i]);
        if (verdict.trouble != nullptr)
            mutations.troubles.push_back(
                fmt::format("{}: {}", names[i], verdict.trouble->difference));
        mutations.meaningful += verdict.meaningful;
        mutations.caught += verdict.meaningful && verdict.caught;
        mutations.ignored += verdict.ignored;
        if (verdict.meaningful && !verdict.caught)
            mutations.troubles.push_back(fmt::format("{}: not noticed", names[i]));
    }
    if (mutations.meaningful == 0) mutations.troubles.push_back("no broken word was tried");
    return mutations;
}

}  // namespace pinfold::tables
