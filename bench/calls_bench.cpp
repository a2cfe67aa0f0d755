// What a call costs: answered by Pinfold, passed through by it, and made by the kernel, interleaved
// in one run under `pinfold run`. Prints medians and the ratios that matter; docs/performance.md
// explains them.
#include <benchmark/benchmark.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/vfio.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr char const* kBdf = "0000:00:04.0";

int must(int result, char const* what)
{
    if (result >= 0) return result;
    std::perror(what);
    std::exit(1);
}

struct Device {
    int container, group, device;
    off_t config;
    std::uint32_t volatile* registers;

    Device()
    {
        auto const link = std::string{"/sys/bus/pci/devices/"} + kBdf + "/iommu_group";
        char target[256] = {};
        must(static_cast<int>(::readlink(link.c_str(), target, sizeof target - 1)), link.c_str());
        auto const node = std::string{"/dev/vfio/"} + (std::strrchr(target, '/') + 1);
        container = must(::open("/dev/vfio/vfio", O_RDWR), "/dev/vfio/vfio");
        group = must(::open(node.c_str(), O_RDWR), node.c_str());
        must(::ioctl(group, VFIO_GROUP_SET_CONTAINER, &container), "SET_CONTAINER");
        must(::ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), "SET_IOMMU");
        device = must(::ioctl(group, VFIO_GROUP_GET_DEVICE_FD, kBdf), "GET_DEVICE_FD");
        config = offset(VFIO_PCI_CONFIG_REGION_INDEX);
        void* const at = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, device,
                                offset(VFIO_PCI_BAR0_REGION_INDEX));
        if (at == MAP_FAILED) must(-1, "mmap BAR0");
        registers = static_cast<std::uint32_t volatile*>(at);
    }
    off_t offset(unsigned index) const
    {
        vfio_region_info info{};
        info.argsz = sizeof info;
        info.index = index;
        must(::ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info), "GET_REGION_INFO");
        return static_cast<off_t>(info.offset);
    }
};

Device& device()
{
    static Device opened;
    return opened;
}

int null_fd()
{
    static int const fd = must(::open("/dev/null", O_RDWR), "/dev/null");
    return fd;
}

void kernel_getppid(benchmark::State& state)
{
    for (auto _ : state) benchmark::DoNotOptimize(::syscall(SYS_getppid));
}

void check_extension(benchmark::State& state)
{
    int const fd = device().container;
    for (auto _ : state)
        benchmark::DoNotOptimize(::ioctl(fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU));
}

void get_info(benchmark::State& state)
{
    int const fd = device().container;
    struct {
        vfio_iommu_type1_info info;
        std::uint8_t capabilities[256];
    } room{};
    for (auto _ : state) {
        room.info.argsz = sizeof room;
        benchmark::DoNotOptimize(::ioctl(fd, VFIO_IOMMU_GET_INFO, &room));
    }
}

void config_pread(benchmark::State& state)
{
    auto const& opened = device();
    std::uint32_t value = 0;
    for (auto _ : state)
        benchmark::DoNotOptimize(::pread(opened.device, &value, sizeof value, opened.config));
}

void register_read_trapped(benchmark::State& state)
{
    auto const* const registers = device().registers;
    for (auto _ : state) benchmark::DoNotOptimize(registers[1]);
}

void register_write_trapped(benchmark::State& state)
{
    auto* const registers = device().registers;
    for (auto _ : state) registers[1] = 5;
}

void map_and_unmap(benchmark::State& state)
{
    auto const size = static_cast<std::uint64_t>(state.range(0));
    void* const memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    vfio_iommu_type1_dma_map map{};
    map.argsz = sizeof map;
    map.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
    map.vaddr = reinterpret_cast<std::uint64_t>(memory);
    map.iova = 0x10000000;
    map.size = size;
    vfio_iommu_type1_dma_unmap unmap{};
    unmap.argsz = sizeof unmap;
    unmap.iova = map.iova;
    for (auto _ : state) {
        unmap.size = size;
        must(::ioctl(device().container, VFIO_IOMMU_MAP_DMA, &map), "MAP_DMA");
        must(::ioctl(device().container, VFIO_IOMMU_UNMAP_DMA, &unmap), "UNMAP_DMA");
    }
    (void)::munmap(memory, size);
}

// What a call on a descriptor that is not ours pays for going by way of the stub: batches of calls
// through the C library and of the C library's own function, in turns; the median of the
// differences, in ns for one call.
template <class Through, class Direct>
double toll(Through through, Direct direct)
{
    constexpr int kBatch = 2000;
    constexpr int kRounds = 401;
    auto const time = [](auto call) {
        timespec before{};
        timespec after{};
        (void)::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
        for (int i = 0; i < kBatch; ++i) benchmark::DoNotOptimize(call());
        (void)::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
        return static_cast<double>(after.tv_sec - before.tv_sec) * 1e9 +
               static_cast<double>(after.tv_nsec - before.tv_nsec);
    };
    std::vector<double> differences;
    for (int round = 0; round < kRounds; ++round) {
        bool const first = round % 2 == 0;
        double const one = first ? time(through) : time(direct);
        double const other = first ? time(direct) : time(through);
        differences.push_back((first ? one - other : other - one) / kBatch);
    }
    std::nth_element(differences.begin(), differences.begin() + kRounds / 2, differences.end());
    return differences[kRounds / 2];
}

// ---- what a trapped access costs beside the trap itself ----

// The bare minimum: a handler that steps over the instruction, a `mov` of two bytes.
void step_over(int, siginfo_t*, void* context)
{
    static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP] += 2;
}

[[gnu::noinline]] void load(void volatile* address)
{
    asm volatile("movl (%%rdi), %%eax" : : "D"(address) : "eax", "memory");
}

[[gnu::noinline]] void store(void volatile* address)
{
    asm volatile("movl %%eax, (%%rdi)" : : "D"(address), "a"(5) : "memory");
}

using Touch = void(void volatile*);

double ns_of_touches(Touch* touch, void volatile* address, int times)
{
    timespec before{};
    timespec after{};
    (void)::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
    for (int i = 0; i < times; ++i) touch(address);
    (void)::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
    return (static_cast<double>(after.tv_sec - before.tv_sec) * 1e9 +
            static_cast<double>(after.tv_nsec - before.tv_nsec)) /
           times;
}

double median(std::vector<double>& values)
{
    auto const middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

// The C library's own function, whatever was preloaded in front of it.
template <class Function>
Function* own(char const* name, Function* /*like*/)
{
    void* const library = ::dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
    void* const found = library == nullptr ? nullptr : ::dlsym(library, name);
    if (found == nullptr) must(-1, name);
    return reinterpret_cast<Function*>(found);
}

void print_tolls()
{
    int const fd = null_fd();
    char byte = 0;
    auto* const own_ioctl = own("ioctl", &::ioctl);
    auto* const own_pread = own("pread64", &::pread64);
    auto* const own_read = own("read", &::read);
    auto* const own_write = own("write", &::write);
    auto* const own_fstat = own("fstat", static_cast<int (*)(int, struct stat*)>(&::fstat));
    struct stat status{};
    fmt::print("What a foreign descriptor's call pays for passing by, ns (goal: at most 8):\n");
    fmt::print("  {:<24} {:+12.1f}\n", "ioctl",
               toll([&] { return ::ioctl(fd, 0x5401, nullptr); },
                    [&] { return own_ioctl(fd, 0x5401, nullptr); }));
    fmt::print("  {:<24} {:+12.1f}\n", "pread",
               toll([&] { return ::pread64(fd, &byte, 1, 0); },
                    [&] { return own_pread(fd, &byte, 1, 0); }));
    fmt::print("  {:<24} {:+12.1f}\n", "read",
               toll([&] { return ::read(fd, &byte, 1); }, [&] { return own_read(fd, &byte, 1); }));
    fmt::print(
        "  {:<24} {:+12.1f}\n", "write",
        toll([&] { return ::write(fd, &byte, 1); }, [&] { return own_write(fd, &byte, 1); }));
    fmt::print("  {:<24} {:+12.1f}\n", "fstat",
               toll([&] { return ::fstat(fd, &status); }, [&] { return own_fstat(fd, &status); }));
}

// The same instruction on a device's register and on a page without access whose faults a bare
// handler answers, in turns; the ratio of the medians.
void print_trap_ratio(std::string_view what, Touch* touch)
{
    constexpr int kBatch = 200;
    constexpr int kRounds = 401;
    using Sigaction = int(int, struct sigaction const*, struct sigaction*);
    auto* const own_sigaction = own("sigaction", static_cast<Sigaction*>(nullptr));
    struct sigaction engine{};
    struct sigaction bare{};
    bare.sa_sigaction = step_over;
    bare.sa_flags = SA_SIGINFO;
    must(own_sigaction(SIGSEGV, nullptr, &engine), "sigaction");
    void* const nothing = ::mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    std::vector<double> trapped;
    std::vector<double> stepped;
    for (int round = 0; round < kRounds; ++round) {
        trapped.push_back(ns_of_touches(touch, &device().registers[1], kBatch));
        must(own_sigaction(SIGSEGV, &bare, nullptr), "sigaction");
        stepped.push_back(ns_of_touches(touch, nothing, kBatch));
        must(own_sigaction(SIGSEGV, &engine, nullptr), "sigaction");
    }
    (void)::munmap(nothing, 4096);
    double const ours = median(trapped);
    double const theirs = median(stepped);
    fmt::print("A trapped register {}, and a SIGSEGV whose handler steps over it (goal: 1.15):\n",
               what);
    fmt::print("  {:<24} {:12.1f}\n  {:<24} {:12.1f}\n  {:<24} {:12.2f}\n", "trapped, ns", ours,
               "SIGSEGV alone, ns", theirs, "ratio", ours / theirs);
}

BENCHMARK(kernel_getppid);
BENCHMARK(check_extension);
BENCHMARK(get_info);
BENCHMARK(config_pread);
BENCHMARK(register_read_trapped);
BENCHMARK(register_write_trapped);
BENCHMARK(map_and_unmap)->Arg(4096)->Arg(2 << 20)->Arg(64 << 20);

// Keeps the median of each benchmark; at the end prints them, and what follows from them.
class Medians : public benchmark::BenchmarkReporter {
public:
    bool ReportContext(Context const&) override { return true; }
    void ReportRuns(std::vector<Run> const& runs) override
    {
        for (auto const& run : runs)
            if (run.aggregate_name == "median")
                medians_[run.run_name.function_name + bytes(run)] = run.GetAdjustedCPUTime();
    }
    void Finalize() override
    {
        fmt::print("Calls, median ns of CPU time:\n");
        for (auto const& [name, time] : medians_) fmt::print("  {:<24} {:12.1f}\n", name, time);
        double const call = at("kernel_getppid");
        fmt::print("Ratio to a real system call (goal: below 1):\n");
        for (auto const* const name : {"check_extension", "get_info", "config_pread"})
            fmt::print("  {:<24} {:12.2f}\n", name, at(name) / call);
    }

private:
    static std::string bytes(Run const& run)
    {
        return run.run_name.args.empty() ? "" : " " + run.run_name.args;
    }
    double at(std::string const& name) const
    {
        auto const found = medians_.find(name);
        return found == medians_.end() ? 0.0 : found->second;
    }
    std::map<std::string, double> medians_;
};

}  // namespace

int main(int argc, char** argv)
{
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
    (void)device();
    Medians reporter;
    bool const ran = benchmark::RunSpecifiedBenchmarks(&reporter) > 0;
    print_tolls();
    print_trap_ratio("read", load);
    print_trap_ratio("write", store);
    return ran ? 0 : 1;
}
