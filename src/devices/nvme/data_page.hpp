// A 4096-byte structure as the specification draws it: fields at byte offsets, the rest zero.
#pragma once

#include <algorithm>
#include <array>
#include <cassert>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace pinfold::devices::nvme {

class DataPage {
public:
    // REQUIRES, for all three: the field lies within the page.
    template <std::integral T>
    void put(std::size_t offset, T value)
    {
        assert(offset + sizeof value <= bytes_.size());
        std::memcpy(bytes_.data() + offset, &value, sizeof value);
    }
    void put(std::size_t offset, std::span<std::byte const> bytes)
    {
        assert(offset + bytes.size() <= bytes_.size());
        std::ranges::copy(bytes, bytes_.begin() + static_cast<std::ptrdiff_t>(offset));
    }
    // Left-justified, padded with spaces, cut off at `size`.
    void put_text(std::size_t offset, std::size_t size, std::string_view text)
    {
        assert(offset + size <= bytes_.size());
        std::memset(bytes_.data() + offset, ' ', size);
        std::memcpy(bytes_.data() + offset, text.data(), std::min(size, text.size()));
    }

    std::span<std::byte const> bytes() const { return bytes_; }

private:
    std::array<std::byte, 4096> bytes_{};
};

}  // namespace pinfold::devices::nvme
