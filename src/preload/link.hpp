// A guest's way to the engine that owns a file: calls go there as messages, and what the owner asks
// back is answered here, on the calling thread. Thread safe; one call at a time.
#pragma once

#include <atomic>
#include <mutex>
#include <vector>

#include "preload/wire.hpp"
#include "uapi/call.hpp"

namespace pinfold::preload {

class Link {
public:
    // What the owner's questions are answered with; outlives the link.
    class Answers {
    public:
        virtual ~Answers() = default;
        virtual uapi::Client& client() = 0;
        // The owner's file behind a descriptor of ours. EBADF, or FileId::none as Client::file().
        virtual Result<uapi::FileId> file_of(Link const& link, int fd) = 0;
        // A new descriptor of ours for the owner's file.
        virtual Result<int> install_from(Link& link, uapi::FileId file) = 0;
    };

    Link(Connection connection, Answers& answers);

    // EIO: the owner is gone.
    uapi::Reply call(uapi::Call const& call);

    struct Mapping {
        UniqueFd memory;
        uapi::BarMapping bar;  // without the memory, without a device that is to be reached here
    };
    Result<Mapping> map(uapi::FileId file, std::uint64_t offset, std::uint64_t size, bool shared);

    // The owner's file that `fd` is a descriptor of, held by us from then on; FileId::none: it is
    // none of that owner's.
    Result<uapi::FileId> recognise(int fd);
    // We hold `file` once less. One that is on its way through a socket.
    void dropped(uapi::FileId file);
    void sent(uapi::FileId file);
    // Returns when the owner has seen to the ends of all its guests.
    void settle();
    // A connection for a child of ours; for a program that is offered `files`, of which as many
    // count as fit into a message.
    Result<Connection> another();
    Result<Connection> another(std::vector<std::uint32_t> const& files);
    // We, a program that has begun, have recognised all that we have of what was offered to us.
    void begun();

    // The host pages that the owner's containers have charged to us. EIO: the owner is gone.
    Result<std::uint64_t> charged();

    // Whether the owner was still there at the last call.
    bool alive() const { return alive_; }
    // True once: the owner's end has yet to be told to somebody.
    bool tell_end() { return !alive_ && !told_.exchange(true); }
    // In a child of fork(2), which must not speak for its parent: the socket, for the caller to
    // close. Takes no lock: a thread of the parent may have it.
    int abandon()
    {
        alive_ = false;
        return connection_.take().release();
    }

private:
    // Sends message_ as a question, serves the owner until it answers, and leaves the answer there.
    // REQUIRES for all: mutex_ held.
    Result<> ask(UniqueFd& descriptor, int with = -1);
    Result<> ask();
    void serve(UniqueFd& back);
    Result<> introduce();
    Result<Connection> ask_for_connection();
    Message& question(Message::Kind kind);

    Connection connection_;
    Answers& answers_;
    std::mutex mutex_;
    // Here and not on the stack, which may be a small one for signals.
    Message message_, answer_;
    bool introduced_ = false;
    std::atomic<bool> alive_{true};
    std::atomic<bool> told_{false};
};

}  // namespace pinfold::preload
