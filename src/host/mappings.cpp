#include "host/mappings.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>

#include "host/raw_memory.hpp"

namespace pinfold::host {
namespace {

constexpr std::string_view kDigits = "0123456789abcdef";

// Takes a hexadecimal number and the one character behind it off the front.
std::optional<std::uint64_t> take_number(std::string_view& text)
{
    std::size_t const length = std::min(text.find_first_not_of(kDigits), text.size());
    if (length == 0 || length == text.size()) return std::nullopt;
    std::uint64_t value = 0;
    std::from_chars(text.data(), text.data() + length, value, 16);
    text.remove_prefix(length + 1);
    return value;
}

// "7f0000000000-7f0000001000 rw-s 00000000 fe:01 131 /a/file"
std::optional<Mapping> parse(std::string_view line)
{
    auto const start = take_number(line);
    auto const past = take_number(line);
    if (!start || !past || *past <= *start || line.size() < 5) return std::nullopt;
    std::string_view const flags = line.substr(0, 4);
    line.remove_prefix(5);
    auto const offset = take_number(line);
    auto const device_major = take_number(line);
    if (!offset || !device_major) return std::nullopt;
    std::size_t const name = std::min(line.find('/'), line.size());
    return Mapping{.range = {Vaddr{*start}, Vaddr{*past - 1}},
                   .readable = flags[0] == 'r',
                   .writable = flags[1] == 'w',
                   .shared = flags[3] == 's',
                   .device_major = static_cast<unsigned>(*device_major),
                   .file_name = line.substr(name)};
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
