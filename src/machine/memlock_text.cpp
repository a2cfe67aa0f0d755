#include <fmt/format.h>

#include "machine/description.hpp"
#include "machine/text.hpp"

namespace pinfold::machine {

Checked<Memlock> parse_memlock(std::string_view text)
{
    if (text == "inherit") return Memlock{};
    if (text == "unlimited") return Memlock{Memlock::Kind::unlimited, 0};
    if (auto const bytes = parse_size(text)) return Memlock{Memlock::Kind::bytes, *bytes};
    return std::unexpected{fmt::format(
        "{} is neither a size such as 8M nor \"unlimited\" nor \"inherit\"", in_quotes(text))};
}

std::string memlock_text(Memlock memlock)
{
    switch (memlock.kind) {
        case Memlock::Kind::inherit: return "inherit";
        case Memlock::Kind::bytes: return size_text(memlock.bytes);
        case Memlock::Kind::unlimited: return "unlimited";
    }
    return {};
}

}  // namespace pinfold::machine
