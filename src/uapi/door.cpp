#include "uapi/door.hpp"

#include <algorithm>
#include <atomic>
#include <new>

#include "type1/container.hpp"
#include "uapi/container_file.hpp"
#include "uapi/file_table.hpp"
#include "uapi/group_file.hpp"

namespace pinfold::uapi {
namespace {

// The one place where scarcity in the shape of an exception becomes an errno.
template <class F>
auto guarded(F const& function) -> decltype(function())
{
    try {
        return function();
    } catch (std::bad_alloc const&) {
        return fail(Errno::nomem);
    }
}

Reply dispatch(File& file, Client& client, Call const& call)
{
    switch (call.op) {
        case Call::Op::ioctl: return file.ioctl(client, call.request, call.arg);
        case Call::Op::read: return file.read(client, Vaddr{call.arg}, call.size, call.offset);
        case Call::Op::write: return file.write(client, Vaddr{call.arg}, call.size, call.offset);
        case Call::Op::read_next:
            return file.at_position([&](std::uint64_t offset) {
                return file.read(client, Vaddr{call.arg}, call.size, offset);
            });
        case Call::Op::write_next:
            return file.at_position([&](std::uint64_t offset) {
                return file.write(client, Vaddr{call.arg}, call.size, offset);
            });
        case Call::Op::mmio_read:
            return file.mmio_read(call.offset, static_cast<unsigned>(call.size));
        case Call::Op::mmio_write:
            return file.mmio_write(call.offset, static_cast<unsigned>(call.size), call.arg);
    }
    return fail(Errno::inval);
}

}  // namespace

struct Door::Impl final : Files {
    struct OpenableGroup {
        GroupEntry entry;
        std::atomic<bool> open{false};
    };

    Impl(type1::Settings const& settings_in, std::vector<GroupEntry> entries,
         std::vector<ResetDomain> domains)
        : settings{settings_in}, groups(entries.size()), reset_domains{std::move(domains)}
    {
        for (std::size_t i = 0; i < entries.size(); ++i) groups[i].entry = std::move(entries[i]);
    }

    std::optional<unsigned> group_number(FileId id) override
    {
        auto const file = table.find(id);
        return file ? file->group_number() : std::nullopt;
    }

    type1::Settings const& settings;
    std::vector<OpenableGroup> groups;
    std::vector<ResetDomain> reset_domains;
    FileTable table;  // last, because files look at what stands above
};

Door::Door(type1::Settings const& settings, std::vector<GroupEntry> groups,
           std::vector<ResetDomain> reset_domains)
    : impl_{std::make_unique<Impl>(settings, std::move(groups), std::move(reset_domains))}
{
}

Door::~Door() = default;

Result<FileId> Door::open_container()
{
    return guarded([&] {
        return impl_->table.insert(std::make_unique<ContainerFile>(
            std::make_shared<type1::Container>(impl_->settings), impl_->settings.kernel));
    });
}

Result<FileId> Door::open_group(unsigned number)
{
    return guarded([&]() -> Result<FileId> {
        auto const found = std::ranges::find(
            impl_->groups, number, [](Impl::OpenableGroup const& it) { return it.entry.number; });
        if (found == impl_->groups.end()) return fail(Errno::noent);
        auto token = TRY(OpenToken::take(found->open));
        return impl_->table.insert(std::make_unique<GroupFile>(
            found->entry, std::move(token),
            GroupFile::Surroundings{impl_->table, *impl_, impl_->settings.memory.page_size(),
                                    impl_->settings.kernel, impl_->reset_domains}));
    });
}

Reply Door::call(Client& client, Call const& call)
{
    auto const file = impl_->table.find(call.file);
    if (!file) return fail(Errno::badf);
    return guarded([&] { return dispatch(*file, client, call); });
}

Result<BarMapping> Door::mmap(FileId id, std::uint64_t offset, std::uint64_t size, bool shared)
{
    auto const file = impl_->table.find(id);
    if (!file) return fail(Errno::badf);
    return guarded([&] { return file->mmap(offset, size, shared); });
}

void Door::release(FileId file) { impl_->table.release(file); }

}  // namespace pinfold::uapi
