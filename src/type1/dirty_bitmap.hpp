// The dirty bits of one mapping, one for each granule, kept and written out as the kernel does it,
// including what its in-place shift leaves behind (rules B-9 to B-12).
#pragma once

#include <cstdint>
#include <vector>

#include "base/address.hpp"
#include "base/result.hpp"
#include "host/process.hpp"

namespace pinfold::type1 {

class DirtyBitmap {
public:
    // Room for `granules` clean bits. EINVAL: more than 2^31 - 1 of them (rule B-1).
    static Result<DirtyBitmap> of(std::uint64_t granules);
    DirtyBitmap() = default;

    // Granules `first` to first + count - 1, of `granules` in all, have been written.
    void mark(std::uint64_t first, std::uint64_t count, std::uint64_t granules);
    // All have, as far as anybody knows; until the next reset().
    void mark_all() { all_ = true; }

    // What a query does: if `all`, every one of the `granules` is dirty (rule B-5); the bits are
    // moved to where a bitmap that begins `offset` granules before the mapping has them, and the
    // words are written to `user`, which is where that bitmap lies. EFAULT: `user` is not
    // accessible; the bits stay moved.
    Result<> write_out(host::Process& process, Vaddr user, std::uint64_t granules,
                       std::uint64_t offset, bool all);

    // After GET_BITMAP: bits 0 to granules - 1 are clean, and no others.
    void reset(std::uint64_t granules);

private:
    void make_room(std::uint64_t granules);
    void fill(std::uint64_t first, std::uint64_t count, bool dirty);
    void shift_up(std::size_t words, unsigned shift);

    std::vector<std::uint64_t> words_;
    bool all_ = false;
};

}  // namespace pinfold::type1
