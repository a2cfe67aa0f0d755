// Machine files: docs/machine-format.md is their reference.
#include <fmt/format.h>

#include <fstream>
#include <sstream>

#include "machine/description.hpp"
#include "machine/text.hpp"
#include "machine/toml_section.hpp"

namespace pinfold::machine {

namespace {

void read_host(Section& section, Description& machine)
{
    auto& host = machine.host;
    std::uint64_t page_size = host.page_size.bytes();
    if (section.size("page_size", page_size)) {
        if (auto const size = PageSize::of(page_size))
            host.page_size = *size;
        else
            section.report(*section.take("page_size"), "page_size", "is not a power of two");
    }

    if (auto const* const memlock = section.take("memlock")) {
        auto const text = memlock->value_exact<std::string>();
        auto const parsed = parse_memlock(text ? *text : size_text(size_of(*memlock).value_or(0)));
        if (parsed && (text || size_of(*memlock)))
            host.memlock = *parsed;
        else
            section.report(*memlock, "memlock",
                           "is neither a size such as \"8M\" nor inherit nor unlimited");
    }
    section.word("frames", kFrameWords, host.frames);
    section.number("frame_seed", 0, ~std::uint64_t{0}, host.frame_seed);
}

void read_reserved(Section& section, iommu::Iommu::Options& iommu)
{
    std::uint64_t start = 0;
    std::uint64_t last = 0;
    iommu::ReservedRegion region{{}, iommu::ReservedType::reserved};
    if (!section.number("start", 0, ~std::uint64_t{0}, start))
        section.missing("start", "0xfee00000");
    else if (!section.number("last", start, ~std::uint64_t{0}, last))
        section.missing("last", "0xfeefffff");
    section.take("last");
    section.word("type", kReservedWords, region.type);
    region.range = {Iova{start}, Iova{last}};
    iommu.reserved.push_back(region);
}

void read_page_sizes(Section& section, iommu::Iommu::Options& iommu)
{
    auto const* const node = section.take("page_sizes");
    if (node == nullptr) return;
    std::uint64_t bitmap = 0;
    if (node->is_array()) {
        for (auto const* const element : section.values("page_sizes")) {
            auto const bytes = size_of(*element);
            auto const size = bytes ? PageSize::of(*bytes) : std::nullopt;
            if (!size)
                return section.report(*element, "page_sizes",
                                      "holds something that is not a page size such as \"4K\"");
            bitmap |= size->bytes();
        }
    } else {
        bitmap = number_of(*node).value_or(0);
    }
    if (bitmap == 0)
        return section.report(
            *node, "page_sizes",
            "is neither a list such as [\"4K\", \"2M\"] nor a bitmap such as 0x40201000");
    iommu.page_sizes = PageSizes{bitmap};
}

void read_iommu(Section& section, iommu::Iommu::Options& iommu)
{
    section.word("model", kModelWords, iommu.model);
    read_page_sizes(section, iommu);
    std::uint64_t width = iommu.address_width;
    section.number("address_width", 1, 64, width);
    iommu.address_width = static_cast<unsigned>(width);
    section.number("table_budget", 1, ~std::uint64_t{0}, iommu.table_budget);
    section.flag("enforces_coherency", iommu.enforces_coherency);
    section.flag("remaps_interrupts", iommu.remaps_interrupts);

    std::vector<iommu::ReservedRegion> const inherited = std::exchange(iommu.reserved, {});
    if (!section.sections("reserved", [&](Section& inner) { read_reserved(inner, iommu); }))
        iommu.reserved = inherited;
}

// A copy of the machine's first unit, but for what is said here.
void read_extra_iommu(Section& section, Description& machine)
{
    ExtraIommu extra{"", machine.iommu};
    if (!section.text("name", extra.name)) section.missing("name", "\"second\"");
    read_iommu(section, extra.options);
    machine.extra_iommus.push_back(std::move(extra));
}

void read_type1(Section& section, Description& machine)
{
    section.word("policy", kPolicyWords, machine.policy);
    section.flag("allow_coarse", machine.allow_coarse);
    std::uint64_t limit = machine.dma_entry_limit;
    section.number("dma_entry_limit", 0, ~0U, limit);
    machine.dma_entry_limit = static_cast<unsigned>(limit);
    section.flag("allow_unsafe_interrupts", machine.allow_unsafe_interrupts);
    section.flag("disable_hugepages", machine.disable_hugepages);
}

// A model's setting: a string, a number or a truth value, as a --device argument would have it.
std::optional<std::string> setting_of(toml::node const& node)
{
    if (auto text = node.value_exact<std::string>()) return text;
    if (auto const number = node.value_exact<std::int64_t>()) return fmt::format("{}", *number);
    if (auto const flag = node.value_exact<bool>()) return *flag ? "yes" : "no";
    return std::nullopt;
}

void read_device(Section& section, Description& machine)
{
    DeviceEntry entry;
    entry.where = section.where();
    if (!section.text("model", entry.spec.model)) section.missing("model", "\"edu\"");

    std::string bdf;
    if (!section.text("bdf", bdf)) {
        section.missing("bdf", "\"0000:00:04.0\"");
    } else if (auto const parsed = Bdf::parse(bdf)) {
        entry.bdf = *parsed;
    } else {
        section.report(*section.take("bdf"), "bdf", parsed.error());
    }
    section.text("iommu", entry.iommu);
    section.text("driver", entry.driver);
    std::uint64_t group = 0;
    if (section.number("group", 0, kMostGroups - 1, group))
        entry.group = static_cast<unsigned>(group);

    // What is left is the model's; check() knows what it takes.
    for (auto const key : section.untaken()) {
        for (auto const* const node : section.values(key)) {
            auto const value = setting_of(*node);
            if (!value)
                return section.report(*node, key, "is not a string, a whole number, true or false");
            entry.spec.settings.push_back({std::string{key}, *value});
        }
    }
    machine.devices.push_back(std::move(entry));
}

Description start_from(Section& root)
{
    std::vector<std::string_view> names;
    for (auto const& preset : presets()) names.push_back(preset.name);
    return presets()[root.choice("preset", names).value_or(0)].make();
}

// The line of the first byte outside ASCII that is in neither a comment nor a string. toml++ 3.3
// takes for granted that there is none (is_non_ascii_horizontal_whitespace() has an unreachable end
// that U+02E3 reaches).
std::optional<std::size_t> stray_letter(std::string_view text)
{
    std::size_t line = 1;
    char inside = 0;  // the quote that is open, or '#'
    for (std::size_t i = 0; i < text.size(); ++i) {
        char const letter = text[i];
        if (letter == '\n') {
            ++line;
            inside = 0;
        } else if (inside == 0) {
            if (static_cast<unsigned char>(letter) >= 0x80) return line;
            if (letter == '"' || letter == '\'' || letter == '#') inside = letter;
        } else if (inside == '"' && letter == '\\') {
            ++i;
        } else if (letter == inside && inside != '#') {
            inside = 0;
        }
    }
    return std::nullopt;
}

}  // namespace

Checked<Description> parse_toml(std::string_view text, std::string_view file_name)
{
    if (auto const line = stray_letter(text))
        return std::unexpected{
            fmt::format("{}:{}: a letter outside ASCII can only be in a comment or between the "
                        "quotes of one line",
                        file_name, *line)};
    auto const parsed = toml::parse(text);
    Trouble trouble{file_name};
    if (!parsed)
        return std::unexpected{fmt::format("{}: {}", trouble.where(parsed.error().source()),
                                           parsed.error().description())};

    Section root{parsed.table(), "", trouble};
    auto machine = start_from(root);
    machine.name = std::filesystem::path{file_name}.stem().string();
    root.text("name", machine.name);
    if (auto const kernel = root.choice("kernel", kKernelNames))
        machine.kernel = static_cast<Kernel>(*kernel);
    root.section("host", [&](Section& section) { read_host(section, machine); });
    root.section("iommu", [&](Section& section) { read_iommu(section, machine.iommu); });
    root.sections("extra_iommu", [&](Section& section) { read_extra_iommu(section, machine); });
    root.section("type1", [&](Section& section) { read_type1(section, machine); });
    root.sections("device", [&](Section& section) { read_device(section, machine); });
    root.finish();

    if (trouble.sentence()) return std::unexpected{*trouble.sentence()};
    return machine;
}

}  // namespace pinfold::machine
