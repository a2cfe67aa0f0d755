// The engine when the program is replaced by another or ends while its files live on: with the
// programs that are about to begin, which it offers their descriptors' files to, and with those who
// hold them already. What the process itself had made becomes a keeper's, another process with a
// copy of its memory, whose guests they all are.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>

#include "base/worker.hpp"
#include "machine/run_processes.hpp"
#include "preload/engine.hpp"
#include "preload/log.hpp"

namespace pinfold::preload {

namespace {

// Of the posix_spawn(3) or vfork(2) that the thread is in; a vfork's child has it too.
[[gnu::tls_model("initial-exec")]] constinit thread_local Offer* spawning = nullptr;
// The thread makes a keeper, also by the fork(2) of the process that does so in its place.
[[gnu::tls_model("initial-exec")]] constinit thread_local bool making = false;

std::optional<int> socket_option(int fd, int option)
{
    int value = 0;
    socklen_t size = sizeof value;
    if (::getsockopt(fd, SOL_SOCKET, option, &value, &size) != 0) return std::nullopt;
    return value;
}

}  // namespace

// ---- offers ----

void Engine::share()
{
    Inside const inside;
    bool const owner = live_.load(std::memory_order_acquire) != nullptr;
    if (owner && !own_files(false).empty()) sharing_.listen();
}

// `any_fd`: descriptors that are marked FD_CLOEXEC may come to be inherited after all.
void Engine::offer(Offer& made, bool any_fd)
{
    Inside const inside;
    Holds own;
    std::map<Link*, std::vector<std::uint32_t>> others;
    for (int const fd : fds_.descriptors()) {
        int const flags = ::fcntl(fd, F_GETFD);
        if (flags < 0 || (!any_fd && (flags & FD_CLOEXEC) != 0)) continue;
        auto const file = static_cast<uapi::FileId>(fds_.owner(fd));
        if (!Remotes::covers(file)) {
            own.insert(static_cast<std::uint32_t>(file));
            continue;
        }
        auto const& remote = remotes_.at(file);
        others[remote.link].push_back(static_cast<std::uint32_t>(remote.file));
    }
    auto const take = [&](Result<Connection> connection) {
        if (connection) made.add(std::move(*connection));
    };
    if (!own.empty()) {
        sharing_.listen();
        take(sharing_.welcome(std::move(own), Terms::offered));
    }
    for (auto const& [link, files] : others)
        if (link->alive()) take(link->another(files));
}

// Another thread's fork must know of it. False: this is a signal handler which has interrupted
// something of the kind, and makes no offer.
bool Engine::begin_offer(bool any_fd)
{
    if (SuccessionMutex::mine()) return false;
    std::scoped_lock const lock{succession_mutex_};
    auto made = std::make_unique<Offer>();
    offer(*made, any_fd);
    offers_.insert(made.get());
    spawning = made.release();
    return true;
}

void Engine::before_spawn(bool any_fd, std::span<char> held)
{
    if (begin_offer(any_fd)) spawning->hand_on(held);
}

void Engine::after_spawn()
{
    if (spawning == nullptr || SuccessionMutex::mine()) return;
    std::scoped_lock const lock{succession_mutex_};
    offers_.erase(spawning);
    delete std::exchange(spawning, nullptr);
}

// They are for programs that this process, a child or a keeper, does not start.
void Engine::abandon_offers()
{
    for (Offer* const made : offers_) made->abandon();
    offers_.clear();
}

// What the child makes of it, it decides by descriptors of its own.
void Engine::before_vfork() { (void)begin_offer(true); }

void Engine::before_borrowed_exec(std::span<char> held)
{
    held[0] = '\0';
    if (spawning == nullptr || spawning->empty() ||
        !any_inheritable([this](int fd) { return nodes_.identify(fd).has_value(); }))
        return;
    spawning->hand_on(held);
}

void Engine::borrowed_exec_failed()
{
    if (spawning != nullptr) spawning->keep_back();
}

void Engine::take_held(std::string_view held)
{
    Inside const inside;
    auto const left = held_in(held);
    // By this process as it was before execve(2), or by the one that called posix_spawn(3).
    if (left.from != ::getpid() && left.from != ::getppid()) return;
    std::vector<Link*> taken;
    for (int const fd : left.descriptors) {
        if (socket_option(fd, SO_DOMAIN) != AF_UNIX || socket_option(fd, SO_TYPE) != SOCK_SEQPACKET)
            continue;
        std::scoped_lock const lock{shares_mutex_};
        taken.push_back(&links_.emplace_back(Connection{UniqueFd{fd}}, answers()));
    }
    see_inherited();
    for (Link* const link : taken) link->begun();
}

// ---- the program is replaced ----

bool Engine::others_have_files()
{
    sharing_.settle();
    std::scoped_lock const lock{shares_mutex_};
    return sharing_.any_has_files() || !on_the_way_.empty();
}

void Engine::before_exec(std::span<char> held)
{
    succession_mutex_.lock();
    offered_ = std::make_unique<Offer>();
    offer(*offered_, false);
    if (live_.load(std::memory_order_acquire) != nullptr && others_have_files())
        (void)make_successor();
    offered_->hand_on(held);
}

void Engine::exec_failed()
{
    if (successor_) successor_->dismiss();
    successor_.reset();
    offered_.reset();
    still_.reset();
    sharing_.settle();  // the offer's guest has gone too
    succession_mutex_.unlock();
}

// ---- the process ends ----

// It goes on as a guest of its keeper: handlers and destructors that are yet to run may use what it
// has open.
void Engine::before_exit()
{
    if (live_.load(std::memory_order_acquire) == nullptr) return;
    // A signal handler that interrupted this very thread there would wait for itself.
    if (SuccessionMutex::mine()) return;
    std::scoped_lock const lock{succession_mutex_};
    if (!others_have_files()) return;
    if (auto files = own_files(true); !files.empty())
        if (auto connection = sharing_.welcome(std::move(files), Terms::held))
            for_child_ = std::move(*connection);
    sharing_.listen();
    if (make_successor()) {
        Worker::dismiss_all();
        group_claims_.clear();
        dma_claims_.clear();
        witnesses_.clear();
        leave_machine();
        successor_->begin();
        reach_by(std::exchange(for_child_, std::nullopt), {});
        still_.reset();
    }
    for_child_.reset();
}

// ---- the keeper ----

bool Engine::making_keeper() { return making; }

// False: whoever holds the files will get EIO, and the log says why.
bool Engine::make_successor()
{
    making = true;
    busy_at_the_end_ = false;
    auto made = Successor::make([this] { settle_as_successor(); }, [this] { keep(); });
    making = false;
    if (made) {
        successor_.emplace(std::move(*made));
        return true;
    }
    log_line(fmt::format("process {}: {}; others that hold its VFIO files will get EIO", ::getpid(),
                         busy_at_the_end_ ? "a VFIO call did not end before the program did"
                                          : "no process can be made that keeps the machine"));
    still_.reset();
    return false;
}

// Amid the fork(2), behind the program's own handlers, which may wait for threads that are busy.
// What is under way ends; a guest that is asked for something may be stopped.
bool Engine::stand_still()
{
    constexpr std::chrono::seconds kPatience{5};
    auto still = Standstill::reach(kPatience);
    if (still) still_.emplace(std::move(*still));
    busy_at_the_end_ = !still;
    return !busy_at_the_end_;
}

void Engine::settle_as_successor()
{
    if (!still_) ::_exit(0);  // not whole
    making = false;
    for_child_.reset();
    offered_.reset();
    abandon_offers();
    for (Link* const link : all_links()) fds_.close_hidden(link->abandon());
    fds_.close_all_but_hidden();
}

// The memory that this process has a copy of is what devices reach of the one that has gone; its
// account has gone with it (rule P-11).
void Engine::keep()
{
    process_->mm()->end();
    still_.reset();
    bool const complete = Worker::begin_again() && sharing_.serve_again();
    if (!complete)
        log_line(fmt::format("process {}: no thread for some of what it keeps", ::getpid()));
    bars_.remove({Vaddr{0}, Vaddr{~std::uint64_t{0}}});
    fds_.forget_descriptors([this](uapi::FileId file) { (void)drop(file); });
    {
        constexpr std::chrono::seconds kLook{1};
        std::unique_lock lock{let_go_mutex_};
        while (fds_.any_held() && !only_on_the_way()) let_go_.wait_for(lock, kLook);
    }
    auto const still = Standstill::reach(std::chrono::seconds{5});
    sharing_.withdraw_address();
    publish();
}

// What is left is in sockets that nobody will read from.
bool Engine::only_on_the_way()
{
    return !sharing_.any_guest() && machine::processes_of(state_).empty();
}

}  // namespace pinfold::preload
