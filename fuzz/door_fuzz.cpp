#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <vector>

#include "host/guarded_copy.hpp"
#include "host/lock_source.hpp"
#include "host/own_process.hpp"
#include "input.hpp"
#include "machine/machine.hpp"

namespace {

using namespace pinfold;

// A client whose descriptors are small numbers: 100 + n is the n-th file, 200 an eventfd.
class FuzzClient final : public uapi::Client {
public:
    explicit FuzzClient(host::Process& process) : process_{process} {}
    host::Process& process() override { return process_; }
    Result<uapi::FileId> file(int fd) override
    {
        auto const index = static_cast<std::size_t>(fd - 100);
        if (fd < 100 || index >= files.size()) return fail(Errno::badf);
        return files[index];
    }
    Result<UniqueFd> eventfd(int fd) override
    {
        if (fd != 200) return fail(Errno::badf);
        return UniqueFd{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    }
    Result<int> install(uapi::FileId file) override
    {
        if (files.size() >= 8) return fail(Errno::mfile);
        files.push_back(file);
        return static_cast<int>(99 + files.size());
    }
    std::vector<uapi::FileId> files;

private:
    host::Process& process_;
};

// 64 KiB that arguments point into; what is fed comes to lie at its start.
std::byte* arena()
{
    static auto* const made = static_cast<std::byte*>(
        ::mmap(nullptr, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    return made;
}

void feed(Input& input)
{
    for (std::size_t word = 0; word < 8; ++word) {
        auto value = input.take<std::uint64_t>();
        if (value % 7 == 0) value = reinterpret_cast<std::uint64_t>(arena()) + (value % 16) * 4096;
        std::memcpy(arena() + word * 8, &value, sizeof value);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size)
{
    Input input{data, size};
    host::install_recovery();
    host::FixedLockSource source{1 << 20};
    host::OwnProcess process{source, k4K};
    auto description = machine::load("vtd");
    auto device = machine::parse_device("edu,bdf=0000:00:04.0");
    if (!description || !device) std::abort();
    description->devices.push_back(*device);
    auto const machine = machine::Machine::build(*description, process);
    if (!machine) std::abort();
    auto& door = (*machine)->door();
    FuzzClient client{process};
    client.files = {*door.open_container(),
                    *door.open_group(machine::assign_groups(*description)[0])};
    // Most of the way in, so that the rest of the input meets an open device.
    int container = 100;
    std::memcpy(arena(), &container, sizeof container);
    auto const ioctl = [&](int fd, std::uint32_t request, std::uint64_t arg) {
        return door.call(client, {.file = client.files[static_cast<std::size_t>(fd - 100)],
                                  .request = request,
                                  .arg = arg});
    };
    auto const at = reinterpret_cast<std::uint64_t>(arena());
    (void)ioctl(101, 0x3b68, at);
    (void)ioctl(100, 0x3b66, 1 + input.take<std::uint8_t>() % 4);
    std::memcpy(arena(), "0000:00:04.0", 13);
    (void)ioctl(101, 0x3b6a, at);
    for (int step = 0; step < 64 && !input.empty(); ++step) {
        feed(input);
        auto const which = input.take<std::uint8_t>();
        uapi::Call call{.file = client.files[which % client.files.size()],
                        .op = static_cast<uapi::Call::Op>(which / 16 % 5),
                        .request = 0x3b00U + 100 + input.take<std::uint8_t>() % 24,
                        .arg = which % 5 == 0 ? input.take<std::uint64_t>() : at,
                        .size = input.take<std::uint16_t>(),
                        .offset = (std::uint64_t{input.take<std::uint8_t>()} % 10) << 40 |
                                  input.take<std::uint16_t>()};
        (void)door.call(client, call);
    }
    while (!client.files.empty()) {
        door.release(client.files.back());
        client.files.pop_back();
    }
    if ((*machine)->memory().pinned_pages() != 0) std::abort();  // nothing outlives its container
    return 0;
}
