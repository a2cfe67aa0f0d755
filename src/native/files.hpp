// Memory that clients share as files: one mapping of each file, however many parts of it are mapped
// for devices. A file is the same whatever its descriptor's number; a descriptor that may not write
// is another one.
//
// Thread safety: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <vector>

#include <sys/types.h>

#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace pinfold::native {

class File;

// All of a file's bytes, mapped shared. It stays where it is while anything uses it.
struct View {
    File* file;
    std::byte* memory;
    std::uint64_t bytes;
    std::uint64_t uses = 0;     // by mappings
    std::uint64_t leaving = 0;  // of these, which have gone; readers may be there
};

class File {
public:
    File(UniqueFd fd, dev_t device, ino_t inode, bool writable)
        : fd_{std::move(fd)}, device_{device}, inode_{inode}, writable_{writable}
    {
    }
    ~File();
    File(File const&) = delete;
    File& operator=(File const&) = delete;

    bool writable() const { return writable_; }

    // What holds the bytes [offset, offset + size). A file that has grown is mapped anew, beside
    // what is in use. EFAULT: the file ends before. ENOMEM; or as mmap(2) fails.
    Result<View*> view(std::uint64_t offset, std::uint64_t size);
    // Mappings that have gone use their views no more. REQUIRES: no reader is left in them.
    void settle();
    // Unmaps views that nothing uses and that a longer one has replaced.
    void drop_old_views();
    bool in_use() const;

private:
    friend class Files;
    UniqueFd fd_;
    dev_t device_;
    ino_t inode_;
    bool writable_;
    std::uint64_t handles_ = 0;
    std::list<View> views_;  // the longest first
};

class Files {
public:
    // One handle more on what `fd` refers to; the descriptor may be closed afterwards. EBADF.
    // EACCES: it cannot be read. ENODEV: it is no file with bytes. EMFILE, ENOMEM.
    Result<File*> open(int fd);
    void close(File& file);
    // The mappings that have gone use nothing any more, and what nothing uses goes. REQUIRES: no
    // reader is left in it.
    void settle();
    std::size_t count() const { return files_.size(); }

private:
    void drop_unused();

    std::list<File> files_;
};

}  // namespace pinfold::native
