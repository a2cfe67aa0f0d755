// What the launcher may do, sampled before it enters any namespace, and what it must not hand on.
#pragma once

#include <cstdint>

#include "host/locked_memory.hpp"

namespace pinfold::cli {

// Whether this thread holds `capability` (CAP_...) effectively, in whatever user namespace it is.
bool effective(unsigned capability);

// CAP_IPC_LOCK, and in the initial user namespace: rule P-4 asks capable(), which no other
// namespace's capability answers.
host::LockCap sample_lock_cap();

// The capability bounding set, one bit for each.
std::uint64_t bounding_set();
// Takes everything out of the bounding set that is not in `kept`: a new user namespace starts with
// a full one.
void limit_bounding_set(std::uint64_t kept);

}  // namespace pinfold::cli
