#include "host/mappings.hpp"

#include <linux/ioctl.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>

#include "host/raw_memory.hpp"

namespace pinfold::host {
namespace {

// PROCMAP_QUERY on /proc/self/maps, as <linux/fs.h> has it since 6.11.
struct ProcmapQuery {
    std::uint64_t size;
    std::uint64_t query_flags;
    std::uint64_t query_addr;
    std::uint64_t vma_start;
    std::uint64_t vma_end;
    std::uint64_t vma_flags;
    std::uint64_t vma_page_size;
    std::uint64_t vma_offset;
    std::uint64_t inode;
    std::uint32_t dev_major;
    std::uint32_t dev_minor;
    std::uint32_t vma_name_size;
    std::uint32_t build_id_size;
    std::uint64_t vma_name_addr;
    std::uint64_t build_id_addr;
};
static_assert(sizeof(ProcmapQuery) == 104);
constexpr unsigned long kProcmapQuery = _IOWR('f', 17, ProcmapQuery);
constexpr std::uint64_t kReadable = 0x01;
constexpr std::uint64_t kWritable = 0x02;
constexpr std::uint64_t kShared = 0x08;
constexpr std::uint64_t kCoveringOrNext = 0x10;

bool ask(int fd, ProcmapQuery& query)
{
    query.size = sizeof query;
    return ::syscall(SYS_ioctl, fd, kProcmapQuery, &query) == 0;
}

constexpr std::string_view kDigits = "0123456789abcdef";

// Takes a hexadecimal number and the one character behind it off the front.
std::optional<std::uint64_t> take_number(std::string_view& text)
{
    std::size_t const length = std::min(text.find_first_not_of(kDigits), text.size());
    if (length == 0 || length == text.size()) return std::nullopt;
    std::uint64_t value = 0;
    std::from_chars(text.begin(), text.begin() + length, value, 16);
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

// Asking about address 0 finds a mapping, or the kernel knows no such question.
Mappings::Mappings() : file_{raw::open("/proc/self/maps", O_RDONLY)}
{
    ProcmapQuery query{};
    query.query_flags = kCoveringOrNext;
    quick_ = file_ && ask(file_.get(), query);
}

Result<> Mappings::for_each(VaddrRange range, Visit visit) const
{
    if (!file_) return {};
    return quick_ ? for_each_queried(range, visit) : for_each_read(range, visit);
}

Result<> Mappings::for_each_queried(VaddrRange range, Visit visit) const
{
    std::array<char, 4096> name;
    for (std::uint64_t at = range.start.raw();;) {
        ProcmapQuery query{};
        query.query_flags = kCoveringOrNext;
        query.query_addr = at;
        query.vma_name_addr = reinterpret_cast<std::uint64_t>(name.data());
        query.vma_name_size = name.size();
        if (!ask(file_.get(), query)) return {};  // ENOENT: no more
        VaddrRange const found{Vaddr{query.vma_start}, Vaddr{query.vma_end - 1}};
        auto const cut = found.intersection(range);
        if (!cut) return {};
        std::size_t const length = query.vma_name_size == 0 ? 0 : query.vma_name_size - 1;
        TRY(visit({.range = *cut,
                   .readable = (query.vma_flags & kReadable) != 0,
                   .writable = (query.vma_flags & kWritable) != 0,
                   .shared = (query.vma_flags & kShared) != 0,
                   .device_major = query.dev_major,
                   .file_name = {name.data(), length}}));
        if (found.last >= range.last) return {};
        at = query.vma_end;
    }
}

Result<> Mappings::for_each_read(VaddrRange range, Visit visit) const
{
    Lines lines{file_.get()};
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
