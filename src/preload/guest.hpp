// A process that uses open files of ours, as the owner sees it: a client that is reached by
// messages. One thread serves it until its connection ends. What a call needs of the guest is asked
// on that thread, while the guest waits for the answer; DMA reaches its memory at any time.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string_view>
#include <thread>
#include <unordered_set>

#include "base/kernel.hpp"
#include "host/process.hpp"
#include "host/remote_memory.hpp"
#include "preload/wire.hpp"
#include "uapi/call.hpp"

namespace pinfold::preload {

// What guests reach of the engine that owns the files.
class Owner {
public:
    virtual ~Owner() = default;
    virtual uapi::Reply guest_call(uapi::Client& client, uapi::Call const& call) = 0;
    virtual Result<uapi::BarMapping> guest_map(uapi::FileId file, std::uint64_t offset,
                                               std::uint64_t size, bool shared) = 0;
    // The file that a descriptor, of this process now, shares its description with; none.
    virtual uapi::FileId recognise(int fd) = 0;
    // One holder more, one less.
    virtual void hold(uapi::FileId file) = 0;
    virtual void let_go(uapi::FileId file) = 0;
    // A descriptor of `file` is on its way; has arrived.
    virtual void departed(uapi::FileId file) = 0;
    virtual void arrived(uapi::FileId file) = 0;
    // A connection for one more guest, and its files. EMFILE, ENOMEM, EAGAIN.
    using Holds = std::unordered_set<std::uint32_t>;  // FileIds
    // `held`: the guest has them, as the child of a guest does. `offered`: a program that is about
    // to begin may have them; it recognises those that it has, and then the offer ends.
    enum class Terms { held, offered };
    virtual Result<Connection> welcome(Holds files, Terms terms) = 0;
    // Returns when nothing is held any more by guests that have ended.
    virtual void settle() = 0;
    virtual bool device_bound(std::string_view name) const = 0;
    virtual bool group_in_use_by_kernel(unsigned group) const = 0;
    virtual Result<uapi::DmaClaim> claim_group_dma(unsigned group) = 0;
    virtual PageSize host_page() const = 0;
};

// The guest's memory and limits. Outlives the guest: mappings name it.
class RemoteProcess final : public host::Process, private host::LockedMemory::Source {
public:
    RemoteProcess(Connection const& connection, PageSize host_page);
    ~RemoteProcess() override { mm_->end(); }

    void introduce(host::Task const& task, UniqueFd memory);
    // Questions go to the guest from this thread only.
    void serve_here() { served_by_ = std::this_thread::get_id(); }
    // The guest is gone.
    void end();

    Result<> read(Vaddr from, std::span<std::byte> into) override;
    Result<> write(Vaddr to, std::span<std::byte const> from) override;
    Result<> fault_in(VaddrRange range, host::Intent intent) override;
    std::shared_ptr<host::Mm> const& mm() override { return mm_; }
    host::Task task() const override { return task_; }
    std::byte* local(Vaddr vaddr) override;

    // Asks the guest. EFAULT: it cannot be asked, for it does not wait for us.
    Result<> ask(Message& message, UniqueFd& descriptor);

private:
    std::uint64_t limit_bytes() override;
    std::uint64_t mlocked_bytes() override { return 0; }
    host::LockCap lock_cap() override;
    void refresh_limits();

    Connection const& connection_;
    std::atomic<std::thread::id> served_by_{};
    std::atomic<bool> ended_{false};
    host::Task task_{};
    std::unique_ptr<host::RemoteMemory> memory_;
    std::uint64_t limit_ = 0;
    host::LockCap cap_ = host::LockCap::no;
    std::shared_ptr<host::Mm> mm_;
};

class Guest final : public uapi::Client {
public:
    // `files` are held for the guest already, on those terms.
    Guest(Owner& owner, Connection connection, Owner::Holds files, Owner::Terms terms);

    // Until the connection ends; then what it holds is let go. May begin again, in a process that
    // has taken the machine over in a Standstill. False: this process serves it no more.
    bool serve();
    // REQUIRES: a Standstill, or what is said may be late.
    bool has_files() const { return files_.load(std::memory_order_relaxed) != 0; }

    int descriptor() const { return connection_.descriptor(); }

    // The process, which mappings may go on to name.
    std::unique_ptr<RemoteProcess> leave_behind() { return std::move(process_); }

    host::Process& process() override { return *process_; }
    Result<uapi::FileId> file(int fd) override;
    Result<UniqueFd> eventfd(int fd) override;
    Result<int> install(uapi::FileId file) override;
    bool bound(std::string_view device) override { return owner_.device_bound(device); }
    bool in_use_by_kernel(unsigned group) override { return owner_.group_in_use_by_kernel(group); }
    Result<uapi::DmaClaim> claim_dma(unsigned group) override
    {
        return owner_.claim_group_dma(group);
    }

private:
    Message answer_to(Message& message, UniqueFd& descriptor, int& with);
    Message map(Message const& message, int& with);
    bool holds(uapi::FileId file) const
    {
        return holds_.contains(static_cast<std::uint32_t>(file));
    }
    void take_hold(uapi::FileId file);
    Owner::Holds files_in(Message const& message) const;
    bool answer_one();
    void end_offer();
    void count_files() { files_ = holds_.size() + offered_.size(); }

    Owner& owner_;
    Connection connection_;
    Owner::Holds holds_;
    Owner::Holds offered_;
    std::atomic<std::size_t> files_{0};  // in both
    std::unique_ptr<RemoteProcess> process_;
    bool introduced_ = false;
    UniqueFd given_away_;  // sent with an answer, closed with the next
};

}  // namespace pinfold::preload
