#include "pci/bar_memory.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <utility>

namespace pinfold::pci {

Result<BarMemory> BarMemory::create(std::uint64_t bytes)
{
    BarMemory memory;
    memory.file_ = UniqueFd{::memfd_create("pinfold-bar", MFD_CLOEXEC)};
    if (!memory.file_) return fail(errno == EMFILE ? Errno::mfile : Errno::nomem);
    if (::ftruncate(memory.file_.get(), static_cast<off_t>(bytes)) != 0) return fail(Errno::nomem);
    void* const at =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory.file_.get(), 0);
    if (at == MAP_FAILED) return fail(Errno::nomem);
    memory.bytes_ = {static_cast<std::byte*>(at), bytes};
    return memory;
}

BarMemory::BarMemory(BarMemory&& other) noexcept
    : file_{std::move(other.file_)}, bytes_{std::exchange(other.bytes_, {})}
{
}

BarMemory& BarMemory::operator=(BarMemory&& other) noexcept
{
    std::swap(file_, other.file_);
    std::swap(bytes_, other.bytes_);
    return *this;
}

BarMemory::~BarMemory()
{
    if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

}  // namespace pinfold::pci
