// Messages between the engine that owns open files and a process that uses them too. One socket for
// each such process (a guest), one call on it at a time; while a call is under way, the owner asks
// back for what it needs of the guest: memory, descriptors, limits.
//
//   guest  -> owner   hello, call, map, recognise, begun, dropped, sent, settle, another,
//                     charged
//   owner  -> guest   read, write, fault_in, file, eventfd, install, limits; at last: answer
//
// Both ends are from one build and trust each other as far as one process trusts its child.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "base/errno.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace pinfold::preload {

struct Message {
    enum class Kind : std::uint32_t {
        hello,      // the guest's pid and name; with its /proc/self/mem, where it may open that
        call,       // a uapi::Call
        map,        // mmap(2): file, offset, size, shared; answered with the BAR's memory
        recognise,  // with a descriptor: which open file it is; the guest holds it from then on
        begun,      // a program that has begun has recognised all of what it was offered
        dropped,    // the guest holds `file` once less
        sent,       // a descriptor of `file` is on its way through a socket
        settle,     // answered once the ends of all guests that have ended are seen to
        another,  // answered with a connection for a child of the guest, which holds the same; or,
                  // with values[0], for a program that is offered the files in the payload
        charged,  // answered with the pages that the guest is charged for
        // and what the owner asks
        read,
        write,
        fault_in,
        file,
        eventfd,
        install,
        limits,
        // and the end of each
        answer
    };
    static constexpr std::size_t kRoom = 4096;

    Kind kind = Kind::answer;
    std::uint32_t error = 0;  // answer: an errno
    std::array<std::uint64_t, 6> values{};
    std::uint32_t size = 0;  // of the payload
    std::array<std::byte, kRoom> payload{};

    std::span<std::byte> bytes() { return std::span{payload}.first(size); }
    template <class T>
    void put(T const& value)
    {
        static_assert(sizeof value <= kRoom && std::is_trivially_copyable_v<T>);
        size = sizeof value;
        std::memcpy(payload.data(), &value, sizeof value);
    }
    template <class T>
    T get() const
    {
        T value;
        std::memcpy(&value, payload.data(), sizeof value);
        return value;
    }
    static Message failed(Errno error)
    {
        Message message;
        message.error = static_cast<std::uint32_t>(number(error));
        return message;
    }
    Result<> result() const
    {
        if (error != 0) return fail(static_cast<Errno>(error));
        return {};
    }
};

class Connection {
public:
    Connection() = default;
    explicit Connection(UniqueFd socket) : socket_{std::move(socket)} {}

    // Both ends of a fresh one. EMFILE, ENOMEM.
    static Result<std::array<Connection, 2>> pair();

    // Returns when there is something to receive. False: there will be nothing.
    bool await() const;
    // EIO: the other side is gone.
    Result<> send(Message const& message, int descriptor = -1) const;
    Result<> receive(Message& message, UniqueFd& descriptor) const;

    int descriptor() const { return socket_.get(); }
    UniqueFd take() { return std::move(socket_); }

private:
    UniqueFd socket_;
};

}  // namespace pinfold::preload
