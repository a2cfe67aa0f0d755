// What the engine's own walk says that an access does, and what a reader said that it did.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "guest/orders.h"
#include "subject.hpp"

namespace pinfold::tables {

enum class Outcome : std::uint8_t {
    reaches,   // the place that `paddr` names
    hole,      // an empty word
    denied,    // mapped, but not for this access
    reserved,  // a word that no table may hold
    beyond,    // an IOVA that the table cannot have
    outside,   // the leaf leads to where there is no memory
    astray,    // a word leads to a table that is none
    fault,     // of a kind that this reader does not tell; equal to any but `outside` and `beyond`
    unknown,
};

char const* name(Outcome outcome);

struct Expected {
    Outcome outcome;
    Paddr paddr;  // of `reaches`, and of `denied`: where it would have led; of `astray`: the word
    unsigned level;  // of the word that decided
};

Expected expect(Subject const& subject, Iova iova, Access access);

struct Seen {
    Outcome outcome;
    std::optional<unsigned> level;  // some readers tell
    std::optional<Paddr> paddr;     // some translate
};

Access access_of(::probe const& probe);
bool translates(::probe const& probe);

std::string describe(Expected const& expected);
std::string describe(Seen const& seen);

}  // namespace pinfold::tables
