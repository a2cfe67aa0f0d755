#include "native/files.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

#include "base/page_size.hpp"

namespace pinfold::native {

File::~File()
{
    for (View const& view : views_) (void)::munmap(view.memory, view.bytes);
}

Result<View*> File::view(std::uint64_t offset, std::uint64_t size)
try {
    std::uint64_t const end = offset + size;
    if (!views_.empty() && end <= views_.front().bytes) return &views_.front();
    struct stat status = {};
    if (::fstat(fd_.get(), &status) != 0) return fail(static_cast<Errno>(errno));
    // The last page is there to its end.
    std::uint64_t const bytes = k4K.align_up(static_cast<std::uint64_t>(status.st_size));
    if (end > bytes) return fail(Errno::fault);

    View& view = views_.emplace_front(View{this, nullptr, bytes});
    int const protection = writable_ ? PROT_READ | PROT_WRITE : PROT_READ;
    void* const memory = ::mmap(nullptr, view.bytes, protection, MAP_SHARED, fd_.get(), 0);
    if (memory == MAP_FAILED) {
        int const error = errno;
        views_.pop_front();
        return fail(static_cast<Errno>(error));
    }
    view.memory = static_cast<std::byte*>(memory);
    drop_old_views();
    return &view;
} catch (std::bad_alloc const&) {
    return fail(Errno::nomem);
}

void File::settle()
{
    for (View& view : views_) view.uses -= std::exchange(view.leaving, 0);
}

void File::drop_old_views()
{
    for (auto view = views_.begin(); view != views_.end();) {
        if (view->uses != 0 || view == views_.begin()) {
            ++view;
            continue;
        }
        (void)::munmap(view->memory, view->bytes);
        view = views_.erase(view);
    }
}

bool File::in_use() const
{
    return handles_ != 0 ||
           std::ranges::any_of(views_, [](View const& view) { return view.uses != 0; });
}

Result<File*> Files::open(int fd)
try {
    struct stat status = {};
    if (::fstat(fd, &status) != 0) return fail(Errno::badf);
    int const flags = ::fcntl(fd, F_GETFL);
    if (flags < 0) return fail(Errno::badf);
    int const mode = flags & O_ACCMODE;
    if (mode == O_WRONLY || (flags & O_PATH) != 0) return fail(Errno::acces);
    if (!S_ISREG(status.st_mode)) return fail(Errno::nodev);
    bool const writable = mode == O_RDWR;
    for (File& file : files_)
        if (file.device_ == status.st_dev && file.inode_ == status.st_ino &&
            file.writable_ == writable) {
            ++file.handles_;
            return &file;
        }
    UniqueFd own{::fcntl(fd, F_DUPFD_CLOEXEC, 0)};
    if (!own) return fail(Errno::mfile);
    File& file = files_.emplace_back(std::move(own), status.st_dev, status.st_ino, writable);
    file.handles_ = 1;
    return &file;
} catch (std::bad_alloc const&) {
    return fail(Errno::nomem);
}

void Files::close(File& file)
{
    --file.handles_;
    drop_unused();
}

void Files::settle()
{
    for (File& file : files_) file.settle();
    drop_unused();
}

void Files::drop_unused()
{
    for (File& file : files_) file.drop_old_views();
    files_.remove_if([](File const& file) { return !file.in_use(); });
}

}  // namespace pinfold::native
