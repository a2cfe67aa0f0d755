#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "machine/description.hpp"

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size)
{
    using namespace pinfold::machine;
    auto const read = parse_toml({reinterpret_cast<char const*>(data), size}, "fuzz.toml");
    if (!read) {
        if (read.error().find("fuzz.toml") == std::string::npos)
            std::abort();  // an error names its file
        return 0;
    }
    auto const text = to_toml(*read);
    auto const again = parse_toml(text, "again.toml");
    if (!again || to_toml(*again) != text) std::abort();
    return 0;
}
