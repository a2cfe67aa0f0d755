// The engine among other processes: as the owner of files that guests use, as a guest itself, and
// when it forks.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>

#include "base/worker.hpp"
#include "preload/engine.hpp"
#include "preload/execution.hpp"
#include "preload/log.hpp"

namespace pinfold::preload {
namespace {

std::uint32_t key(uapi::FileId file) { return static_cast<std::uint32_t>(file); }

// Nobody listens there: that process has gone.
std::optional<Connection> connect_to(std::filesystem::path const& socket)
{
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    auto const path = socket.string();
    if (path.size() >= sizeof address.sun_path) return std::nullopt;
    std::ranges::copy(path, std::begin(address.sun_path));
    UniqueFd connection{::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)};
    if (!connection || ::connect(connection.get(), reinterpret_cast<sockaddr const*>(&address),
                                 sizeof address) != 0)
        return std::nullopt;
    return Connection{std::move(connection)};
}

// Visits the sockets of the run's owners, but for `own`, until `visit` is satisfied.
template <class Visit>
void each_owner(std::filesystem::path const& directory, std::string const& own, Visit visit)
{
    std::error_code error;
    for (auto const& entry : std::filesystem::directory_iterator{directory, error})
        if (entry.is_socket(error) && entry.path() != own && visit(entry.path())) return;
}

}  // namespace

// ---- as an owner ----

uapi::Reply Engine::guest_call(uapi::Client& client, uapi::Call const& call)
{
    machine::Machine* const machine = live_.load(std::memory_order_acquire);
    if (machine == nullptr) return fail(Errno::io);
    auto const reply = machine->door().call(client, call);
    publish_now_and_then();
    return reply;
}

Result<uapi::BarMapping> Engine::guest_map(uapi::FileId file, std::uint64_t offset,
                                           std::uint64_t size, bool shared)
{
    machine::Machine* const machine = live_.load(std::memory_order_acquire);
    if (machine == nullptr) return fail(Errno::io);
    return machine->door().mmap(file, offset, size, shared);
}

// A descriptor of our own for each open file, so that it can be told again when the program has
// closed all of its own and others have not.
Result<> Engine::watch_for(uapi::FileId file, int fd)
{
    UniqueFd witness{::fcntl(fd, F_DUPFD_CLOEXEC, 0)};
    if (!witness) return fail(errno == EMFILE ? Errno::mfile : Errno::nomem);
    std::scoped_lock const lock{shares_mutex_};
    witnesses_.insert_or_assign(key(file), std::move(witness));
    return {};
}

uapi::FileId Engine::recognise(int fd)
{
    std::scoped_lock const lock{shares_mutex_};
    for (auto const& [file, witness] : witnesses_)
        if (same_description(fd, witness.get())) return static_cast<uapi::FileId>(file);
    return uapi::FileId::none;
}

// What is on its way is held like what has arrived.
void Engine::departed(uapi::FileId file)
{
    hold(file);
    std::scoped_lock const lock{shares_mutex_};
    ++on_the_way_[key(file)];
}

void Engine::arrived(uapi::FileId file)
{
    {
        std::scoped_lock const lock{shares_mutex_};
        auto const found = on_the_way_.find(key(file));
        if (found == on_the_way_.end()) return;
        if (--found->second == 0) on_the_way_.erase(found);
    }
    let_go(file);
}

void Engine::sending(int fd, bool sent)
{
    auto const file = static_cast<uapi::FileId>(fds_.owner(fd));
    if (key(file) == PINFOLD_INTERNAL || key(file) == PINFOLD_ORPHAN ||
        key(file) == PINFOLD_FOREIGN)
        return;
    Inside const inside;
    if (Remotes::covers(file)) {
        auto const& remote = remotes_.at(file);
        if (sent) remote.link->sent(remote.file);
        return;
    }
    if (!sent) return arrived(file);
    departed(file);
    sharing_.listen();
}

// ---- as a guest ----

std::optional<uapi::FileId> Engine::ask(Link& link, int fd)
{
    auto const file = link.recognise(fd);
    if (!file || *file == uapi::FileId::none) return std::nullopt;
    auto const number = remotes_.number(link, *file);
    if (number) return *number;
    link.dropped(*file);
    return std::nullopt;
}

// A link to the owner behind that socket, new or known. nullptr: it has gone.
Link* Engine::link_to(std::filesystem::path const& socket)
{
    std::scoped_lock const lock{shares_mutex_};
    auto const known = links_by_socket_.find(socket);
    if (known != links_by_socket_.end() && known->second->alive()) return known->second;
    auto connection = connect_to(socket);
    if (!connection) return nullptr;
    Link* const link = &links_.emplace_back(std::move(*connection), answers());
    links_by_socket_.insert_or_assign(socket, link);
    return link;
}

// Whose file an unknown descriptor is, among the owners of the run.
std::optional<uapi::FileId> Engine::find_owner(int fd)
{
    std::vector<Link*> const known = all_links();
    for (Link* const link : known)
        if (auto const file = ask(*link, fd)) return file;
    std::optional<uapi::FileId> found;
    each_owner(owners_, sharing_.address(), [&](std::filesystem::path const& socket) {
        Link* const link = link_to(socket);
        bool const asked = std::ranges::find(known, link) != known.end();
        if (link != nullptr && !asked) found = ask(*link, fd);
        return found.has_value();
    });
    return found;
}

void Engine::settle_everywhere()
{
    sharing_.settle();
    each_owner(owners_, sharing_.address(), [&](std::filesystem::path const& socket) {
        if (Link* const link = link_to(socket)) link->settle();
        return false;
    });
}

std::uint64_t Engine::charged_elsewhere()
{
    std::uint64_t pages = 0;
    for (Link* const link : all_links())
        if (link->alive()) pages += link->charged().value_or(0);
    return pages;
}

Result<uapi::FileId> Engine::file_of(Link const& link, int fd)
{
    auto const file = TRY(this->file(fd));
    if (!Remotes::covers(file)) return uapi::FileId::none;  // of another machine, if of any
    auto const& remote = remotes_.at(file);
    return remote.link == &link ? remote.file : uapi::FileId::none;
}

Result<int> Engine::install_from(Link& link, uapi::FileId file)
{
    return install_as(TRY(remotes_.number(link, file)));
}

// ---- fork(2) ----

std::vector<Link*> Engine::all_links()
{
    std::scoped_lock const lock{shares_mutex_};
    std::vector<Link*> links;
    for (auto& link : links_) links.push_back(&link);
    return links;
}

// What guests hold is not the program's.
Owner::Holds Engine::own_files(bool of_bars) const
{
    Holds files;
    for (int const fd : fds_.descriptors()) files.insert(fds_.owner(fd));
    if (of_bars)
        for (auto const file : bars_.holds()) files.insert(key(file));
    std::erase_if(
        files, [](std::uint32_t file) { return Remotes::covers(static_cast<uapi::FileId>(file)); });
    return files;
}

// Connections for the child first, while everything still works; then nothing of the engine is
// under way. A successor's fork is in a Standstill, and has what it needs; without one it comes to
// nothing.
void Engine::before_fork()
{
    if (making_keeper()) {
        if (!stand_still()) return;
    } else {
        succession_mutex_.lock();
        for_child_.reset();
        links_for_child_.clear();
        if (live_.load(std::memory_order_acquire) != nullptr) {
            if (auto files = own_files(true); !files.empty()) {
                sharing_.listen();
                if (auto connection = sharing_.welcome(std::move(files), Terms::held))
                    for_child_ = std::move(*connection);
            }
        }
        for (Link* const link : all_links())
            if (link->alive())
                if (auto connection = link->another())
                    links_for_child_.emplace_back(link, std::move(*connection));
    }
    build_mutex_.lock();
    claims_mutex_.lock();
    dma_mutex_.lock();
    sharing_.pause();
    shares_mutex_.lock();
    remotes_.pause();
    bars_.pause();
    fds_.pause();
}

void Engine::resume_all()
{
    fds_.resume();
    bars_.resume();
    remotes_.resume();
    shares_mutex_.unlock();
    sharing_.resume();
    dma_mutex_.unlock();
    claims_mutex_.unlock();
    build_mutex_.unlock();
}

void Engine::after_fork()
{
    if (!making_keeper() || still_) resume_all();
    if (making_keeper()) return;
    for_child_.reset();
    links_for_child_.clear();
    succession_mutex_.unlock();
}

// What the parent's engine is made of is left where it is: other threads of the parent may have
// been in any part of it. What stands for the process itself begins anew.
void Engine::become_child()
{
    if (!making_keeper() || still_) resume_all();
    if (making_keeper()) return;  // a successor, which looks after itself
    abandon_offers();
    succession_mutex_.unlock();
    sharing_.pause();
    sharing_.forget([this](int fd) { fds_.close_hidden(fd); });
    Worker::forget_all();
    forget_executions();
    group_claims_.clear();
    dma_claims_.clear();
    witnesses_.clear();
    std::vector<Link*> const old = all_links();
    leave_machine();
    reach_by(std::exchange(for_child_, std::nullopt), std::exchange(links_for_child_, {}));
    for (Link* const link : old) fds_.close_hidden(link->abandon());
}

// The machine is another process's from now on; what it is made of stays where it is.
void Engine::leave_machine()
{
    live_.store(nullptr, std::memory_order_release);
    (void)machine_.release();
    (void)removals_.release();
    (void)process_.release();
    (void)counters_.release();
    process_ = std::make_unique<ClientProcess>(*lock_source_, description_.host.page_size,
                                               description_.kernel, bars_);
    on_the_way_.clear();
    links_by_socket_.clear();
}

// What was ours is reached by `owner` from now on, and what was a link's by the one that is
// instead.
void Engine::reach_by(std::optional<Connection> owner,
                      std::vector<std::pair<Link*, Connection>> links_instead)
{
    Link* const ours = owner ? &links_.emplace_back(std::move(*owner), answers()) : nullptr;
    std::vector<std::pair<Link*, Link*>> instead;
    for (auto& [link, connection] : links_instead)
        instead.emplace_back(link, &links_.emplace_back(std::move(connection), answers()));
    remotes_.rebind([&](Link* link) {
        auto const found = std::ranges::find(instead, link, &std::pair<Link*, Link*>::first);
        return found != instead.end() ? found->second : link;
    });
    auto const now = [&](uapi::FileId file) {
        if (Remotes::covers(file)) return file;
        if (ours == nullptr) return uapi::FileId::none;
        return remotes_.number(*ours, file).value_or(uapi::FileId::none);
    };
    fds_.rebind(now);
    bars_.rebind(now);
    for (auto const file : bars_.holds()) fds_.retain(file);
}

}  // namespace pinfold::preload
