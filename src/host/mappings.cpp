#include "host/mappings.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>

#include "host/raw_memory.hpp"

namespace pinfold::host {
namespace {

// "7f0000000000-7f0000001000 rw-p ...": the part up to the fourth flag.
std::optional<Mapping> parse(std::string_view line)
{
    char const* const end = line.data() + line.size();
    std::uint64_t start = 0;
    std::uint64_t past = 0;
    auto at = std::from_chars(line.data(), end, start, 16);
    if (at.ec != std::errc{} || at.ptr == end || *at.ptr != '-') return std::nullopt;
    at = std::from_chars(at.ptr + 1, end, past, 16);
    if (at.ec != std::errc{} || end - at.ptr < 5 || past <= start) return std::nullopt;
    std::string_view const flags{at.ptr + 1, 4};
    return Mapping{
        {Vaddr{start}, Vaddr{past - 1}}, flags[0] == 'r', flags[1] == 'w', flags[3] == 's'};
}

// The lines of a file, one at a time, on a buffer of fixed size: this runs inside calls of the
// client, whose allocator may be waiting for us. Of a line that is longer than the buffer the
// front is seen.
class Lines {
public:
    explicit Lines(int fd) : fd_{fd} {}

    std::optional<std::string_view> next()
    {
        for (;;) {
            auto const* const start = buffer_.data() + first_;
            std::string_view const held{start, last_ - first_};
            if (auto const length = held.find('\n'); length != std::string_view::npos) {
                first_ += length + 1;
                if (!std::exchange(inside_long_line_, false)) return held.substr(0, length);
                continue;
            }
            if (held.size() == buffer_.size()) {
                last_ = first_ = 0;
                if (!std::exchange(inside_long_line_, true)) return held;
                continue;
            }
            if (!refill()) return std::nullopt;
        }
    }

private:
    bool refill()
    {
        std::copy(buffer_.data() + first_, buffer_.data() + last_, buffer_.data());
        last_ -= first_;
        first_ = 0;
        long const got = ::syscall(SYS_read, fd_, buffer_.data() + last_, buffer_.size() - last_);
        if (got <= 0) return false;
        last_ += static_cast<std::size_t>(got);
        return true;
    }

    int fd_;
    std::array<char, 8192> buffer_;
    std::size_t first_ = 0;
    std::size_t last_ = 0;
    bool inside_long_line_ = false;
};

}  // namespace

Result<> for_each_mapping(VaddrRange range, FunctionRef<Result<>(Mapping const&)> visit)
{
    UniqueFd const file = raw::open("/proc/self/maps", O_RDONLY);
    if (!file) return {};
    Lines lines{file.get()};
    while (auto const line = lines.next()) {
        auto mapping = parse(*line);
        if (!mapping) continue;
        if (mapping->range.start > range.last) break;
        auto const cut = mapping->range.intersection(range);
        if (!cut) continue;
        mapping->range = *cut;
        TRY(visit(*mapping));
    }
    return {};
}

}  // namespace pinfold::host
