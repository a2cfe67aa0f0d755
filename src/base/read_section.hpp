// Read-side sections of userspace RCU, shared by everything that a device's access passes through:
// page tables, IOTLB, frames. An access runs inside a ReadSection; whoever takes a translation or a
// frame away waits for the sections that might still use it. Entering costs a few nanoseconds and
// never blocks. Thread safe; a thread is registered with liburcu at its first section.
#pragma once

namespace pinfold {

class ReadSection {
public:
    ReadSection();
    ~ReadSection();
    ReadSection(ReadSection const&) = delete;
    ReadSection& operator=(ReadSection const&) = delete;
};

// Returns once every ReadSection that was open at the call has closed.
// REQUIRES: the calling thread is in no ReadSection.
void wait_for_readers();

// Makes sections usable in the children of fork(2), by handlers of pthread_atfork(3). REQUIRES:
// called once.
void survive_fork();

}  // namespace pinfold
