// The Linux versions whose behaviour a machine can have. They are ordered: a rule that came with a
// version reads `kernel >= Kernel::v6_12`. docs/kernels.md lists what differs.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace pinfold {

enum class Kernel : std::uint8_t { v6_1, v6_12, v7_3 };

inline constexpr std::array<std::string_view, 3> kKernelNames{"6.1", "6.12", "7.3"};

constexpr std::string_view name(Kernel kernel)
{
    return kKernelNames[static_cast<std::size_t>(kernel)];
}

constexpr std::optional<Kernel> kernel_of(std::string_view text)
{
    for (std::size_t i = 0; i < kKernelNames.size(); ++i)
        if (kKernelNames[i] == text) return static_cast<Kernel>(i);
    return std::nullopt;
}

}  // namespace pinfold
