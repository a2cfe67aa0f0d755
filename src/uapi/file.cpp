#include "uapi/file.hpp"

namespace pinfold::uapi {

Reply File::read(Client&, Vaddr, std::uint64_t, std::uint64_t) { return fail(Errno::inval); }

Reply File::write(Client&, Vaddr, std::uint64_t, std::uint64_t) { return fail(Errno::inval); }

Reply File::mmio_read(std::uint64_t, unsigned) { return fail(Errno::inval); }

Reply File::mmio_write(std::uint64_t, unsigned, std::uint64_t) { return fail(Errno::inval); }

Result<BarMapping> File::mmap(std::uint64_t, std::uint64_t, bool) { return fail(Errno::nodev); }

}  // namespace pinfold::uapi
