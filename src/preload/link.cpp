#include "preload/link.hpp"

#include <fcntl.h>

#include <algorithm>

namespace pinfold::preload {
namespace {

using Kind = Message::Kind;

}  // namespace

Link::Link(Connection connection, Answers& answers)
    : connection_{std::move(connection)}, answers_{answers}
{
}

Message& Link::question(Kind kind)
{
    message_.kind = kind;
    message_.size = 0;
    message_.values = {};
    return message_;
}

// Before the first question: who we are, and a way to our memory that outlasts a call. A process
// that may not open its own memory (it has given up a user id) can have no DMA.
Result<> Link::introduce()
{
    if (introduced_) return {};
    answer_ = {.kind = Kind::hello};
    answer_.put(answers_.client().process().task());
    UniqueFd const memory{::open("/proc/self/mem", O_RDWR | O_CLOEXEC)};
    TRY(connection_.send(answer_, memory.get()));
    introduced_ = true;
    return {};
}

Result<> Link::ask(UniqueFd& descriptor, int with)
{
    if (!alive_) return fail(Errno::io);
    auto const exchange = [&]() -> Result<> {
        TRY(introduce());
        TRY(connection_.send(message_, with));
        for (;;) {
            TRY(connection_.receive(message_, descriptor));
            if (message_.kind == Kind::answer) return {};
            UniqueFd back;
            serve(back);
            TRY(connection_.send(answer_, back.get()));
        }
    };
    auto const done = exchange();
    if (!done) alive_ = false;
    TRY(done);
    return message_.result();
}

Result<> Link::ask()
{
    UniqueFd none;
    return ask(none);
}

// What the owner asks, answered. A descriptor that goes back is in `back`.
void Link::serve(UniqueFd& back)
{
    auto& client = answers_.client();
    auto& process = client.process();
    auto const from = Vaddr{message_.values[0]};
    auto const file = static_cast<uapi::FileId>(message_.values[0]);
    auto const fd = static_cast<int>(message_.values[0]);
    auto const set = [&](auto const& result) {
        answer_.error = result ? 0 : static_cast<std::uint32_t>(number(result.error()));
    };
    auto const set_value = [&](auto const& result) {
        set(result);
        if (result) answer_.values[0] = static_cast<std::uint64_t>(*result);
    };
    answer_.kind = Kind::answer;
    answer_.error = 0;
    answer_.size = 0;
    switch (message_.kind) {
        case Kind::read:
            answer_.size = static_cast<std::uint32_t>(
                std::min<std::uint64_t>(message_.values[1], Message::kRoom));
            return set(process.read(from, answer_.bytes()));
        case Kind::write: return set(process.write(from, message_.bytes()));
        case Kind::fault_in:
            return set(process.fault_in(
                {from, Vaddr{message_.values[1]}},
                message_.values[2] != 0 ? host::Intent::write : host::Intent::read));
        case Kind::file: return set_value(answers_.file_of(*this, fd));
        case Kind::install: return set_value(answers_.install_from(*this, file));
        case Kind::eventfd: {
            auto event = client.eventfd(fd);
            set(event);
            if (event) back = std::move(*event);
            return;
        }
        case Kind::limits:
            answer_.values[0] = process.locked_memory().limit_bytes();
            answer_.values[1] = process.locked_memory().lock_cap() == host::LockCap::yes;
            return;
        default: return set(Result<>{fail(Errno::inval)});
    }
}

uapi::Reply Link::call(uapi::Call const& call)
{
    std::scoped_lock const lock{mutex_};
    question(Kind::call).put(call);
    TRY(ask());
    return message_.values[0];
}

Result<Link::Mapping> Link::map(uapi::FileId file, std::uint64_t offset, std::uint64_t size,
                                bool shared)
{
    std::scoped_lock const lock{mutex_};
    question(Kind::map).values = {static_cast<std::uint64_t>(file), offset, size, shared};
    Mapping mapping;
    TRY(ask(mapping.memory));
    mapping.bar.offset = message_.values[0];
    mapping.bar.region_offset = message_.values[1];
    for (std::byte const page : message_.bytes())
        for (unsigned bit = 0; bit < 8; ++bit)
            mapping.bar.readable.push_back((page & std::byte{1} << bit) != std::byte{0});
    mapping.bar.readable.resize(message_.values[2]);
    return mapping;
}

Result<uapi::FileId> Link::recognise(int fd)
{
    std::scoped_lock const lock{mutex_};
    (void)question(Kind::recognise);
    UniqueFd none;
    TRY(ask(none, fd));
    return static_cast<uapi::FileId>(message_.values[0]);
}

void Link::dropped(uapi::FileId file)
{
    std::scoped_lock const lock{mutex_};
    question(Kind::dropped).values[0] = static_cast<std::uint64_t>(file);
    (void)ask();
}

void Link::sent(uapi::FileId file)
{
    std::scoped_lock const lock{mutex_};
    question(Kind::sent).values[0] = static_cast<std::uint64_t>(file);
    (void)ask();
}

void Link::settle()
{
    std::scoped_lock const lock{mutex_};
    (void)question(Kind::settle);
    (void)ask();
}

Result<std::uint64_t> Link::charged()
{
    std::scoped_lock const lock{mutex_};
    (void)question(Kind::charged);
    TRY(ask());
    return message_.values[0];
}

Result<Connection> Link::ask_for_connection()
{
    UniqueFd socket;
    TRY(ask(socket));
    if (!socket) return fail(Errno::mfile);
    return Connection{std::move(socket)};
}

Result<Connection> Link::another()
{
    std::scoped_lock const lock{mutex_};
    (void)question(Kind::another);
    return ask_for_connection();
}

Result<Connection> Link::another(std::vector<std::uint32_t> const& files)
{
    std::scoped_lock const lock{mutex_};
    auto& message = question(Kind::another);
    message.values[0] = 1;
    std::size_t const size = std::min(files.size() * sizeof files[0], Message::kRoom);
    message.size = static_cast<std::uint32_t>(size);
    std::memcpy(message.payload.data(), files.data(), size);
    return ask_for_connection();
}

void Link::begun()
{
    std::scoped_lock const lock{mutex_};
    (void)question(Kind::begun);
    (void)ask();
}

}  // namespace pinfold::preload
