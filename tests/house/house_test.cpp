// The rules of the house that a program can check: arrows between rooms, a README in each, and who
// may print. (That every header compiles alone is checked by the target headers_alone.)
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace pinfold {
namespace {

namespace fs = std::filesystem;

fs::path const kSource = fs::path{PINFOLD_SOURCE_DIR} / "src";

// Who may use whom, directly; whatever those use is allowed too. docs/architecture.md draws it.
std::map<std::string, std::set<std::string>> const kArrows{
    {"base", {}},
    {"host", {"base"}},
    {"pagetable", {"base"}},
    {"native", {"base"}},
    {"iommu", {"pagetable", "native"}},
    {"type1", {"iommu", "host"}},
    {"pci", {"iommu", "host"}},
    {"devices", {"pci"}},
    {"uapi", {"type1", "pci"}},
    {"machine", {"uapi", "devices"}},
    {"preload", {"machine"}},
    {"cli", {"machine"}},
};

std::set<std::string> reachable(std::string const& room)
{
    std::set<std::string> all{room};
    for (auto const& below : kArrows.at(room)) all.merge(reachable(below));
    return all;
}

struct Line {
    fs::path file;
    std::size_t number;
    std::string text;
};

bool is_source(fs::path const& path)
{
    static std::set<std::string> const kinds{".hpp", ".cpp", ".h", ".c", ".S"};
    return kinds.contains(path.extension().string());
}

std::vector<Line> lines_of(std::string const& room)
{
    std::vector<Line> lines;
    for (auto const& entry : fs::recursive_directory_iterator{kSource / room}) {
        if (!is_source(entry.path())) continue;
        std::ifstream stream{entry.path()};
        std::string text;
        for (std::size_t number = 1; std::getline(stream, text); ++number)
            lines.push_back({entry.path(), number, text});
    }
    return lines;
}

std::string where(Line const& line)
{
    return line.file.lexically_relative(kSource).string() + ":" + std::to_string(line.number) +
           ": " + line.text;
}

std::vector<std::string> rooms()
{
    std::vector<std::string> found;
    for (auto const& entry : fs::directory_iterator{kSource})
        if (entry.is_directory()) found.push_back(entry.path().filename().string());
    return found;
}

// What a line includes of ours: "iommu/domain.hpp".
std::optional<std::string> included(Line const& line)
{
    static std::regex const pattern{R"re(^\s*#\s*include\s+"([^"]+)")re"};
    std::smatch match;
    if (!std::regex_search(line.text, match, pattern)) return std::nullopt;
    return match[1].str();
}

TEST(House, every_room_is_in_the_drawing_and_has_sources)
{
    for (auto const& room : rooms()) {
        EXPECT_TRUE(kArrows.contains(room)) << room;
        EXPECT_FALSE(lines_of(room).empty()) << room;
    }
    EXPECT_EQ(rooms().size(), kArrows.size());
}

TEST(House, arrows_point_downwards_only)
{
    std::size_t includes = 0;
    for (auto const& [room, below] : kArrows) {
        auto const allowed = reachable(room);
        for (auto const& line : lines_of(room)) {
            auto const target = included(line);
            if (!target) continue;
            ++includes;
            EXPECT_TRUE(allowed.contains(target->substr(0, target->find('/')))) << where(line);
        }
    }
    EXPECT_GT(includes, 100U);
}

TEST(House, a_device_sees_only_its_port)
{
    std::set<std::string> const allowed{"base", "pci", "devices"};
    for (auto const& line : lines_of("devices"))
        if (auto const target = included(line)) {
            EXPECT_TRUE(allowed.contains(target->substr(0, target->find('/')))) << where(line);
        }
}

TEST(House, only_uapi_knows_the_kernels_structures)
{
    for (auto const& [room, below] : kArrows) {
        if (room == "uapi") continue;
        for (auto const& line : lines_of(room))
            EXPECT_EQ(line.text.find("<linux/vfio.h>"), std::string::npos) << where(line);
    }
}

TEST(House, only_the_command_line_prints)
{
    std::regex const prints{
        R"re(\b(std::c(out|err)|printf\(|puts\(|fputs\(|fmt::print|perror\())re"};
    for (auto const& [room, below] : kArrows) {
        if (room == "cli") continue;
        for (auto const& line : lines_of(room))
            EXPECT_FALSE(std::regex_search(line.text, prints)) << where(line);
    }
}

TEST(House, every_room_has_a_README_of_at_most_fifteen_lines)
{
    for (auto const& room : rooms()) {
        std::ifstream stream{kSource / room / "README.md"};
        ASSERT_TRUE(stream) << room << " has no README.md";
        std::string text;
        std::size_t count = 0;
        while (std::getline(stream, text)) ++count;
        EXPECT_GT(count, 2U) << room;
        EXPECT_LE(count, 15U) << room;
    }
}

TEST(House, nothing_is_left_undone)
{
    std::regex const marks{R"re(\b(TODO|FIXME|XXX|HACK)\b)re"};
    for (auto const& room : rooms())
        for (auto const& line : lines_of(room))
            EXPECT_FALSE(std::regex_search(line.text, marks)) << where(line);
}

TEST(House, headers_speak_of_addresses_in_their_types)
{
    // Below the pagetable room an address is a typed one; a format's own arithmetic is on raw
    // words.
    std::regex const raw{R"re(uint64_t\s+(iova|vaddr|paddr)\b)re"};
    for (auto const* room : {"host", "iommu", "type1", "pci", "uapi"})
        for (auto const& line : lines_of(room))
            if (line.file.extension() == ".hpp") {
                EXPECT_FALSE(std::regex_search(line.text, raw)) << where(line);
            }
}

}  // namespace
}  // namespace pinfold
