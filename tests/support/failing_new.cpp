#include "support/failing_new.hpp"

#include <cstdlib>
#include <limits>
#include <new>

namespace {

constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();
thread_local std::uint64_t allowed_now = kUnlimited;

void* allocate(std::size_t size, std::size_t alignment)
{
    if (allowed_now == 0) return nullptr;
    if (allowed_now != kUnlimited) --allowed_now;
    void* memory = nullptr;
    if (::posix_memalign(&memory, alignment, size) != 0) return nullptr;
    return memory;
}

void* allocate_or_throw(std::size_t size, std::size_t alignment)
{
    if (void* const memory = allocate(size, alignment)) return memory;
    throw std::bad_alloc{};
}

constexpr std::size_t kAlignment = __STDCPP_DEFAULT_NEW_ALIGNMENT__;

}  // namespace

namespace pinfold::test {

FailingNew::FailingNew(std::uint64_t allowed) { allowed_now = allowed; }
FailingNew::~FailingNew() { allowed_now = kUnlimited; }

}  // namespace pinfold::test

void* operator new(std::size_t size) { return allocate_or_throw(size, kAlignment); }
void* operator new[](std::size_t size) { return allocate_or_throw(size, kAlignment); }
void* operator new(std::size_t size, std::align_val_t alignment)
{
    return allocate_or_throw(size, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t size, std::nothrow_t const&) noexcept
{
    return allocate(size, kAlignment);
}
void* operator new[](std::size_t size, std::nothrow_t const&) noexcept
{
    return allocate(size, kAlignment);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
