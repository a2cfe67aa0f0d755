#include "machine/counters.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <new>

#include "base/unique_fd.hpp"
#include "machine/run_names.h"

namespace pinfold::machine {

namespace {

// A process may be followed by another of the same number, or share it across PID namespaces.
UniqueFd create_file(std::filesystem::path const& directory)
{
    constexpr int kTries = 1000;
    for (int i = 0; i < kTries; ++i) {
        auto const file = directory / (std::to_string(::getpid()) + '.' + std::to_string(i));
        UniqueFd fd{::open(file.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644)};
        if (fd || errno != EEXIST) return fd;
    }
    return {};
}

std::vector<std::filesystem::path> files_in(std::filesystem::path const& directory)
{
    std::vector<std::filesystem::path> files;
    std::error_code failed;
    for (std::filesystem::directory_iterator entry{directory, failed}, end; !failed && entry != end;
         entry.increment(failed))
        files.push_back(entry->path());
    std::ranges::sort(files);
    return files;
}

}  // namespace

void CountersUnmap::operator()(Counters* counters) const { ::munmap(counters, sizeof(Counters)); }

SharedCounters create_counters(std::filesystem::path const& state)
{
    auto const fd = create_file(state / PINFOLD_DIR_COUNTERS);
    if (!fd || ::ftruncate(fd.get(), sizeof(Counters)) != 0) return nullptr;
    void* const memory =
        ::mmap(nullptr, sizeof(Counters), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    if (memory == MAP_FAILED) return nullptr;
    auto* const counters = new (memory) Counters{};
    counters->size = sizeof(Counters);
    counters->pid = static_cast<std::uint64_t>(::getpid());
    return SharedCounters{counters};
}

std::vector<Counters> read_counters(std::filesystem::path const& state)
{
    std::vector<Counters> all;
    for (auto const& file : files_in(state / PINFOLD_DIR_COUNTERS)) {
        UniqueFd const fd{::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)};
        Counters counters;
        if (!fd || ::read(fd.get(), &counters, sizeof counters) != ssize_t{sizeof counters})
            continue;
        if (counters.magic == Counters::kMagic && counters.size == sizeof counters)
            all.push_back(counters);
    }
    return all;
}

}  // namespace pinfold::machine
