#include "uapi/file.hpp"

namespace pinfold::uapi {

Reply File::read(Client&, Vaddr, std::uint64_t, std::uint64_t) { return fail(Errno::inval); }

Reply File::write(Client&, Vaddr, std::uint64_t, std::uint64_t) { return fail(Errno::inval); }

Reply File::at_position(FunctionRef<Reply(std::uint64_t)> transfer)
{
    std::uint64_t const start = position_.load(std::memory_order_relaxed);
    auto const done = TRY(transfer(start));
    position_.store(start + done, std::memory_order_relaxed);
    return done;
}

Reply File::mmio_read(std::uint64_t, unsigned) { return fail(Errno::inval); }

Reply File::mmio_write(std::uint64_t, unsigned, std::uint64_t) { return fail(Errno::inval); }

Result<BarMapping> File::mmap(std::uint64_t, std::uint64_t, bool) { return fail(Errno::nodev); }

}  // namespace pinfold::uapi
