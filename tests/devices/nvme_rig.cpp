#include "devices/nvme_rig.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "base/read_section.hpp"
#include "devices/nvme/model.hpp"
#include "host/guarded_copy.hpp"

namespace pinfold::devices::nvme {
namespace {

void require(bool fine, std::string const& what)
{
    if (!fine) throw std::runtime_error{"test rig: " + what};
}

std::filesystem::path scratch_directory()
{
    constexpr auto kMemory = "/dev/shm";
    return ::access(kMemory, W_OK | X_OK) == 0 ? kMemory : std::filesystem::temp_directory_path();
}

}  // namespace

TestDisk::TestDisk(std::uint64_t size) : TestDisk{size, scratch_directory()} {}

TestDisk::TestDisk(std::uint64_t size, std::filesystem::path const& directory)
    : path_{(directory / "pinfold-nvme-XXXXXX").string()}
{
    file_ = UniqueFd{::mkostemp(path_.data(), O_CLOEXEC)};
    require(file_.get() >= 0, "no temporary file " + path_);
    resize(size);
}

TestDisk::~TestDisk() { ::unlink(path_.c_str()); }

std::uint64_t TestDisk::size() const
{
    struct stat status{};
    require(::fstat(file_.get(), &status) == 0, "fstat");
    return static_cast<std::uint64_t>(status.st_size);
}

void TestDisk::resize(std::uint64_t size)
{
    require(::ftruncate(file_.get(), static_cast<off_t>(size)) == 0, "ftruncate");
}

std::vector<std::byte> TestDisk::read(std::uint64_t offset, std::uint64_t size) const
{
    std::vector<std::byte> bytes(size);
    auto const got = ::pread(file_.get(), bytes.data(), size, static_cast<off_t>(offset));
    require(got == static_cast<ssize_t>(size), "pread");
    return bytes;
}

void TestDisk::write(std::uint64_t offset, std::span<std::byte const> bytes)
{
    auto const put = ::pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    require(put == static_cast<ssize_t>(bytes.size()), "pwrite");
}

std::uint64_t TestDisk::allocated() const
{
    struct stat status{};
    require(::fstat(file_.get(), &status) == 0, "fstat");
    return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

TestEventfd::TestEventfd() : fd_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)}
{
    require(fd_.get() >= 0, "eventfd");
}

std::uint64_t TestEventfd::take()
{
    std::uint64_t count = 0;
    return ::read(fd_.get(), &count, sizeof count) == sizeof count ? count : 0;
}

NvmeRig::NvmeRig(std::vector<pci::Setting> settings)
    : arena_{static_cast<std::byte*>(
          ::mmap(nullptr, kArena, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))}
{
    host::install_recovery();
    require(arena_ != MAP_FAILED, "mmap");
    std::memset(arena_, 0xa5, kGuard);
    std::memset(arena_ + kGuard + kSize, 0xa5, kGuard);
    iommu_ = std::move(iommu::Iommu::create({}).value());
    domain_ = std::move(iommu_->create_domain().value());
    endpoint_ = std::make_unique<iommu::Endpoint>(*iommu_, "0000:00:04.0");
    require(endpoint_->attach(*domain_).has_value(), "attach");
    map_arena();

    auto function = pci::Function::create(*endpoint_, memory_, model(),
                                          {.model = "nvme", .settings = std::move(settings)});
    require(function.has_value(), function ? "" : function.error());
    function_ = std::move(*function);
    function_->open();
    set_bus_master(true);
}

NvmeRig::~NvmeRig()
{
    function_.reset();
    endpoint_.reset();
    for (auto const paddr : pages_) memory_.unpin(paddr, 1);
    ::munmap(arena_, kArena);
}

void NvmeRig::map_arena()
{
    pages_.resize(kSize / kPage);
    auto const start = reinterpret_cast<std::uint64_t>(memory().data());
    for (std::size_t done = 0; done < pages_.size();) {
        auto const pinned = memory_.pin(process_, Vaddr{start + done * kPage}, host::Intent::write,
                                        std::span{pages_}.subspan(done));
        require(pinned.has_value(), "pin");
        done += *pinned;
    }
    for (std::size_t i = 0; i < pages_.size(); ++i) {
        require(
            domain_->map(Iova{kIova + i * kPage}, pages_[i], kPage, Prot::read_write).has_value(),
            "map");
    }
}

void NvmeRig::unmap(std::uint64_t iova, std::uint64_t pages)
{
    iommu::Gather gather;
    require(domain_->unmap(Iova{iova}, pages * kPage, gather) == pages * kPage, "unmap");
    domain_->sync(gather);
}

void NvmeRig::write(std::uint64_t offset, unsigned width, std::uint64_t value)
{
    require(function_->mmio_write(0, offset, width, value).has_value(), "BAR write");
}

std::uint32_t NvmeRig::read32(std::uint64_t offset)
{
    return static_cast<std::uint32_t>(function_->mmio_read(0, offset, 4).value());
}

std::uint64_t NvmeRig::read64(std::uint64_t offset)
{
    return function_->mmio_read(0, offset, 8).value();
}

void NvmeRig::set_bus_master(bool on) { function_->config_write(4, 2, on ? 6 : 2); }

std::span<std::byte> NvmeRig::memory(std::uint64_t iova, std::uint64_t size) const
{
    require(iova >= kIova && iova - kIova <= kSize && size <= kSize - (iova - kIova),
            "memory outside the arena");
    return memory().subspan(iova - kIova, size);
}

bool NvmeRig::guards_untouched() const
{
    auto const pattern = [](std::byte byte) { return byte == std::byte{0xa5}; };
    return std::all_of(arena_, arena_ + kGuard, pattern) &&
           std::all_of(arena_ + kGuard + kSize, arena_ + kArena, pattern);
}

std::uint64_t NvmeRig::allocate(std::uint64_t pages)
{
    auto const iova = next_;
    std::ranges::fill(memory(iova, pages * kPage), std::byte{0});
    next_ += pages * kPage;
    return iova;
}

void NvmeRig::set_irqs(pci::IrqRequest const& request)
{
    auto const open = [](int fd) -> Result<UniqueFd> { return UniqueFd{::dup(fd)}; };
    require(function_->set_irqs(request, open).has_value(), "SET_IRQS");
}

void NvmeRig::enable_msix(std::vector<TestEventfd> const& vectors)
{
    std::vector<std::int32_t> descriptors;
    for (auto const& vector : vectors) descriptors.push_back(vector.get());
    set_irqs({.index = pci::IrqIndex::msix,
              .data = pci::IrqRequest::Data::eventfd,
              .count = static_cast<std::uint32_t>(descriptors.size()),
              .booleans = {},
              .descriptors = descriptors});
}

void NvmeRig::disable(pci::IrqIndex index)
{
    set_irqs({.index = index, .booleans = {}, .descriptors = {}});
}

void NvmeRig::enable_intx(TestEventfd const& eventfd)
{
    std::int32_t const descriptor = eventfd.get();
    set_irqs({.index = pci::IrqIndex::intx,
              .data = pci::IrqRequest::Data::eventfd,
              .count = 1,
              .booleans = {},
              .descriptors = {&descriptor, 1}});
}

void NvmeRig::unmask_intx()
{
    set_irqs({.index = pci::IrqIndex::intx,
              .action = pci::IrqRequest::Action::unmask,
              .count = 1,
              .booleans = {},
              .descriptors = {}});
}

}  // namespace pinfold::devices::nvme
