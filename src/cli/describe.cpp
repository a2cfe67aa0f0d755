// From the options of a run to a machine: the preset or the file, and what the options say on top.
#include <fmt/format.h>

#include "cli/options.hpp"
#include "machine/text.hpp"
#include "machine/words.hpp"

namespace pinfold::cli {

namespace {

using machine::Checked;
using machine::Description;
using machine::in_quotes;

template <class E, std::size_t N>
Checked<void> apply(std::optional<std::string> const& word, std::string_view option,
                    std::array<machine::Word<E>, N> const& words, E& out)
{
    if (!word) return {};
    std::array<std::string_view, N> known;
    for (std::size_t i = 0; i < N; ++i) {
        known[i] = words[i].text;
        if (*word != known[i]) continue;
        out = words[i].value;
        return {};
    }
    return std::unexpected{fmt::format("{}: {} is unknown{}", option, in_quotes(*word),
                                       machine::suggestion(*word, known))};
}

std::optional<PageSize> page_size(std::string_view text)
{
    auto const bytes = machine::parse_size(text);
    return bytes ? PageSize::of(*bytes) : std::nullopt;
}

Checked<void> apply_kernel(std::optional<std::string> const& kernel, Description& machine)
{
    if (!kernel) return {};
    auto const known = kernel_of(*kernel);
    if (!known)
        return std::unexpected{fmt::format("--kernel: {} is unknown{}", in_quotes(*kernel),
                                           machine::suggestion(*kernel, kKernelNames))};
    machine.kernel = *known;
    return {};
}

Checked<void> apply_host_page(std::optional<std::string> const& text, Description& machine)
{
    if (!text) return {};
    auto const size = page_size(*text);
    if (!size)
        return std::unexpected{
            fmt::format("--host-page: {} is not 4K, 16K or 64K", in_quotes(*text))};
    machine.host.page_size = *size;
    return {};
}

Checked<void> apply_iommu_pages(std::optional<std::string> const& text, Description& machine)
{
    if (!text) return {};
    PageSizes sizes;
    for (std::string_view rest{*text}; !rest.empty();) {
        auto const comma = std::min(rest.find(','), rest.size());
        auto const size = page_size(rest.substr(0, comma));
        if (!size)
            return std::unexpected{
                fmt::format("--iommu-pages: {} is no page size; a list is wanted, "
                            "such as 4K,2M,1G",
                            in_quotes(rest.substr(0, comma)))};
        sizes = sizes | PageSizes{size->bytes()};
        rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
    if (sizes.empty()) return std::unexpected{"--iommu-pages: a list is wanted, such as 4K,2M,1G"};
    machine.iommu.page_sizes = sizes;
    return {};
}

Checked<void> apply_aperture(std::optional<std::string> const& text, Description& machine)
{
    if (!text) return {};
    auto const bits = machine::parse_number(*text);
    if (!bits || *bits == 0 || *bits > 64)
        return std::unexpected{
            fmt::format("--aperture: {} is not a number of bits from 1 to 64", in_quotes(*text))};
    machine.iommu.address_width = static_cast<unsigned>(*bits);
    return {};
}

Checked<void> apply_memlock(std::optional<std::string> const& text, Description& machine)
{
    if (!text) return {};
    auto const memlock = machine::parse_memlock(*text);
    if (!memlock) return std::unexpected{fmt::format("--memlock: {}", memlock.error())};
    machine.host.memlock = *memlock;
    return {};
}

Checked<void> add_devices(std::vector<std::string> const& arguments, Description& machine)
{
    for (auto const& argument : arguments) {
        auto entry = machine::parse_device(argument);
        if (!entry) return std::unexpected{entry.error()};
        machine::anchor_files(*entry, {});
        machine.devices.push_back(std::move(*entry));
    }
    if (machine.devices.empty())
        machine.devices.push_back(*machine::parse_device("edu,bdf=0000:00:04.0"));
    return {};
}

}  // namespace

Checked<Description> describe(RunOptions const& options)
{
    auto machine = machine::load(options.machine);
    if (!machine) return machine;
    machine->allow_coarse = machine->allow_coarse || options.allow_coarse;
    Checked<void> fine;
    auto const then = [&](Checked<void> step) {
        if (fine) fine = std::move(step);
    };
    then(apply_kernel(options.kernel, *machine));
    then(apply(options.policy, "--policy", machine::kPolicyWords, machine->policy));
    then(apply_host_page(options.host_page, *machine));
    then(apply_iommu_pages(options.iommu_pages, *machine));
    then(apply_aperture(options.aperture, *machine));
    then(apply_memlock(options.memlock, *machine));
    then(add_devices(options.devices, *machine));
    if (fine) fine = machine::check(*machine);
    if (!fine) return std::unexpected{fine.error()};
    return machine;
}

}  // namespace pinfold::cli
