// The engine in the client's process: one machine behind the stub's calls. It has no rules of its
// own; it knows which descriptor is which file, where BARs are mapped, and hands everything to the
// machine's door. Thread safe, but for the functions that say otherwise.
#pragma once

#include <signal.h>
#include <sys/uio.h>

#include <atomic>
#include <condition_variable>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/standstill.hpp"
#include "machine/counters.hpp"
#include "machine/machine.hpp"
#include "machine/removal_watch.hpp"
#include "machine/run_state.hpp"
#include "preload/bar_map.hpp"
#include "preload/client_process.hpp"
#include "preload/fd_table.hpp"
#include "preload/journal.hpp"
#include "preload/link.hpp"
#include "preload/nodes.hpp"
#include "preload/offer.hpp"
#include "preload/remotes.hpp"
#include "preload/sharing.hpp"
#include "preload/signals.hpp"
#include "preload/succession_mutex.hpp"
#include "preload/successor.hpp"
#include "uapi/call.hpp"

namespace pinfold::preload {

class Engine final : public uapi::Client, private Owner, private Link::Answers {
public:
    using Leaving = host::Memory::Leaving;

    // The sentence says why there can be no engine. `state` is the run's state directory; `owners`
    // the stub's table.
    static machine::Checked<std::unique_ptr<Engine>> create(std::filesystem::path const& state,
                                                            std::uint32_t* owners);

    // What the stub calls (preload/abi.h); results are 0, a value, or a negative errno.
    long ioctl(int fd, unsigned long request, std::uint64_t arg);
    long pread(int fd, Vaddr buffer, std::uint64_t size, std::uint64_t offset);
    long pwrite(int fd, Vaddr buffer, std::uint64_t size, std::uint64_t offset);
    long read(int fd, Vaddr buffer, std::uint64_t size);
    long write(int fd, Vaddr buffer, std::uint64_t size);
    enum class Way : std::uint8_t { in, out };
    long vectors(Way way, int fd, iovec const* parts, long count, off_t offset, int flags);
    int stand_in(int fd) const;
    long mmap(void* address, std::size_t size, int prot, int flags, int fd, std::uint64_t offset);
    long opened(int fd);
    long adopt(int fd);
    void closed(uapi::FileId file);
    void duplicated(int fd, int copy);
    long leaving(void* address, std::size_t size, Leaving how);
    long mremap(void* address, std::size_t size, std::size_t new_size, int flags,
                void* new_address);
    long locking(void const* address, std::size_t size, bool mapping);
    void status(int fd);
    // A buffer of a system call that lies, in part, in BARs.
    bool in_bar(void const* start, std::size_t size) const;
    long copy_bar(void* buffer, std::span<std::byte> memory, Way way);
    long mprotect(void* address, std::size_t size, int prot) const;

    // A fault at `address`: an access to a BAR is carried out, or refused where it is not decoded.
    Signals::Verdict carry_out_mmio(siginfo_t const& info, ucontext_t& context);

    // Around fork(2): what the engine holds for the process is at rest while the kernel copies it.
    void before_fork();
    void after_fork();
    // In the child, instead: the open files stay the parent's (or whose they were), and are reached
    // by messages. What the child opens itself gets a machine of its own.
    void become_child();
    // A descriptor of `fd`'s file is about to leave through a socket; or it did not.
    void sending(int fd, bool sent);

    // Programs that are about to begin (preload/abi.h), and the end of this one.
    void share();
    void before_exec(std::span<char> held);
    void exec_failed();
    void before_spawn(bool any_fd, std::span<char> held);
    void after_spawn();
    void before_vfork();
    void after_vfork() { after_spawn(); }
    void before_borrowed_exec(std::span<char> held);
    void borrowed_exec_failed();
    void take_held(std::string_view held);
    void before_exit();

    // Brings the run's counters up to date.
    void publish();

    // uapi::Client.
    host::Process& process() override { return *process_; }
    Result<uapi::FileId> file(int fd) override;
    Result<UniqueFd> eventfd(int fd) override;
    Result<int> install(uapi::FileId file) override;
    bool bound(std::string_view device) override { return device_bound(device); }
    bool in_use_by_kernel(unsigned group) override { return group_in_use_by_kernel(group); }
    Result<uapi::DmaClaim> claim_dma(unsigned group) override { return claim_group_dma(group); }

private:
    Engine(std::filesystem::path state, machine::RunState run, machine::Description description,
           std::unique_ptr<host::LockedMemory::Source> lock_source, std::uint32_t* owners);

    // Owner: what guests reach.
    uapi::Reply guest_call(uapi::Client& client, uapi::Call const& call) override;
    Result<uapi::BarMapping> guest_map(uapi::FileId file, std::uint64_t offset, std::uint64_t size,
                                       bool shared) override;
    uapi::FileId recognise(int fd) override;
    void hold(uapi::FileId file) override { fds_.retain(file); }
    void let_go(uapi::FileId file) override { (void)drop(file); }
    void departed(uapi::FileId file) override;
    void arrived(uapi::FileId file) override;
    Result<Connection> welcome(Holds files, Terms terms) override
    {
        return sharing_.welcome(std::move(files), terms);
    }
    void settle() override { sharing_.settle(); }
    bool device_bound(std::string_view name) const override;
    bool group_in_use_by_kernel(unsigned group) const override;
    Result<uapi::DmaClaim> claim_group_dma(unsigned group) override;
    PageSize host_page() const override { return description_.host.page_size; }

    // Link::Answers: what owners ask of us as their guest.
    uapi::Client& client() override { return *this; }
    Result<uapi::FileId> file_of(Link const& link, int fd) override;
    Result<int> install_from(Link& link, uapi::FileId file) override;

    Link::Answers& answers() { return *this; }

    Result<> build_machine();
    void watch_removals();
    Result<UniqueFd> claim_group(unsigned number) const;
    void drop_free_claims();
    long open_at(int fd, Node const& node);
    Result<uapi::FileId> open_node(Node const& node);
    long call(int fd, uapi::Call call);
    long transfer(Way way, int fd, uapi::Call const& call);
    uapi::Reply dispatch(uapi::Call call);
    Result<> watch_for(uapi::FileId file, int fd);
    Result<int> install_as(uapi::FileId file);
    Result<void*> map_bar(void* address, std::size_t size, int prot, int flags, uapi::FileId file,
                          uapi::BarMapping const& bar);
    Result<Link::Mapping> bar_of(uapi::FileId file, std::uint64_t offset, std::uint64_t size,
                                 bool shared);
    std::optional<uapi::FileId> find_owner(int fd);
    long adopt_one(int fd);
    void see_inherited();
    Link* link_to(std::filesystem::path const& socket);
    Result<uapi::FileId> open_group(unsigned number);
    bool group_has_node(unsigned number) const;
    bool removed(std::string_view name) const;
    void settle_everywhere();
    // Pages that the owners of files which we use have charged to us.
    std::uint64_t charged_elsewhere();
    std::optional<uapi::FileId> ask(Link& link, int fd);
    std::vector<Link*> all_links();
    void resume_all();
    void leave_machine();
    void reach_by(std::optional<Connection> owner,
                  std::vector<std::pair<Link*, Connection>> links_instead);

    Holds own_files(bool of_bars) const;
    void offer(Offer& made, bool any_fd);
    bool begin_offer(bool any_fd);
    void abandon_offers();
    bool others_have_files();
    bool make_successor();
    static bool making_keeper();
    bool stand_still();
    void settle_as_successor();
    void keep();
    bool only_on_the_way();
    bool drop(uapi::FileId file);  // true: the last holder has gone, and the file with it
    void release(uapi::FileId file);
    void publish_now_and_then();

    std::filesystem::path const state_;
    machine::RunState const run_;
    machine::Description const description_;
    std::unique_ptr<host::LockedMemory::Source> const lock_source_;
    BarMap bars_;
    std::unique_ptr<ClientProcess> process_;
    Nodes const nodes_;
    FdTable fds_;
    UniqueFd directory_;                  // state_, also where a chroot(2) has hidden it
    UniqueFd anonymous_;                  // what a device's descriptor looks like
    std::optional<FileJournal> journal_;  // from build_machine() on
    std::unique_ptr<machine::Machine> machine_;
    std::unique_ptr<machine::RemovalWatch> removals_;  // likewise; of this machine
    std::atomic<machine::Machine*> live_{nullptr};     // machine_, for whoever must not wait
    machine::SharedCounters counters_;
    std::mutex build_mutex_;
    std::mutex claims_mutex_;
    std::unordered_map<unsigned, UniqueFd> group_claims_;  // by group number
    std::mutex dma_mutex_;
    std::unordered_map<unsigned, UniqueFd> dma_claims_;  // of groups in containers; likewise

    std::filesystem::path const owners_;  // where their sockets are
    Sharing sharing_;
    Remotes remotes_;
    std::mutex shares_mutex_;                                // guards what follows
    std::unordered_map<std::uint32_t, UniqueFd> witnesses_;  // a descriptor of each file of ours
    std::unordered_map<std::uint32_t, unsigned> on_the_way_;
    std::atomic<bool> inherited_seen_{false};
    std::list<Link> links_;  // to owners; they stay, for files name them
    std::map<std::string, Link*> links_by_socket_;
    // From before_fork() on: connections for the child, in our place and in those of our links.
    std::optional<Connection> for_child_;
    std::vector<std::pair<Link*, Connection>> links_for_child_;
    // While a program is about to be replaced, or the process to end.
    SuccessionMutex succession_mutex_;
    std::unique_ptr<Offer> offered_;
    std::set<Offer*> offers_;  // of threads in a posix_spawn(3) or vfork(2)
    std::optional<Successor> successor_;
    std::optional<Standstill> still_;
    bool busy_at_the_end_ = false;
    std::mutex let_go_mutex_;
    std::condition_variable let_go_;  // a file has been, where that matters: in a keeper
    std::atomic<std::uint64_t> next_publish_{0};
};

}  // namespace pinfold::preload
