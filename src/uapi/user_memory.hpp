// Structures to and from the memory of the calling process, as copy_from_user and copy_to_user move
// them. EFAULT: some byte is not accessible, or the structure passes the end of the address space.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <type_traits>

#include "uapi/call.hpp"

namespace pinfold::uapi {

Result<> read_user_bytes(Client& client, std::uint64_t from, std::span<std::byte> into);
Result<> write_user_bytes(Client& client, std::uint64_t to, std::span<std::byte const> from);

// Fills the first `size` bytes of `into`.
template <class T>
    requires std::is_trivially_copyable_v<T>
Result<> read_user(Client& client, std::uint64_t from, T& into, std::size_t size = sizeof(T))
{
    return read_user_bytes(client, from, std::as_writable_bytes(std::span{&into, 1}).first(size));
}
template <class T>
    requires std::is_trivially_copyable_v<T>
Result<> write_user(Client& client, std::uint64_t to, T const& from, std::size_t size = sizeof(T))
{
    return write_user_bytes(client, to, std::as_bytes(std::span{&from, 1}).first(size));
}

// strndup_user(). EINVAL: no NUL among the first `most` bytes. Bytes behind the NUL need not exist.
Result<std::string> read_user_string(Client& client, std::uint64_t from, std::size_t most);

}  // namespace pinfold::uapi
