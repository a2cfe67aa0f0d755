// Random mappings of every leaf size and permission in a table under test, and probes of them: at
// their ends, inside, beside, and in holes. Beside the table stands a plain list of what was
// mapped, which decides what is expected; that the engine's own walk says so too is checked while
// the plan is made.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "expected.hpp"
#include "ram.hpp"
#include "readers.hpp"

namespace pinfold::tables {

struct Planned {
    ::probe probe;
    Expected expected;
};

class Plan {
public:
    Plan(Subject& subject, Ram& ram, Reader const& reader, Random& random)
        : subject_{&subject}, ram_{&ram}, reader_{&reader}, random_{&random}
    {
    }

    // Neither mapped nor probed.
    void avoid(IovaRange range) { avoided_.push_back(range); }
    // One granule that leads to `paddr`, read and written, at an IOVA of its own.
    Iova map_window(Paddr paddr);
    void map_randomly(unsigned mappings);
    // Some go, some of those come again elsewhere.
    void unmap_some();

    // Reads and writes of everything that is mapped and of as many holes.
    std::vector<Planned> probes();

    struct Mapping {
        Iova last;
        Paddr paddr;
        Prot prot;
    };
    std::map<Iova, Mapping> const& mappings() const { return mappings_; }
    std::uint64_t mapped_ever() const { return mapped_ever_; }

    // A probe of `iova`. nullopt: its place is not one to touch, or a probe has it already.
    std::optional<Planned> probe(Iova iova, std::uint64_t kind);
    // Whether nobody reads or writes there.
    bool untouched(Paddr paddr) const { return ram_->free(paddr) && !claimed_.contains(paddr); }
    // Where the list and the engine's walk, or the engine and a call, do not agree.
    std::vector<std::string> const& troubles() const { return troubles_; }

private:
    std::uint64_t random_below(std::uint64_t bound) { return below(*random_, bound); }
    bool avoided(IovaRange range) const;
    PageSize any_size();
    Iova any_iova(PageSize size);
    Paddr any_paddr(PageSize size, std::uint64_t bytes);
    void map_one();
    void map_at(Iova iova, Paddr paddr, std::uint64_t bytes, Prot prot);
    Expected listed(Iova iova, Access access) const;
    void add(std::vector<Planned>& to, Iova iova, std::uint64_t kind);
    void add_all_kinds(std::vector<Planned>& to, Iova iova);
    void probe_mapping(std::vector<Planned>& to, Iova start, Mapping const& mapping);
    bool claim(Paddr paddr);

    Subject* subject_;
    Ram* ram_;
    Reader const* reader_;
    Random* random_;
    std::map<Iova, Mapping> mappings_;
    std::set<Paddr> claimed_;
    std::uint64_t mapped_ever_ = 0;
    std::vector<IovaRange> avoided_;
    std::vector<std::string> troubles_;
};

// What a probed place holds before the guest runs: tells where a read that went astray ended.
std::uint64_t marker(Paddr paddr);
std::optional<Paddr> marked(std::uint64_t value);

}  // namespace pinfold::tables
