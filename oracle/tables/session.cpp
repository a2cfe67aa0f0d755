#include "session.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "arena.hpp"
#include "exam.hpp"
#include "formats.hpp"
#include "mutation.hpp"
#include "plan.hpp"

namespace pinfold::tables {

namespace {

constexpr std::size_t kShown = 5;

// Counts and prints what is wrong.
class Report {
public:
    void trouble(std::string const& text)
    {
        if (troubles_++ < kShown) fmt::print("{}\n", text);
    }
    void troubles(std::vector<std::string> const& texts)
    {
        for (auto const& text : texts) trouble(text);
    }
    std::size_t count() const { return troubles_; }

private:
    std::size_t troubles_ = 0;
};

struct Counts {
    std::size_t accesses = 0;
    std::size_t faults = 0;
    std::size_t differences = 0;
    std::size_t marks = 0;  // leaves that the reader marked as written
};

// One format's table, its reader and what was found.
class Session {
public:
    Session(Format const& format, Ram& ram, std::span<std::byte> memory,
            std::span<std::byte> orders, Options const& options)
        : format_{&format},
          ram_{&ram},
          orders_{options.orders},
          random_{options.seed},
          arena_{memory, format.table_lg2},
          subject_{format.make(arena_)},
          exam_{ram, *format.reader, Paddr{options.orders}, orders}
    {
    }

    int run(unsigned mappings);

private:
    void build(Plan& plan, unsigned mappings);
    bool examine(std::vector<Planned> planned);
    void compare_words(std::span<std::byte const> before);
    void compare_marks(std::vector<Finding> const& findings);

    Format const* format_;
    Ram* ram_;
    std::uint64_t orders_;
    Random random_;
    Arena arena_;
    std::unique_ptr<Subject> subject_;
    Exam exam_;
    std::uint64_t settings_[8]{};
    Report report_;
    Counts counts_;
};

void Session::build(Plan& plan, unsigned mappings)
{
    if (format_->taken) plan.avoid(*format_->taken);
    if (format_->reader->needs_window) {
        Paddr const window{orders_ + Exam::kWindow};
        settings_[2] = plan.map_window(window).raw();
        settings_[3] = window.raw();
    }
    plan.map_randomly(mappings);
    plan.unmap_some();
    format_->settings(*subject_, settings_);
}

// False: the guest did not come to the end.
bool Session::examine(std::vector<Planned> planned)
{
    subject_->take_dirty();
    std::vector<std::byte> const before{arena_.used().begin(), arena_.used().end()};
    auto const findings = exam_.run(settings_, {{0, 0, std::move(planned)}});
    if (findings.empty()) return false;
    for (Finding const& finding : findings.front()) {
        ++counts_.accesses;
        if (finding.planned.expected.outcome != Outcome::reaches) ++counts_.faults;
        if (finding.agrees) continue;
        ++counts_.differences;
        report_.trouble(finding.difference);
    }
    compare_words(before);
    compare_marks(findings.front());
    return true;
}

// The reader may have changed what hardware marks, and nothing else.
void Session::compare_words(std::span<std::byte const> before)
{
    auto const taken = format_->taken_slot.value_or(0) * (format_->reader == &kArm32 ? 4 : 8);
    std::uint64_t const taken_word = (subject_->root().raw() + taken) & ~std::uint64_t{7};
    for (std::size_t at = 0; at < before.size(); at += 8) {
        std::uint64_t was = 0;
        std::uint64_t is = 0;
        std::memcpy(&was, &before[at], 8);
        std::memcpy(&is, &arena_.used()[at], 8);
        std::uint64_t const paddr = (arena_.start() + at).raw();
        if (((was ^ is) & ~format_->hardware_bits) == 0 ||
            (format_->taken_slot && paddr == taken_word))
            continue;
        report_.trouble(fmt::format("the reader changed the word at {:#x} from {:#x} to {:#x}",
                                    paddr, was, is));
    }
}

// Leaves are marked as written where something was stored, and nowhere else. Whether a translation
// for a store marks them is the reader's choice.
void Session::compare_marks(std::vector<Finding> const& findings)
{
    std::set<Iova> stored;
    std::set<Iova> perhaps;
    for (Finding const& finding : findings) {
        ::probe const& probe = finding.planned.probe;
        if (access_of(probe) != Access::write ||
            finding.planned.expected.outcome != Outcome::reaches)
            continue;
        if (!subject_->shows_writes(Iova{probe.iova})) continue;
        (translates(probe) ? perhaps : stored).insert(subject_->walk(Iova{probe.iova})->iova.start);
    }
    std::set<Iova> marked;
    for (IovaRange const leaf : subject_->take_dirty()) marked.insert(leaf.start);
    counts_.marks += stored.size();
    for (Iova const leaf : stored)
        if (!marked.contains(leaf))
            report_.trouble(
                fmt::format("the leaf at {:#x} was written and is not marked", leaf.raw()));
    for (Iova const leaf : marked)
        if (!stored.contains(leaf) && !perhaps.contains(leaf))
            report_.trouble(
                fmt::format("the leaf at {:#x} is marked and was not written", leaf.raw()));
}

int Session::run(unsigned mappings)
{
    if (!subject_) {
        fmt::print("no memory for the table\n");
        return 2;
    }
    Plan plan{*subject_, *ram_, *format_->reader, random_};
    build(plan, mappings);
    // Twice, so that leaves are written again whose marks were taken.
    for (int round = 0; round < 2; ++round)
        if (!examine(plan.probes())) {
            fmt::print("the guest did not come to the end\n");
            return 1;
        }
    Mutations const mutations =
        mutate(*subject_, plan, exam_, *ram_, *format_->reader, settings_, random_);
    report_.troubles(plan.troubles());
    report_.troubles(mutations.troubles);
    if (counts_.accesses == counts_.faults || counts_.faults == 0)
        report_.trouble("too little was compared to prove anything");
    fmt::print(
        "result mappings={} accesses={} faults={} differences={} marks={} flips={} caught={} "
        "ignored={} troubles={}\n",
        plan.mapped_ever(), counts_.accesses, counts_.faults, counts_.differences, counts_.marks,
        mutations.meaningful, mutations.caught, mutations.ignored, report_.count());
    return report_.count() == 0 ? 0 : 1;
}

int refuse(std::string const& text)
{
    fmt::print("{}\n", text);
    return 2;
}

}  // namespace

void print_formats()
{
    for (Format const& format : formats()) fmt::print("{} {}\n", format.name, format.reader->guest);
}

int run(Options const& options)
{
    Format const* const format = find_format(options.format);
    if (format == nullptr) return refuse(fmt::format("there is no format '{}'", options.format));
    Ram ram;
    for (auto const& piece : options.ram)
        if (!ram.add(piece)) return refuse(fmt::format("{} is no piece of RAM", piece));
    auto const orders_range = PaddrRange::of(Paddr{options.orders}, Exam::kBytes);
    auto const arena_range = PaddrRange::of(Paddr{options.arena}, options.arena_bytes);
    if (!orders_range || !arena_range) return refuse("orders and tables have no room");
    auto const orders = ram.map(*orders_range, Ram::Where::anywhere);
    auto const arena = ram.map(*arena_range, Ram::Where::same_address);
    if (orders.empty() || arena.empty())
        return refuse("the guest's RAM cannot be mapped where it must be");
    // All below the orders is the guest's own.
    ram.take({Paddr{0}, orders_range->last});
    ram.take(*arena_range);
    return Session{*format, ram, arena, orders, options}.run(options.mappings);
}

}  // namespace pinfold::tables
