// Running a copy of a client's instruction, in a fault handler, with the registers of the
// interrupted thread: its memory operand is memory of ours, so that its effect on registers and on
// the operand is the processor's own. Async-signal-safe.
#pragma once

#include <signal.h>
#include <ucontext.h>

#include <optional>

#include "preload/address_space.hpp"
#include "preload/instruction.hpp"

namespace pinfold::preload {

// Carries out a plan of the form `executed`: reads what the instruction reads, runs it, writes what
// it has written, and sets the context behind it. REQUIRES: the bus is held alone.
// nullopt: done. Otherwise the context is as it was, and the client gets the fault: of the memory,
// or of the instruction itself (a division by zero).
// `impossible` instead: this process may have no memory to execute, or the kernel keeps no vector
// state that can be loaded.
struct Execution {
    std::optional<Fault> fault = std::nullopt;
    bool impossible = false;
};
Execution execute(Plan const& plan, Vaddr operand, ucontext_t& context, AddressSpace& space);

// In a fault handler: true if the fault was a copy's, and the context now resumes behind it.
bool recover_execution(siginfo_t const& info, ucontext_t& context);

// Held while an instruction accesses devices: by one thread alone where the instruction locks the
// bus, so that nothing comes between its read and its write; by any number of others otherwise.
class BusHold {
public:
    enum class Kind { shared, alone };
    explicit BusHold(Kind kind);
    ~BusHold();
    BusHold(BusHold const&) = delete;
    BusHold& operator=(BusHold const&) = delete;

private:
    Kind const kind_;
};

// In a child of fork(2), where another thread may have been in any of the above.
void forget_executions();

}  // namespace pinfold::preload
