#include "preload/guest.hpp"

#include <algorithm>

#include "base/standstill.hpp"
#include "base/worker.hpp"

namespace pinfold::preload {
namespace {

using Kind = Message::Kind;

uapi::FileId file_in(Message const& message)
{
    return static_cast<uapi::FileId>(message.values[0]);
}

}  // namespace

// ---- the process ----

RemoteProcess::RemoteProcess(Connection const& connection, PageSize host_page)
    : connection_{connection},
      mm_{std::make_shared<host::Mm>(*this, static_cast<Source&>(*this), host_page)}
{
}

void RemoteProcess::introduce(host::Task const& task, UniqueFd memory)
{
    task_ = task;
    memory_ = std::make_unique<host::RemoteMemory>(std::move(memory));
}

void RemoteProcess::end()
{
    ended_ = true;
    mm_->end();
    memory_.reset();
}

Result<> RemoteProcess::ask(Message& message, UniqueFd& descriptor)
{
    if (ended_ || std::this_thread::get_id() != served_by_) return fail(Errno::fault);
    if (!connection_.send(message) || !connection_.receive(message, descriptor) ||
        message.kind != Kind::answer)
        return fail(Errno::fault);
    return message.result();
}

Result<> RemoteProcess::read(Vaddr from, std::span<std::byte> into)
{
    for (std::size_t done = 0; done < into.size();) {
        Message message{.kind = Kind::read};
        UniqueFd none;
        std::size_t const piece = std::min(into.size() - done, Message::kRoom);
        message.values = {from.raw() + done, piece};
        TRY(ask(message, none));
        if (message.size != piece) return fail(Errno::fault);
        std::ranges::copy(message.bytes(), into.begin() + static_cast<std::ptrdiff_t>(done));
        done += piece;
    }
    return {};
}

Result<> RemoteProcess::write(Vaddr to, std::span<std::byte const> from)
{
    for (std::size_t done = 0; done < from.size();) {
        Message message{.kind = Kind::write};
        UniqueFd none;
        std::size_t const piece = std::min(from.size() - done, Message::kRoom);
        message.values = {to.raw() + done};
        message.size = static_cast<std::uint32_t>(piece);
        std::ranges::copy(from.subspan(done, piece), message.payload.begin());
        TRY(ask(message, none));
        done += piece;
    }
    return {};
}

Result<> RemoteProcess::fault_in(VaddrRange range, host::Intent intent)
{
    Message message{.kind = Kind::fault_in};
    UniqueFd none;
    message.values = {range.start.raw(), range.last.raw(), intent == host::Intent::write};
    return ask(message, none);
}

std::byte* RemoteProcess::local(Vaddr vaddr) { return memory_ ? memory_->place(vaddr) : nullptr; }

void RemoteProcess::refresh_limits()
{
    Message message{.kind = Kind::limits};
    UniqueFd none;
    if (!ask(message, none)) return;
    limit_ = message.values[0];
    cap_ = message.values[1] != 0 ? host::LockCap::yes : host::LockCap::no;
}

std::uint64_t RemoteProcess::limit_bytes()
{
    refresh_limits();
    return limit_;
}

host::LockCap RemoteProcess::lock_cap()
{
    refresh_limits();
    return cap_;
}

// ---- the guest ----

Guest::Guest(Owner& owner, Connection connection, Owner::Holds files, Owner::Terms terms)
    : owner_{owner},
      connection_{std::move(connection)},
      process_{std::make_unique<RemoteProcess>(connection_, owner.host_page())}
{
    (terms == Owner::Terms::held ? holds_ : offered_) = std::move(files);
    count_files();
}

// Nothing is taken from the socket but while busy: a question that this process has not begun to
// answer is there for the one that takes the machine over.
bool Guest::serve()
{
    process_->serve_here();
    for (bool more = true; more;) {
        bool const something = connection_.await();
        Busy const busy;
        if (Worker::dismissed()) return false;
        more = something && answer_one();
        count_files();
    }
    Busy const busy;
    if (Worker::dismissed()) return false;
    process_->end();
    for (auto const file : holds_) owner_.let_go(static_cast<uapi::FileId>(file));
    holds_.clear();
    end_offer();
    count_files();
    return true;
}

bool Guest::answer_one()
{
    Message message;
    UniqueFd descriptor;
    if (!connection_.receive(message, descriptor)) return false;
    if (message.kind == Kind::hello) {
        // Two that have the socket would get each other's answers.
        if (std::exchange(introduced_, true)) return false;
        process_->introduce(message.get<host::Task>(), std::move(descriptor));
        return true;
    }
    int with = -1;
    auto const answer = answer_to(message, descriptor, with);
    bool const sent = connection_.send(answer, with).has_value();
    given_away_ = {};
    return sent;
}

void Guest::end_offer()
{
    for (auto const file : std::exchange(offered_, {}))
        owner_.let_go(static_cast<uapi::FileId>(file));
}

void Guest::take_hold(uapi::FileId file)
{
    if (holds_.insert(static_cast<std::uint32_t>(file)).second) owner_.hold(file);
}

Message Guest::answer_to(Message& message, UniqueFd& descriptor, int& with)
{
    Message answer;
    auto const file = file_in(message);
    switch (message.kind) {
        case Kind::call: {
            auto const call = message.get<uapi::Call>();
            if (!holds(call.file)) return Message::failed(Errno::badf);
            auto const reply = owner_.guest_call(*this, call);
            if (!reply) return Message::failed(reply.error());
            answer.values[0] = *reply;
            return answer;
        }
        case Kind::map: return holds(file) ? map(message, with) : Message::failed(Errno::badf);
        case Kind::recognise: {
            auto const known = owner_.recognise(descriptor.get());
            if (known != uapi::FileId::none) {
                take_hold(known);
                owner_.arrived(known);
            }
            answer.values[0] = static_cast<std::uint64_t>(known);
            return answer;
        }
        case Kind::dropped: {
            if (holds_.erase(static_cast<std::uint32_t>(file)) == 0)
                return Message::failed(Errno::badf);
            owner_.let_go(file);
            return answer;
        }
        case Kind::sent:
            if (holds(file)) owner_.departed(file);
            return answer;
        case Kind::settle: owner_.settle(); return answer;
        case Kind::charged: answer.values[0] = process_->locked_memory().charged(); return answer;
        case Kind::begun: end_offer(); return answer;
        case Kind::another: {
            bool const offers = message.values[0] != 0;
            auto other = offers ? owner_.welcome(files_in(message), Owner::Terms::offered)
                                : owner_.welcome(holds_, Owner::Terms::held);
            if (!other) return Message::failed(other.error());
            given_away_ = other->take();
            with = given_away_.get();
            return answer;
        }
        default: return Message::failed(Errno::inval);
    }
}

// The files in a message, as far as the guest holds them.
Owner::Holds Guest::files_in(Message const& message) const
{
    Owner::Holds files;
    for (std::size_t at = 0; at + sizeof(std::uint32_t) <= message.size;
         at += sizeof(std::uint32_t)) {
        std::uint32_t file = 0;
        std::memcpy(&file, message.payload.data() + at, sizeof file);
        if (holds_.contains(file)) files.insert(file);
    }
    return files;
}

Message Guest::map(Message const& message, int& with)
{
    auto const bar = owner_.guest_map(file_in(message), message.values[1], message.values[2],
                                      message.values[3] != 0);
    if (!bar) return Message::failed(bar.error());
    // One bit for each page: a BAR of 128 MiB fits.
    if (bar->readable.size() > 8 * Message::kRoom) return Message::failed(Errno::nomem);
    Message answer;
    answer.values = {bar->offset, bar->region_offset, bar->readable.size()};
    answer.size = static_cast<std::uint32_t>((bar->readable.size() + 7) / 8);
    for (std::size_t page = 0; page < bar->readable.size(); ++page)
        if (bar->readable[page]) answer.payload[page / 8] |= std::byte{1} << (page % 8);
    with = bar->memory;
    return answer;
}

Result<uapi::FileId> Guest::file(int fd)
{
    Message message{.kind = Kind::file};
    UniqueFd none;
    message.values = {static_cast<std::uint64_t>(fd)};
    TRY(process_->ask(message, none));
    return file_in(message);
}

Result<UniqueFd> Guest::eventfd(int fd)
{
    Message message{.kind = Kind::eventfd};
    UniqueFd event;
    message.values = {static_cast<std::uint64_t>(fd)};
    TRY(process_->ask(message, event));
    if (!event) return fail(Errno::mfile);
    return event;
}

Result<int> Guest::install(uapi::FileId file)
{
    Message message{.kind = Kind::install};
    UniqueFd none;
    message.values = {static_cast<std::uint64_t>(file)};
    TRY(process_->ask(message, none));
    take_hold(file);
    return static_cast<int>(message.values[0]);
}

}  // namespace pinfold::preload
