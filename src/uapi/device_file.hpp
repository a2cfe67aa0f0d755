// The file behind a device descriptor. A device may be opened many times (rule G-10): every file
// opens its Function when made and closes it when destroyed; the Function counts.
#pragma once

#include <memory>
#include <string_view>

#include "base/kernel.hpp"
#include "base/page_size.hpp"
#include "base/result.hpp"
#include "uapi/file.hpp"
#include "uapi/hot_reset.hpp"

namespace pinfold::pci {
class Function;
}

namespace pinfold::uapi {

struct DeviceContext {
    unsigned group;      // the number of the group that the function is in
    PageSize host_page;  // what mmap is measured in
    Kernel kernel;
    Files& files;  // outlives the file
    // What a hot reset of the device takes with it; nullptr: it is on the root bus.
    ResetDomain const* reset_domain = nullptr;
};

// Opens `function` (rule V-2). EAGAIN: the function is being reset. ENOMEM.
Result<std::unique_ptr<File>> make_device_file(pci::Function& function, DeviceContext context);

// The canonical name, "dddd:bb:dd.f", that VFIO_GROUP_GET_DEVICE_FD is given (rule G-9).
std::string_view device_name(pci::Function const& function);
// Whether it was unplugged (and is closed): then it has no name any more.
bool device_gone(pci::Function const& function);

}  // namespace pinfold::uapi
