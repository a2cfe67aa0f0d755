// The errors of the kernel's interface, as a type of their own: an Errno is never a bool, a count
// or a descriptor by accident. Values are those of <cerrno>. Thread safe: values only.
#pragma once

#include <cerrno>
#include <string_view>

namespace pinfold {

enum class Errno : int {
    perm = EPERM,
    noent = ENOENT,
    intr = EINTR,
    io = EIO,
    badf = EBADF,
    again = EAGAIN,
    nomem = ENOMEM,
    acces = EACCES,
    fault = EFAULT,
    busy = EBUSY,
    exist = EEXIST,
    xdev = EXDEV,
    nodev = ENODEV,
    inval = EINVAL,
    mfile = EMFILE,
    notty = ENOTTY,
    nospc = ENOSPC,
    rofs = EROFS,
    range = ERANGE,
    nosys = ENOSYS,
    nxio = ENXIO,
    overflow = EOVERFLOW,
    badfd = EBADFD,
    opnotsupp = EOPNOTSUPP,
    addrinuse = EADDRINUSE,
};

// The number that the kernel's interface carries.
constexpr int number(Errno error) { return static_cast<int>(error); }

// The constant's name as in errno(3), such as "EINVAL"; "E?" for a value outside the enumeration.
std::string_view name(Errno error);

}  // namespace pinfold
