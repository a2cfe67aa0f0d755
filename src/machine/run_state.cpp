#include "machine/run_state.hpp"

#include <fmt/format.h>

#include <cstring>
#include <fstream>
#include <sstream>

#include "machine/text.hpp"

namespace pinfold::machine {

namespace {

constexpr std::string_view kContainer = PINFOLD_NODE_CONTAINER;

std::string node_line(RunState::Node const& node)
{
    return fmt::format("node {} {} {} {}\n",
                       node.group ? fmt::format("{}", *node.group) : std::string{kContainer},
                       node.mount_id, node.st_dev, node.st_ino);
}

// The words of one line, taken one by one; a missing or malformed one makes `fine` false for good.
class Words {
public:
    explicit Words(std::string const& line) : in_{line} {}
    std::string word()
    {
        std::string next;
        if (!(in_ >> next)) fine = false;
        return next;
    }
    // All that is left, spaces included: a path.
    std::string rest()
    {
        std::string all;
        std::getline(in_ >> std::ws, all);
        if (all.empty()) fine = false;
        return all;
    }
    std::uint64_t number()
    {
        auto const value = parse_number(word());
        if (!value) fine = false;
        return value.value_or(0);
    }
    bool fine = true;

private:
    std::istringstream in_;
};

RunState::Node read_node(Words& words)
{
    RunState::Node node;
    auto const name = words.word();
    if (name != kContainer) {
        auto const group = parse_group(name);
        if (!group) words.fine = false;
        node.group = group.value_or(0);
    }
    node.mount_id = words.number();
    node.st_dev = words.number();
    node.st_ino = words.number();
    return node;
}

RunState::DeviceFile read_device_file(Words& words)
{
    RunState::DeviceFile device;
    auto const bdf = Bdf::parse(words.word());
    auto const group = parse_group(words.word());
    if (!bdf || !group) words.fine = false;
    device.bdf = bdf.value_or(Bdf{});
    device.group = group.value_or(0);
    device.st_dev = words.number();
    device.st_ino = words.number();
    return device;
}

bool read_line(std::string const& line, RunState& run)
{
    Words words{line};
    auto const key = words.word();
    if (key == "mode") {
        auto const mode = words.word();
        run.mode = mode == PINFOLD_MODE_PATHS ? RunState::Mode::paths : RunState::Mode::namespaced;
        return words.fine && (mode == PINFOLD_MODE_PATHS || mode == PINFOLD_MODE_NAMESPACE);
    }
    if (key == "lock_cap") {
        auto const cap = words.word();
        run.lock_cap = cap == "yes" ? host::LockCap::yes : host::LockCap::no;
        return cap == "yes" || cap == "no";
    }
    if (key == "engine")
        run.engine = words.rest();
    else if (key == "node")
        run.nodes.push_back(read_node(words));
    else if (key == "device")
        run.devices.push_back(read_device_file(words));
    else
        return false;
    return words.fine;
}

}  // namespace

Checked<void> write_run_state(std::filesystem::path const& state, RunState const& run)
{
    auto const file = state / PINFOLD_FILE_RUN;
    std::ofstream out{file};
    out << "mode "
        << (run.mode == RunState::Mode::paths ? PINFOLD_MODE_PATHS : PINFOLD_MODE_NAMESPACE) << '\n'
        << "lock_cap " << (run.lock_cap == host::LockCap::yes ? "yes" : "no") << '\n'
        << "engine " << run.engine.string() << '\n';
    for (auto const& node : run.nodes) out << node_line(node);
    for (auto const& device : run.devices)
        out << fmt::format("device {} {} {} {}\n", device.bdf.text(), device.group, device.st_dev,
                           device.st_ino);
    out.close();
    if (!out) return std::unexpected{fmt::format("{}: {}", file.string(), std::strerror(errno))};
    return {};
}

Checked<RunState> read_run_state(std::filesystem::path const& state)
{
    auto const file = state / PINFOLD_FILE_RUN;
    std::ifstream in{file};
    if (!in) return std::unexpected{fmt::format("{}: {}", file.string(), std::strerror(errno))};
    RunState run;
    std::string line;
    for (int number = 1; std::getline(in, line); ++number)
        if (!read_line(line, run))
            return std::unexpected{
                fmt::format("{}:{}: {} is malformed", file.string(), number, in_quotes(line))};
    return run;
}

Checked<Description> read_machine(std::filesystem::path const& state)
{
    return load((state / PINFOLD_FILE_MACHINE).string());
}

std::filesystem::path device_file(std::filesystem::path const& state, Bdf bdf)
{
    return state / PINFOLD_DIR_DEVICES / bdf.text();
}

std::filesystem::path mirrored(std::filesystem::path const& state,
                               std::filesystem::path const& absolute)
{
    return state / PINFOLD_DIR_ROOT / absolute.relative_path();
}

std::filesystem::path tree_directory(Bdf bdf)
{
    return std::filesystem::path{PINFOLD_SYS_DEVICES} /
           fmt::format("pci{:04x}:{:02x}", bdf.domain, bdf.bus) / bdf.text();
}

std::filesystem::path removal_file(std::filesystem::path const& state, Bdf bdf)
{
    return state / PINFOLD_DIR_REMOVALS / bdf.text();
}

}  // namespace pinfold::machine
