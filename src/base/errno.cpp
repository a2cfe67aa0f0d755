#include "base/errno.hpp"

#include <cstring>

namespace pinfold {

std::string_view name(Errno error)
{
    char const* const known = strerrorname_np(number(error));
    return known == nullptr ? std::string_view{"E?"} : std::string_view{known};
}

}  // namespace pinfold
