#include "preload/wire.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

namespace pinfold::preload {
namespace {

constexpr std::size_t kHead = offsetof(Message, payload);

// Room for one descriptor.
union Control {
    cmsghdr head;
    std::array<std::byte, CMSG_SPACE(sizeof(int))> room;
};

UniqueFd received_descriptor(msghdr& header)
{
    cmsghdr const* const control = CMSG_FIRSTHDR(&header);
    if (control == nullptr || control->cmsg_type != SCM_RIGHTS) return {};
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(control), sizeof fd);
    return UniqueFd{fd};
}

}  // namespace

Result<std::array<Connection, 2>> Connection::pair()
{
    std::array<int, 2> ends{-1, -1};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0)
        return fail(errno == EMFILE ? Errno::mfile : Errno::nomem);
    return std::array{Connection{UniqueFd{ends[0]}}, Connection{UniqueFd{ends[1]}}};
}

bool Connection::await() const
{
    pollfd wait{.fd = socket_.get(), .events = POLLIN, .revents = 0};
    while (::poll(&wait, 1, -1) < 0)
        if (errno != EINTR) return false;
    return (wait.revents & POLLIN) != 0;
}

Result<> Connection::send(Message const& message, int descriptor) const
{
    iovec part{const_cast<Message*>(&message), kHead + message.size};
    Control control{};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    if (descriptor >= 0) {
        header.msg_control = &control;
        header.msg_controllen = sizeof control.room;
        cmsghdr* const rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof descriptor);
        std::memcpy(CMSG_DATA(rights), &descriptor, sizeof descriptor);
    }
    while (::sendmsg(socket_.get(), &header, MSG_NOSIGNAL) < 0)
        if (errno != EINTR) return fail(Errno::io);
    return {};
}

Result<> Connection::receive(Message& message, UniqueFd& descriptor) const
{
    iovec part{&message, sizeof message};
    Control control{};
    msghdr header{};
    ssize_t got = -1;
    do {
        header = {};
        header.msg_iov = &part;
        header.msg_iovlen = 1;
        header.msg_control = &control;
        header.msg_controllen = sizeof control.room;
        got = ::recvmsg(socket_.get(), &header, MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got < static_cast<ssize_t>(kHead) || message.size > Message::kRoom ||
        static_cast<std::size_t>(got) != kHead + message.size)
        return fail(Errno::io);
    descriptor = received_descriptor(header);
    return {};
}

}  // namespace pinfold::preload
