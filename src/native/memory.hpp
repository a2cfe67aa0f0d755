// Where the index gets its memory from: whole stretches of pages, zeroed. A program may supply its
// own; tests supply one that fails.
#pragma once

#include <cstddef>

namespace pinfold::native {

class Memory {
public:
    virtual ~Memory() = default;

    // Zeroed and aligned to `alignment`, a power of two; a page of it costs memory when it is
    // touched. nullptr: none is left.
    virtual void* take(std::size_t bytes, std::size_t alignment) = 0;
    virtual void give_back(void* memory, std::size_t bytes) = 0;

    // Faults the pages in, so that nothing faults later; `huge` asks for huge pages where the host
    // has them. False: there is no memory.
    enum class Pages { small, huge };
    virtual bool populate(void* memory, std::size_t bytes, Pages pages) = 0;

    // The process's own. Thread safe; lives as long as the program.
    static Memory& system();
};

}  // namespace pinfold::native
