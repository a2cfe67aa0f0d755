#include "type1/requests.hpp"

#include <bit>

namespace pinfold::type1 {
namespace {

// TASK_SIZE_MAX of x86-64 with four levels: where access_ok() draws the line.
constexpr std::uint64_t kUserEnd = 0x7ffffffff000;

}  // namespace

Result<> check(Bitmap const& bitmap, std::uint64_t size)
{
    std::uint64_t const end = bitmap.vaddr.raw() + bitmap.bytes;
    if (end < bitmap.vaddr.raw() || end > kUserEnd) return fail(Errno::inval);
    if (bitmap.page_size == 0) return fail(Errno::inval);

    std::uint64_t const bits = size >> std::countr_zero(bitmap.page_size);
    if (bits == 0 || bitmap.bytes == 0 || bitmap.bytes > kMostBitmapBytes)
        return fail(Errno::inval);
    std::uint64_t const words = bits / 64 + (bits % 64 != 0);
    if (bitmap.bytes < words * sizeof(std::uint64_t)) return fail(Errno::inval);
    return {};
}

}  // namespace pinfold::type1
