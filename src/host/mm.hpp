// What is left of a process when it has gone: its account, which mappings still point at (rules P-9
// to P-12), and the knowledge that it has. The kernel's mm_struct, as VFIO keeps it. Thread safe.
#pragma once

#include <mutex>

#include "host/locked_memory.hpp"

namespace pinfold::host {

class Process;

class Mm {
public:
    Mm(Process& process, LockedMemory::Source& source, PageSize host_page)
        : locked_memory{source, host_page}, process_{&process}
    {
    }
    Mm(Mm const&) = delete;
    Mm& operator=(Mm const&) = delete;

    // mmget_not_zero(): keeps the process from ending while this is held. False: it has ended.
    class Use {
    public:
        explicit Use(Mm& mm) : lock_{mm.mutex_}, process_{mm.process_} {}
        explicit operator bool() const { return process_ != nullptr; }
        Process& process() const { return *process_; }

    private:
        std::lock_guard<std::mutex> lock_;
        Process* process_;
    };

    // The process ends; its destructor says so first. Waits for every Use.
    void end()
    {
        std::lock_guard const lock{mutex_};
        process_ = nullptr;
    }

    // Charged by the process itself or under a Use: the source of its limits goes with it.
    // Uncharged at any time.
    LockedMemory locked_memory;

private:
    std::mutex mutex_;
    Process* process_;
};

}  // namespace pinfold::host
