#include "devices/nvme/unique_name.hpp"

#include <fmt/format.h>

#include <climits>
#include <cstdlib>
#include <string_view>

namespace pinfold::devices::nvme {
namespace {

// FNV-1a, then a finaliser, because paths often differ in their last letter only.
std::uint64_t hash(std::string_view text, std::uint64_t seed)
{
    std::uint64_t value = 0xcbf2'9ce4'8422'2325 ^ seed;
    for (char const letter : text) {
        value = (value ^ static_cast<unsigned char>(letter)) * 0x0000'0100'0000'01b3;
    }
    value = (value ^ value >> 33) * 0xff51'afd7'ed55'8ccd;
    value = (value ^ value >> 33) * 0xc4ce'b9fe'1a85'ec53;
    return value ^ value >> 33;
}

}  // namespace

std::array<std::uint8_t, 16> unique_name(std::string const& path, unsigned salt)
{
    // Into a buffer of our own: inside a client, the C library may allocate with the client's
    // allocator.
    std::array<char, PATH_MAX> canonical;
    std::string const text =
        ::realpath(path.c_str(), canonical.data()) != nullptr ? canonical.data() : path;
    std::array<std::uint8_t, 16> uuid;
    for (unsigned half = 0; half < 2; ++half) {
        auto const value = hash(text, std::uint64_t{salt} << 1 | half);
        for (unsigned byte = 0; byte < 8; ++byte) {
            uuid[half * 8 + byte] = static_cast<std::uint8_t>(value >> (8 * byte));
        }
    }
    uuid[6] = static_cast<std::uint8_t>((uuid[6] & 0x0f) | 0x80);
    uuid[8] = static_cast<std::uint8_t>((uuid[8] & 0x3f) | 0x80);
    return uuid;
}

std::string uuid_text(std::array<std::uint8_t, 16> const& uuid)
{
    std::string text;
    for (unsigned byte = 0; byte < uuid.size(); ++byte) {
        if (byte == 4 || byte == 6 || byte == 8 || byte == 10) text += '-';
        text += fmt::format("{:02x}", uuid[byte]);
    }
    return text;
}

}  // namespace pinfold::devices::nvme
