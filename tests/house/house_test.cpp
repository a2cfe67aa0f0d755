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
            // The front door is built by the room that builds machines.
            if (target->starts_with("pinfold/") && room == "machine") continue;
            // What a device in a shared object is built with is the other side of loaded.cpp.
            if (room == "devices" && *target == "pinfold/device_abi.h") continue;
            EXPECT_TRUE(allowed.contains(target->substr(0, target->find('/')))) << where(line);
        }
    }
    EXPECT_GT(includes, 100U);
}

TEST(House, the_front_door_shows_nothing_but_the_common_words)
{
    std::size_t doors = 0;
    for (auto const& entry : fs::directory_iterator{kSource.parent_path() / "include/pinfold"}) {
        ++doors;
        std::ifstream stream{entry.path()};
        std::string text;
        while (std::getline(stream, text))
            if (auto const target = included({entry.path(), 0, text})) {
                // A look-up is inlined into the program, so its header is the room's own.
                bool const hot = *target == "native/dma_map.hpp";
                EXPECT_TRUE(target->starts_with("base/") || target->starts_with("pinfold/") || hot)
                    << *target;
            }
    }
    EXPECT_GT(doors, 0U);
}

TEST(House, a_device_sees_only_its_port)
{
    std::set<std::string> const allowed{"base", "pci", "devices"};
    for (auto const& line : lines_of("devices"))
        if (auto const target = included(line)) {
            // What a device in a shared object is built with is the other side of loaded.cpp.
            bool const interface = *target == "pinfold/device_abi.h";
            EXPECT_TRUE(interface || allowed.contains(target->substr(0, target->find('/'))))
                << where(line);
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

// A file in one line, so that a comment's sentence is in one piece.
std::string unwrapped(fs::path const& file)
{
    std::ifstream stream{file};
    std::string whole;
    for (std::string line; std::getline(stream, line);) {
        auto start = line.find_first_not_of(' ');
        if (start == std::string::npos) continue;
        if (line.compare(start, 2, "//") == 0) start = line.find_first_not_of(' ', start + 2);
        if (start != std::string::npos) whole.append(line, start).append(1, ' ');
    }
    return whole;
}

// The rules that a text cites, "M-6" or "6.2", with all of "X-1 to X-9".
std::set<std::string> cited_rules(std::string const& text)
{
    static std::regex const citation{
        R"re([Rr]ules? (\d\.\d|[A-Z]-\d+(?:(?:, and |, | and | to )[A-Z]-\d+)*))re"};
    static std::regex const number{R"re(( to )?([A-Z])-(\d+))re"};
    std::set<std::string> cited;
    for (std::sregex_iterator found{text.begin(), text.end(), citation}, end; found != end;
         ++found) {
        std::string const rules = (*found)[1];
        if (rules[1] == '.') cited.insert(rules);
        int before = 0;
        for (std::sregex_iterator rule{rules.begin(), rules.end(), number}; rule != end; ++rule) {
            int const last = std::stoi((*rule)[3]);
            for (int n = (*rule)[1].matched ? before + 1 : last; n <= last; ++n)
                cited.insert((*rule)[2].str() + "-" + std::to_string(n));
            before = last;
        }
    }
    return cited;
}

// The rules that docs/ defines: bullets that begin with a bold number, and headings with one.
std::set<std::string> written_rules()
{
    static std::regex const definition{R"re((?:\* \*\*([A-Z]-\d+)\*\* |### (\d\.\d) ).*)re"};
    std::set<std::string> written;
    for (auto const* name : {"type1.md", "vfio-pci.md"}) {
        std::ifstream stream{fs::path{PINFOLD_SOURCE_DIR} / "docs" / name};
        std::smatch match;
        for (std::string line; std::getline(stream, line);) {
            if (!std::regex_match(line, match, definition)) continue;
            std::string const rule = match[1].matched ? match[1] : match[2];
            EXPECT_TRUE(written.insert(rule).second) << rule << " is defined twice";
        }
    }
    return written;
}

TEST(House, every_rule_that_a_comment_cites_is_written_down)
{
    auto const written = written_rules();
    std::size_t citations = 0;
    for (auto const* root : {"src", "tests"})
        for (auto const& entry :
             fs::recursive_directory_iterator{fs::path{PINFOLD_SOURCE_DIR} / root}) {
            if (!is_source(entry.path()) && entry.path().extension() != ".md") continue;
            for (auto const& rule : cited_rules(unwrapped(entry.path()))) {
                ++citations;
                EXPECT_TRUE(written.contains(rule)) << entry.path() << " cites rule " << rule;
            }
        }
    EXPECT_GT(citations, 100U);
}

// Every test in tests/, as "Suite.name".
std::set<std::string> tests_there_are()
{
    static std::regex const definition{R"re(TEST(?:_P|_F)?\((\w+), (\w+)\))re"};
    std::set<std::string> tests;
    for (auto const& entry :
         fs::recursive_directory_iterator{fs::path{PINFOLD_SOURCE_DIR} / "tests"}) {
        if (!is_source(entry.path())) continue;
        std::string const text = unwrapped(entry.path());
        for (std::sregex_iterator found{text.begin(), text.end(), definition}, end; found != end;
             ++found)
            tests.insert((*found)[1].str() + "." + (*found)[2].str());
    }
    return tests;
}

TEST(House, tests_that_the_tables_of_kernels_and_policies_name_are_there)
{
    static std::regex const named{R"re(`([A-Z]\w+\.\w+)`)re"};
    auto const tests = tests_there_are();
    for (auto const* name : {"kernels.md", "subpage.md"}) {
        std::string const text = unwrapped(fs::path{PINFOLD_SOURCE_DIR} / "docs" / name);
        std::size_t count = 0;
        for (std::sregex_iterator found{text.begin(), text.end(), named}, end; found != end;
             ++found, ++count)
            EXPECT_TRUE(tests.contains((*found)[1])) << name << " names " << (*found)[1];
        EXPECT_GT(count, 5U) << name;
    }
}

}  // namespace
}  // namespace pinfold
