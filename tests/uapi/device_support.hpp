// A client of a device file in a test: this process, with its own memory and descriptors.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/vfio.h>

#include <array>
#include <bit>
#include <filesystem>

#include "pci/function.hpp"
#include "pci/support.hpp"
#include "uapi/device_file.hpp"

namespace pinfold::uapi {

inline std::uint64_t address_of(void const* pointer)
{
    return std::bit_cast<std::uint64_t>(pointer);
}

class TestClient final : public Client {
public:
    explicit TestClient(host::Process& process) : process_{process} {}

    host::Process& process() override { return process_; }
    Result<FileId> file(int fd) override
    {
        if (::fcntl(fd, F_GETFD) < 0) return fail(Errno::badf);
        return FileId::none;
    }
    Result<UniqueFd> eventfd(int fd) override
    {
        if (::fcntl(fd, F_GETFD) < 0) return fail(Errno::badf);
        auto const link = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd));
        if (link != "anon_inode:[eventfd]") return fail(Errno::inval);
        return UniqueFd{::fcntl(fd, F_DUPFD_CLOEXEC, 0)};
    }
    Result<int> install(FileId) override { return fail(Errno::mfile); }

private:
    host::Process& process_;
};

// A device file over a fake device, and calls on it as system calls return them: >= 0 or -errno.
class DeviceFileTest : public testing::Test {
protected:
    explicit DeviceFileTest(pci::Identity identity = pci::full_identity(), PageSize page = k4K,
                            Kernel kernel = Kernel::v7_3)
        : around_{{.page_size = page}},
          function_{pci::Function::create(
                        around_.endpoint(), around_.memory(),
                        [&](pci::Bus& bus) -> pci::Checked<std::unique_ptr<pci::Device>> {
                            auto made = std::make_unique<pci::FakeDevice>(bus, identity);
                            device_ = made.get();
                            return made;
                        },
                        {0xfe00'0000, 0, 0xc000, 0xfe10'1000, 0, 0})
                        .value()},
          file_{make_device_file(*function_,
                                 {.group = 3, .host_page = page, .kernel = kernel, .files = files_})
                    .value()}
    {
        device_->accesses.clear();
        device_->resets = 0;
    }

    static std::int64_t plain(Reply const& reply)
    {
        return reply ? static_cast<std::int64_t>(*reply) : -number(reply.error());
    }
    std::int64_t ioctl(std::uint32_t request, void const* arg)
    {
        return plain(file_->ioctl(client_, request, address_of(arg)));
    }
    std::int64_t pread(void* into, std::uint64_t size, unsigned region, std::uint64_t offset)
    {
        return plain(file_->read(client_, Vaddr{address_of(into)}, size,
                                 std::uint64_t{region} << 40 | offset));
    }
    std::int64_t pwrite(void const* from, std::uint64_t size, unsigned region, std::uint64_t offset)
    {
        return plain(file_->write(client_, Vaddr{address_of(from)}, size,
                                  std::uint64_t{region} << 40 | offset));
    }
    std::uint32_t config(std::uint64_t offset, unsigned size = 4)
    {
        std::uint32_t value = 0;
        EXPECT_EQ(pread(&value, size, 7, offset), size);
        return value;
    }

    struct NoFiles final : Files {
        std::optional<unsigned> group_number(FileId) override { return std::nullopt; }
    };
    pci::Surroundings around_;
    NoFiles files_;
    TestClient client_{around_.process()};
    pci::FakeDevice* device_ = nullptr;
    std::unique_ptr<pci::Function> function_;
    std::unique_ptr<File> file_;
};

// Two pages, the second without any access: what ends at the first is fine.
class Cliff {
public:
    Cliff() { ::mprotect(mapping_.page(1), host::kPage, PROT_NONE); }
    // The last `size` bytes before the edge.
    std::byte* before(std::size_t size) const { return mapping_.page(1) - size; }

private:
    host::TestMapping mapping_{2};
};

}  // namespace pinfold::uapi
