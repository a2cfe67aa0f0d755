// An owner and its guest in one process, with a connection between them: what a guest asks reaches
// the owner, what the owner asks back is answered by the guest, and what a guest holds ends with
// it.
#include "preload/sharing.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <functional>

#include "host/guarded_copy.hpp"
#include "host/lock_source.hpp"
#include "host/own_process.hpp"
#include "preload/link.hpp"

namespace pinfold::preload {
namespace {

constexpr auto kFile = uapi::FileId{0x100003};
constexpr auto kOther = uapi::FileId{0x100004};

class FakeOwner final : public Owner {
public:
    uapi::Reply guest_call(uapi::Client& client, uapi::Call const& call) override
    {
        return on_call(client, call);
    }
    Result<uapi::BarMapping> guest_map(uapi::FileId, std::uint64_t offset, std::uint64_t size,
                                       bool shared) override
    {
        if (!shared) return fail(Errno::inval);
        uapi::BarMapping bar;
        bar.memory = 0;
        bar.offset = offset;
        bar.region_offset = size;
        bar.readable.assign(size / 4096, false);
        for (std::size_t i = 0; i < bar.readable.size(); i += 3) bar.readable[i] = true;
        return bar;
    }
    uapi::FileId recognise(int) override { return known; }
    void hold(uapi::FileId file) override { change(file, +1); }
    void let_go(uapi::FileId file) override { change(file, -1); }
    void departed(uapi::FileId) override { ++on_the_way; }
    void arrived(uapi::FileId) override { --on_the_way; }
    Result<Connection> welcome(Holds files, Terms terms) override
    {
        return sharing->welcome(std::move(files), terms);
    }
    void settle() override { sharing->settle(); }
    bool device_bound(std::string_view) const override { return true; }
    bool group_in_use_by_kernel(unsigned) const override { return false; }
    Result<uapi::DmaClaim> claim_group_dma(unsigned) override { return uapi::DmaClaim{}; }
    PageSize host_page() const override { return k4K; }

    int holders(uapi::FileId file)
    {
        std::scoped_lock const lock{mutex};
        return held[static_cast<std::uint32_t>(file)];
    }
    bool becomes(uapi::FileId file, int count)
    {
        std::unique_lock lock{mutex};
        return changed.wait_for(lock, std::chrono::seconds{10},
                                [&] { return held[static_cast<std::uint32_t>(file)] == count; });
    }

    Sharing* sharing = nullptr;
    std::function<uapi::Reply(uapi::Client&, uapi::Call const&)> on_call;
    uapi::FileId known = uapi::FileId::none;
    std::atomic<int> on_the_way{0};

private:
    void change(uapi::FileId file, int by)
    {
        std::scoped_lock const lock{mutex};
        held[static_cast<std::uint32_t>(file)] += by;
        changed.notify_all();
    }
    std::mutex mutex;
    std::condition_variable changed;
    std::unordered_map<std::uint32_t, int> held;
};

class FakeGuest final : public uapi::Client, public Link::Answers {
public:
    host::Process& process() override { return process_; }
    Result<uapi::FileId> file(int) override { return uapi::FileId::none; }
    Result<UniqueFd> eventfd(int fd) override
    {
        if (fd != 77) return fail(Errno::badf);
        return UniqueFd{::eventfd(5, 0)};
    }
    Result<int> install(uapi::FileId) override { return fail(Errno::nosys); }
    uapi::Client& client() override { return *this; }
    Result<uapi::FileId> file_of(Link const&, int fd) override
    {
        if (fd != 3) return fail(Errno::badf);
        return kFile;
    }
    Result<int> install_from(Link&, uapi::FileId file) override
    {
        installed = file;
        return 42;
    }
    uapi::FileId installed = uapi::FileId::none;

private:
    host::FixedLockSource limits_{123 * 4096, host::LockCap::yes};
    host::OwnProcess process_{limits_, k4K};
};

class SharingTest : public testing::Test {
protected:
    SharingTest()
    {
        struct sigaction action{};
        action.sa_sigaction = [](int, siginfo_t*, void* context) {
            if (!host::recover(context)) std::abort();
        };
        action.sa_flags = SA_SIGINFO;
        (void)::sigaction(SIGSEGV, &action, &before_);
        owner.sharing = &sharing;
        link.emplace(*sharing.welcome({static_cast<std::uint32_t>(kFile)}, Owner::Terms::held),
                     guest);
    }
    ~SharingTest() override
    {
        link.reset();
        (void)owner.becomes(kFile, 0);
        (void)::sigaction(SIGSEGV, &before_, nullptr);
    }

    uapi::Reply call(std::function<uapi::Reply(uapi::Client&, uapi::Call const&)> body)
    {
        owner.on_call = std::move(body);
        return link->call({.file = kFile, .request = 7, .arg = 8, .size = 9, .offset = 10});
    }

    // The threads that serve guests outlive a test by a moment.
    static inline FakeOwner& owner = *new FakeOwner;
    static inline Sharing& sharing = *new Sharing{owner, "/nowhere"};
    FakeGuest guest;
    std::optional<Link> link;

private:
    struct sigaction before_{};
};

TEST_F(SharingTest, a_call_arrives_as_it_was_made_and_its_reply_or_errno_comes_back)
{
    auto const reply = call([](uapi::Client&, uapi::Call const& call) -> uapi::Reply {
        EXPECT_EQ(call.request, 7U);
        EXPECT_EQ(call.arg, 8U);
        EXPECT_EQ(call.size, 9U);
        EXPECT_EQ(call.offset, 10U);
        return ~std::uint64_t{1};
    });
    EXPECT_EQ(reply, ~std::uint64_t{1});
    EXPECT_EQ(call([](auto&, auto&) { return uapi::Reply{fail(Errno::notty)}; }).error(),
              Errno::notty);
}

TEST_F(SharingTest, memory_of_the_guest_is_read_and_written_in_any_amount)
{
    std::vector<std::byte> memory(3 * Message::kRoom + 17, std::byte{4});
    Vaddr const at{reinterpret_cast<std::uint64_t>(memory.data())};
    auto const reply = call([&](uapi::Client& client, uapi::Call const&) -> uapi::Reply {
        std::vector<std::byte> copy(memory.size());
        TRY(client.process().read(at, copy));
        EXPECT_EQ(copy, memory);
        copy.assign(copy.size(), std::byte{6});
        TRY(client.process().write(at, copy));
        EXPECT_EQ(client.process().read(Vaddr{16}, copy).error(), Errno::fault);
        EXPECT_EQ(client.process().write(Vaddr{16}, copy).error(), Errno::fault);
        return 0;
    });
    EXPECT_TRUE(reply);
    EXPECT_EQ(memory, std::vector<std::byte>(memory.size(), std::byte{6}));
}

TEST_F(SharingTest, pages_descriptors_eventfds_and_limits_are_the_guests)
{
    auto const reply = call([&](uapi::Client& client, uapi::Call const&) -> uapi::Reply {
        alignas(4096) static std::array<std::byte, 4096> page;
        Vaddr const start{reinterpret_cast<std::uint64_t>(page.data())};
        EXPECT_TRUE(client.process().fault_in({start, start + 4095}, host::Intent::write));
        EXPECT_EQ(client.process().fault_in({Vaddr{0}, Vaddr{4095}}, host::Intent::read).error(),
                  Errno::fault);
        EXPECT_NE(client.process().local(start), nullptr);
        EXPECT_EQ(client.file(3), kFile);
        EXPECT_EQ(client.file(4).error(), Errno::badf);
        auto const event = client.eventfd(77);
        std::uint64_t count = 0;
        EXPECT_TRUE(event && ::read(event->get(), &count, sizeof count) == sizeof count);
        EXPECT_EQ(count, 5U);
        EXPECT_EQ(client.eventfd(78).error(), Errno::badf);
        EXPECT_EQ(client.install(kOther), 42);
        EXPECT_EQ(client.process().locked_memory().limit_pages(), 123U);
        EXPECT_EQ(client.process().locked_memory().lock_cap(), host::LockCap::yes);
        EXPECT_EQ(client.process().task().pid, ::getpid());
        return 0;
    });
    EXPECT_TRUE(reply);
    EXPECT_EQ(guest.installed, kOther);
    EXPECT_EQ(owner.holders(kOther), 1);
    link.reset();
    EXPECT_TRUE(owner.becomes(kOther, 0));
    EXPECT_TRUE(owner.becomes(kFile, 0));
}

TEST_F(SharingTest, a_guest_is_not_asked_when_it_does_not_wait)
{
    host::Process* process = nullptr;
    (void)call([&](uapi::Client& client, uapi::Call const&) -> uapi::Reply {
        process = &client.process();
        return 0;
    });
    std::byte byte{};
    EXPECT_EQ(process->read(Vaddr{reinterpret_cast<std::uint64_t>(&byte)}, {&byte, 1}).error(),
              Errno::fault);
}

TEST_F(SharingTest, a_guest_uses_what_it_holds_and_nothing_else)
{
    owner.on_call = [](auto&, auto&) { return uapi::Reply{1}; };
    EXPECT_EQ(link->call({.file = kOther}).error(), Errno::badf);
    EXPECT_EQ(link->map(kOther, 0, 4096, true).error(), Errno::badf);
    owner.known = kOther;
    EXPECT_EQ(link->recognise(0), kOther);
    EXPECT_EQ(link->recognise(0), kOther);
    owner.known = uapi::FileId::none;
    EXPECT_EQ(owner.holders(kOther), 1) << "a guest holds a file once";
    EXPECT_TRUE(link->call({.file = kOther}));
    link->dropped(kOther);
    EXPECT_EQ(owner.holders(kOther), 0);
    EXPECT_EQ(link->call({.file = kOther}).error(), Errno::badf);
    link->dropped(kOther);
    EXPECT_EQ(owner.holders(kOther), 0);
}

TEST_F(SharingTest, a_mapping_says_of_each_page_whether_it_can_be_read)
{
    auto const mapping = link->map(kFile, 0x3000, 10 * 4096, true);
    ASSERT_TRUE(mapping);
    EXPECT_TRUE(mapping->memory);
    EXPECT_EQ(mapping->bar.offset, 0x3000U);
    EXPECT_EQ(mapping->bar.readable, (std::vector<bool>{1, 0, 0, 1, 0, 0, 1, 0, 0, 1}));
    EXPECT_EQ(link->map(kFile, 0, 4096, false).error(), Errno::inval);
}

TEST_F(SharingTest, a_guests_child_holds_the_same_and_ends_by_itself)
{
    {
        Link child{*link->another(), guest};
        EXPECT_EQ(owner.holders(kFile), 2);
        owner.on_call = [](auto&, auto&) { return uapi::Reply{3}; };
        EXPECT_EQ(child.call({.file = kFile}), 3U);
    }
    EXPECT_TRUE(owner.becomes(kFile, 1));
    EXPECT_TRUE(link->call({.file = kFile}));
}

TEST_F(SharingTest, a_program_keeps_of_what_it_was_offered_what_it_recognises)
{
    owner.known = kOther;
    EXPECT_EQ(link->recognise(0), kOther);
    {
        Link program{*link->another({static_cast<std::uint32_t>(kFile),
                                     static_cast<std::uint32_t>(kOther), 0x4711}),
                     guest};
        EXPECT_EQ(owner.holders(kFile), 2);
        EXPECT_EQ(owner.holders(kOther), 2);
        EXPECT_EQ(owner.holders(uapi::FileId{0x4711}), 0) << "nobody offers what he has not";
        owner.on_call = [](auto&, auto&) { return uapi::Reply{3}; };
        EXPECT_EQ(program.call({.file = kOther}).error(), Errno::badf) << "not yet";
        EXPECT_EQ(program.recognise(0), kOther);
        program.begun();
        EXPECT_EQ(owner.holders(kFile), 1);
        EXPECT_EQ(owner.holders(kOther), 2);
        EXPECT_EQ(program.call({.file = kOther}), 3U);
    }
    EXPECT_TRUE(owner.becomes(kOther, 1));
}

TEST_F(SharingTest, an_offer_that_no_program_takes_ends_with_its_connection)
{
    {
        auto const offered =
            sharing.welcome({static_cast<std::uint32_t>(kOther)}, Owner::Terms::offered);
        ASSERT_TRUE(offered);
        EXPECT_EQ(owner.holders(kOther), 1);
        EXPECT_TRUE(sharing.any_has_files());
    }
    EXPECT_TRUE(owner.becomes(kOther, 0));
}

TEST_F(SharingTest, when_the_owner_has_gone_every_question_is_an_EIO_and_it_is_told_once)
{
    auto ends = *Connection::pair();
    std::optional<Connection> far{std::move(ends[1])};
    Link lonely{std::move(ends[0]), guest};
    EXPECT_FALSE(lonely.tell_end());
    far.reset();
    EXPECT_EQ(lonely.call({.file = kFile}).error(), Errno::io);
    EXPECT_EQ(lonely.recognise(0).error(), Errno::io);
    EXPECT_EQ(lonely.another().error(), Errno::io);
    EXPECT_TRUE(lonely.tell_end());
    EXPECT_FALSE(lonely.tell_end());
}

TEST_F(SharingTest, once_settled_nothing_is_held_by_a_guest_that_has_ended)
{
    for (int round = 0; round < 200; ++round) {
        (void)*link->another();
        link->settle();
        EXPECT_EQ(owner.holders(kFile), 1);
    }
}

TEST_F(SharingTest, what_is_no_message_ends_the_connection)
{
    for (std::size_t const size : {1U, 8U, 4000U}) {
        auto const raw = sharing.welcome({static_cast<std::uint32_t>(kOther)}, Owner::Terms::held);
        ASSERT_TRUE(raw);
        std::vector<char> const noise(size, 'x');
        EXPECT_EQ(::send(raw->descriptor(), noise.data(), noise.size(), 0),
                  static_cast<ssize_t>(size));
        EXPECT_TRUE(owner.becomes(kOther, 0));
    }
}

}  // namespace
}  // namespace pinfold::preload
