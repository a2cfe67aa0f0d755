#include "pci/interrupts.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "pci/support.hpp"

namespace pinfold::pci {
namespace {

using Action = IrqRequest::Action;
using Data = IrqRequest::Data;

class InterruptsTest : public testing::Test {
protected:
    // 0 .. 9 are eventfds of the client, 50 is a file that is none, all else is closed.
    static constexpr int kNoEventfd = 50, kClosed = 51;

    Result<UniqueFd> open(int fd) const
    {
        if (fd >= 0 && fd < 10) return events_[static_cast<std::size_t>(fd)].reference();
        return fail(fd == kNoEventfd ? Errno::inval : Errno::badf);
    }
    Errno set(IrqIndex index, Data data, std::uint32_t start, std::vector<int> values,
              Action action = Action::trigger)
    {
        return set_count(index, data, start, static_cast<std::uint32_t>(values.size()), values,
                         action);
    }
    // Data::none has a count and no values.
    Errno set_count(IrqIndex index, Data data, std::uint32_t start, std::uint32_t count,
                    std::vector<int> const& values = {}, Action action = Action::trigger)
    {
        std::vector<std::uint8_t> const booleans(values.begin(), values.end());
        auto const done = interrupts_.set({.index = index,
                                           .action = action,
                                           .data = data,
                                           .start = start,
                                           .count = count,
                                           .booleans = booleans,
                                           .descriptors = values},
                                          [this](int fd) { return open(fd); });
        return done ? kNone : done.error();
    }
    Errno intx(Data data, std::vector<int> values, Action action = Action::trigger)
    {
        return set(IrqIndex::intx, data, 0, std::move(values), action);
    }
    Errno fire(IrqIndex index, std::uint32_t start, std::uint32_t count)
    {
        return set_count(index, Data::none, start, count);
    }
    std::uint64_t fired(std::size_t event) const { return events_[event].fired(); }

    static constexpr Errno kNone{};
    std::array<TestEvent, 10> events_;
    std::atomic<EventfdWatch::Ticket> notified_{0};
    EventfdWatch watch_{[this](EventfdWatch::Ticket ticket) { notified_ = ticket; }};
    std::array<std::byte, 8 * MsixTable::kEntry> entries_{};
    std::array<std::byte, 8> pending_{};
    MsixTable table_{8, entries_, pending_};
    Interrupts interrupts_{full_identity(), watch_, table_};
};

TEST_F(InterruptsTest, each_index_has_as_many_as_the_function_has)
{
    EXPECT_EQ(interrupts_.count(IrqIndex::intx), 1U);
    EXPECT_EQ(interrupts_.count(IrqIndex::msi), 4U);
    EXPECT_EQ(interrupts_.count(IrqIndex::msix), 8U);
    EXPECT_EQ(interrupts_.count(IrqIndex::err), 1U);
    EXPECT_EQ(interrupts_.count(IrqIndex::req), 1U);
    Identity bare = full_identity();
    bare.interrupt_pin = 0;
    bare.msi_vectors = 0;
    bare.msix = {};
    bare.pci_express = false;
    Interrupts const none{bare, watch_, {}};
    for (auto const index : {IrqIndex::intx, IrqIndex::msi, IrqIndex::msix})
        EXPECT_EQ(none.count(index), 0U);
    EXPECT_EQ(none.count(IrqIndex::err), 1U);
    EXPECT_EQ(none.count(IrqIndex::req), 1U);
}

// ---- INTx, rule V-10

TEST_F(InterruptsTest, an_asserted_INTx_fires_once_until_it_is_unmasked)
{
    ASSERT_EQ(intx(Data::eventfd, {0}), kNone);
    EXPECT_EQ(fired(0), 0U);
    interrupts_.assert_intx();
    interrupts_.assert_intx();
    EXPECT_EQ(fired(0), 1U);
    EXPECT_EQ(set_count(IrqIndex::intx, Data::none, 0, 1, {}, Action::unmask), kNone);
    EXPECT_EQ(fired(0), 1U) << "still asserted";
    interrupts_.deassert_intx();
    EXPECT_EQ(set_count(IrqIndex::intx, Data::none, 0, 1, {}, Action::unmask), kNone);
    EXPECT_EQ(fired(0), 0U);
    interrupts_.assert_intx();
    EXPECT_EQ(fired(0), 1U);
    EXPECT_EQ(interrupts_.delivered(), 3U);
}

TEST_F(InterruptsTest, a_masked_INTx_waits)
{
    ASSERT_EQ(intx(Data::eventfd, {0}), kNone);
    EXPECT_EQ(intx(Data::boolean, {0}, Action::mask), kNone);
    interrupts_.assert_intx();
    EXPECT_EQ(fired(0), 1U) << "a boolean 0 masks nothing";
    interrupts_.deassert_intx();
    EXPECT_EQ(intx(Data::boolean, {1}, Action::unmask), kNone);
    EXPECT_EQ(intx(Data::boolean, {1}, Action::mask), kNone);
    interrupts_.assert_intx();
    EXPECT_EQ(fired(0), 0U);
    EXPECT_EQ(intx(Data::boolean, {0}, Action::unmask), kNone);
    EXPECT_EQ(fired(0), 0U);
    EXPECT_EQ(intx(Data::boolean, {1}, Action::unmask), kNone);
    EXPECT_EQ(fired(0), 1U);
}

TEST_F(InterruptsTest, INTx_asserted_before_it_is_set_up_fires_at_once)
{
    interrupts_.assert_intx();
    ASSERT_EQ(intx(Data::eventfd, {3}), kNone);
    EXPECT_EQ(fired(3), 1U);
}

TEST_F(InterruptsTest, INTX_DISABLE_masks_and_clearing_it_unmasks)
{
    ASSERT_EQ(intx(Data::eventfd, {0}), kNone);
    interrupts_.disable_intx(true);
    interrupts_.assert_intx();
    EXPECT_EQ(fired(0), 0U);
    EXPECT_EQ(fire(IrqIndex::intx, 0, 1), kNone);
    EXPECT_EQ(fired(0), 0U) << "not by hand either";
    EXPECT_EQ(set_count(IrqIndex::intx, Data::none, 0, 1, {}, Action::unmask), kNone);
    EXPECT_EQ(fired(0), 0U);
    interrupts_.disable_intx(false);
    EXPECT_EQ(fired(0), 1U);

    interrupts_.disable_intx(true);
    ASSERT_EQ(fire(IrqIndex::intx, 0, 0), kNone);
    ASSERT_EQ(intx(Data::eventfd, {1}), kNone);
    EXPECT_EQ(fired(1), 0U) << "set up while disabled";
    interrupts_.disable_intx(false);
    EXPECT_EQ(fired(1), 1U);
}

TEST_F(InterruptsTest, INTx_can_be_swapped_silenced_and_disabled)
{
    ASSERT_EQ(intx(Data::eventfd, {0}), kNone);
    ASSERT_EQ(intx(Data::eventfd, {1}), kNone);
    interrupts_.assert_intx();
    EXPECT_EQ(fired(0), 0U);
    EXPECT_EQ(fired(1), 1U);
    interrupts_.deassert_intx();
    ASSERT_EQ(intx(Data::eventfd, {-1}), kNone);
    EXPECT_EQ(intx(Data::none, {}, Action::unmask), Errno::inval) << "count must be 1";
    EXPECT_EQ(fire(IrqIndex::intx, 0, 1), kNone) << "still active";
    ASSERT_EQ(fire(IrqIndex::intx, 0, 0), kNone);
    EXPECT_EQ(fire(IrqIndex::intx, 0, 1), Errno::inval);
    EXPECT_EQ(fire(IrqIndex::intx, 0, 0), Errno::inval) << "disabling what is not active";
}

TEST_F(InterruptsTest, INTx_refuses_what_it_cannot_do_with_the_errno_of_the_kernel)
{
    EXPECT_EQ(fire(IrqIndex::intx, 0, 1), Errno::inval);
    EXPECT_EQ(intx(Data::boolean, {1}), Errno::inval);
    EXPECT_EQ(intx(Data::boolean, {1}, Action::unmask), Errno::inval);
    EXPECT_EQ(intx(Data::eventfd, {}), Errno::inval);
    EXPECT_EQ(intx(Data::eventfd, {kClosed}), Errno::badf);
    EXPECT_EQ(intx(Data::eventfd, {kNoEventfd}), Errno::inval);
    ASSERT_EQ(intx(Data::eventfd, {0}), kNone);
    EXPECT_EQ(intx(Data::eventfd, {kClosed}), Errno::badf);
    EXPECT_EQ(intx(Data::eventfd, {1}, Action::mask), Errno::notty);
    EXPECT_EQ(intx(Data::eventfd, {-1}, Action::mask), Errno::notty);
    EXPECT_EQ(intx(Data::eventfd, {kClosed}, Action::unmask), Errno::badf);
    EXPECT_EQ(intx(Data::eventfd, {kNoEventfd}, Action::unmask), Errno::inval);
    EXPECT_EQ(intx(Data::eventfd, {1}, Action::unmask), kNone);
    EXPECT_EQ(intx(Data::eventfd, {2}, Action::unmask), Errno::busy);
    EXPECT_EQ(intx(Data::eventfd, {-1}, Action::unmask), kNone);
    EXPECT_EQ(intx(Data::eventfd, {2}, Action::unmask), kNone);
    EXPECT_EQ(intx(Data::eventfd, {-1}, Action::unmask), kNone);
    EXPECT_EQ(intx(Data::boolean, {1}), kNone);
    EXPECT_EQ(intx(Data::boolean, {0}), kNone);
    EXPECT_EQ(fired(0), 1U) << "a failed swap leaves the old one";
}

TEST_F(InterruptsTest, INTx_is_unmasked_by_the_eventfd_that_was_given_for_it)
{
    ASSERT_EQ(intx(Data::eventfd, {0}), kNone);
    ASSERT_EQ(intx(Data::eventfd, {1}, Action::unmask), kNone);
    interrupts_.assert_intx();
    EXPECT_EQ(fired(0), 1U);
    events_[1].signal();
    while (notified_ == 0) std::this_thread::yield();
    interrupts_.notified(notified_);
    EXPECT_EQ(fired(0), 1U) << "asserted still, so it fires again";

    ASSERT_EQ(intx(Data::eventfd, {-1}, Action::unmask), kNone);
    interrupts_.notified(notified_);
    EXPECT_EQ(fired(0), 0U) << "a late word of an eventfd that was taken away";
}

// ---- MSI and MSI-X, rule V-11

TEST_F(InterruptsTest, messages_fire_their_own_vector)
{
    for (auto const index : {IrqIndex::msi, IrqIndex::msix}) {
        ASSERT_EQ(set(index, Data::eventfd, 0, {0, -1, 2}), kNone);
        interrupts_.message(0);
        interrupts_.message(1);
        interrupts_.message(2);
        interrupts_.message(2);
        interrupts_.message(3);
        interrupts_.message(4'000'000'000);
        EXPECT_EQ(fired(0), 1U);
        EXPECT_EQ(fired(1), 0U);
        EXPECT_EQ(fired(2), 2U);
        ASSERT_EQ(fire(index, 0, 0), kNone);
        interrupts_.message(0);
        EXPECT_EQ(fired(0), 0U);
    }
}

TEST_F(InterruptsTest, a_message_of_MSI_X_waits_for_its_vector_to_be_bound)
{
    ASSERT_EQ(set(IrqIndex::msix, Data::eventfd, 0, {0, -1}), kNone);
    interrupts_.message(1);
    interrupts_.message(1);
    interrupts_.message(7);
    ASSERT_EQ(set(IrqIndex::msix, Data::eventfd, 1, {1}), kNone);
    EXPECT_EQ(fired(1), 1U) << "a bit, and no count";
    ASSERT_EQ(set(IrqIndex::msix, Data::eventfd, 1, {1}), kNone);
    EXPECT_EQ(fired(1), 0U);
    ASSERT_EQ(fire(IrqIndex::msix, 0, 0), kNone);
    ASSERT_EQ(set(IrqIndex::msix, Data::eventfd, 6, {6, 7}), kNone);
    EXPECT_EQ(fired(7), 1U) << "whatever came in between";
    EXPECT_EQ(fired(6), 0U);

    ASSERT_EQ(set(IrqIndex::msix, Data::eventfd, 7, {-1}), kNone);
    interrupts_.message(7);
    interrupts_.reset();
    ASSERT_EQ(set(IrqIndex::msix, Data::eventfd, 7, {7}), kNone);
    EXPECT_EQ(fired(7), 0U);
}

TEST_F(InterruptsTest, the_table_is_masked_but_for_what_is_bound_and_pending_bits_tell_what_waits)
{
    auto const masked = [&] {
        unsigned bits = 0;
        for (unsigned vector = 0; vector < 8; ++vector)
            bits |= unsigned{table_.masked(vector)} << vector;
        return bits;
    };
    ASSERT_EQ(set(IrqIndex::msix, Data::eventfd, 0, {0, 1}), kNone);
    EXPECT_EQ(masked(), 0xfcU);
    ASSERT_EQ(set(IrqIndex::msix, Data::eventfd, 0, {-1}), kNone);
    EXPECT_EQ(masked(), 0xfdU);
    interrupts_.message(0);
    interrupts_.message(1);
    EXPECT_EQ(pending_[0], std::byte{1});
    EXPECT_EQ(set(IrqIndex::msix, Data::eventfd, 0, {kClosed}), Errno::badf);
    EXPECT_EQ(masked(), 0xfdU);
    ASSERT_EQ(fire(IrqIndex::msix, 0, 0), kNone);
    EXPECT_EQ(masked(), 0xffU);
    EXPECT_EQ(pending_[0], std::byte{1}) << "also while MSI-X is down";
    ASSERT_EQ(set(IrqIndex::msix, Data::eventfd, 0, {0}), kNone);
    EXPECT_EQ(fired(0), 1U);
    EXPECT_EQ(pending_[0], std::byte{0});
    // What has no eventfd any more, and what cannot be bound.
    EXPECT_EQ(set(IrqIndex::msix, Data::eventfd, 0, {0, kClosed}), Errno::badf);
    EXPECT_EQ(masked(), 0xffU);
    ASSERT_EQ(set(IrqIndex::msix, Data::eventfd, 5, {5}), kNone);
    interrupts_.message(0);
    interrupts_.reset();
    EXPECT_EQ(masked(), 0xdfU) << "the host restores what it had set up";
    EXPECT_EQ(pending_[0], std::byte{0});
    interrupts_.release();
    EXPECT_EQ(masked(), 0xffU);
}

TEST_F(InterruptsTest, a_client_masks_by_the_table_and_what_came_meanwhile_fires_afterwards)
{
    ASSERT_EQ(set(IrqIndex::msix, Data::eventfd, 0, {0, 1}), kNone);
    table_.mask(0, true);
    interrupts_.table_written();
    interrupts_.message(0);
    interrupts_.message(0);
    interrupts_.message(1);
    EXPECT_EQ(fired(0), 0U);
    EXPECT_EQ(fired(1), 1U);
    EXPECT_TRUE(table_.pending(0));
    EXPECT_EQ(fire(IrqIndex::msix, 0, 1), kNone);
    EXPECT_EQ(fired(0), 1U) << "the host's own firing knows no masks";
    table_.mask(0, false);
    interrupts_.table_written();
    EXPECT_EQ(fired(0), 1U);
    EXPECT_FALSE(table_.pending(0));
    // Binding anew unmasks. What is unmasked and not bound is sent to nobody.
    table_.mask(0, true);
    interrupts_.message(0);
    ASSERT_EQ(set(IrqIndex::msix, Data::eventfd, 0, {2}), kNone);
    EXPECT_EQ(fired(2), 1U);
    table_.mask(7, false);
    interrupts_.table_written();
    interrupts_.message(7);
    EXPECT_FALSE(table_.pending(7));
    // Without the bus a message is lost, but not one that waits.
    interrupts_.message(0, false);
    table_.mask(1, true);
    interrupts_.message(1, false);
    EXPECT_FALSE(table_.pending(0));
    EXPECT_TRUE(table_.pending(1));
    EXPECT_EQ(fired(2), 0U);
    // Unmasked while MSI-X is down: nothing is sent before it is up, and the host masks first.
    ASSERT_EQ(fire(IrqIndex::msix, 0, 0), kNone);
    table_.mask(1, false);
    interrupts_.table_written();
    EXPECT_TRUE(table_.pending(1));
    ASSERT_EQ(set(IrqIndex::msix, Data::eventfd, 0, {0}), kNone);
    EXPECT_TRUE(table_.masked(1));
    EXPECT_TRUE(table_.pending(1));
}

TEST_F(InterruptsTest, a_message_of_MSI_is_lost_where_nothing_is_bound)
{
    ASSERT_EQ(set(IrqIndex::msi, Data::eventfd, 0, {0, -1}), kNone);
    interrupts_.message(1);
    ASSERT_EQ(set(IrqIndex::msi, Data::eventfd, 1, {1}), kNone);
    EXPECT_EQ(fired(1), 0U);
}

TEST_F(InterruptsTest, vectors_are_fired_by_hand_all_at_once_or_by_choice)
{
    ASSERT_EQ(set(IrqIndex::msix, Data::eventfd, 2, {2, 3, 4}), kNone);
    EXPECT_EQ(fire(IrqIndex::msix, 0, 8), kNone);
    EXPECT_EQ(set(IrqIndex::msix, Data::boolean, 3, {0, 1}), kNone);
    EXPECT_EQ(fired(2), 1U);
    EXPECT_EQ(fired(3), 1U);
    EXPECT_EQ(fired(4), 2U);
}

TEST_F(InterruptsTest, only_one_kind_is_active_at_a_time)
{
    ASSERT_EQ(intx(Data::eventfd, {0}), kNone);
    EXPECT_EQ(set(IrqIndex::msix, Data::eventfd, 0, {1}), Errno::inval);
    EXPECT_EQ(fire(IrqIndex::msix, 0, 1), Errno::inval);
    EXPECT_EQ(fire(IrqIndex::msi, 0, 0), Errno::inval);
    ASSERT_EQ(fire(IrqIndex::intx, 0, 0), kNone);
    ASSERT_EQ(set(IrqIndex::msi, Data::eventfd, 0, {1}), kNone);
    EXPECT_EQ(interrupts_.msi_vectors(), 1U);
    EXPECT_EQ(set(IrqIndex::msix, Data::eventfd, 0, {1}), Errno::inval);
    EXPECT_EQ(intx(Data::eventfd, {0}), Errno::inval);
    EXPECT_EQ(fire(IrqIndex::msix, 0, 0), Errno::inval);
    ASSERT_EQ(fire(IrqIndex::msi, 0, 0), kNone);
    EXPECT_EQ(interrupts_.msi_vectors(), 0U);
    EXPECT_EQ(fire(IrqIndex::msi, 0, 0), Errno::inval) << "disabling what is not active";
}

TEST_F(InterruptsTest, MSI_keeps_its_vectors_and_MSI_X_grows)
{
    ASSERT_EQ(set(IrqIndex::msi, Data::eventfd, 0, {0, 1}), kNone);
    EXPECT_EQ(set(IrqIndex::msi, Data::eventfd, 2, {2}), Errno::inval);
    EXPECT_EQ(set(IrqIndex::msi, Data::eventfd, 2, {-1}), kNone);
    EXPECT_EQ(set(IrqIndex::msi, Data::eventfd, 1, {3}), kNone);
    interrupts_.message(1);
    EXPECT_EQ(fired(3), 1U);
    ASSERT_EQ(fire(IrqIndex::msi, 0, 0), kNone);
    ASSERT_EQ(set(IrqIndex::msix, Data::eventfd, 0, {0}), kNone);
    ASSERT_EQ(set(IrqIndex::msix, Data::eventfd, 7, {7}), kNone);
    interrupts_.message(7);
    EXPECT_EQ(fired(7), 1U);
}

TEST_F(InterruptsTest, a_bad_descriptor_at_set_up_leaves_nothing_set_up)
{
    EXPECT_EQ(set(IrqIndex::msix, Data::eventfd, 0, {0, kClosed, 2}), Errno::badf);
    EXPECT_FALSE(interrupts_.msix_active());
    EXPECT_EQ(set(IrqIndex::msix, Data::eventfd, 0, {0, kNoEventfd}), Errno::inval);
    EXPECT_FALSE(interrupts_.msix_active());
    EXPECT_EQ(fire(IrqIndex::msix, 0, 1), Errno::inval);
}

TEST_F(InterruptsTest, a_bad_descriptor_while_active_unbinds_up_to_itself)
{
    ASSERT_EQ(set(IrqIndex::msix, Data::eventfd, 0, {0, 1, 2, 3}), kNone);
    EXPECT_EQ(set(IrqIndex::msix, Data::eventfd, 1, {4, kClosed, 5}), Errno::badf);
    EXPECT_TRUE(interrupts_.msix_active());
    for (unsigned i = 0; i < 4; ++i) interrupts_.message(i);
    EXPECT_EQ(fired(0), 1U);
    EXPECT_EQ(fired(1) + fired(4), 0U);
    EXPECT_EQ(fired(2) + fired(5), 0U);
    EXPECT_EQ(fired(3), 1U);
}

TEST_F(InterruptsTest, no_descriptors_set_up_no_vectors)
{
    EXPECT_EQ(set_count(IrqIndex::msix, Data::eventfd, 0, 0), Errno::range);
    EXPECT_FALSE(interrupts_.msix_active());
    EXPECT_EQ(set_count(IrqIndex::msi, Data::eventfd, 2, 0), kNone);
    EXPECT_EQ(interrupts_.msi_vectors(), 2U);
}

TEST_F(InterruptsTest, only_INTx_can_be_masked)
{
    for (auto const index : {IrqIndex::msi, IrqIndex::msix, IrqIndex::err, IrqIndex::req})
        for (auto const action : {Action::mask, Action::unmask})
            EXPECT_EQ(set_count(index, Data::none, 0, 1, {}, action), Errno::notty);
}

// ---- ERR and REQ, rule V-12

TEST_F(InterruptsTest, notifiers_are_set_fired_and_cleared)
{
    for (auto const index : {IrqIndex::err, IrqIndex::req}) {
        EXPECT_EQ(fire(index, 0, 1), Errno::inval);
        EXPECT_EQ(fire(index, 0, 0), Errno::inval);
        EXPECT_EQ(set(index, Data::boolean, 0, {1}), kNone);
        EXPECT_EQ(set(index, Data::boolean, 0, {}), Errno::inval);
        EXPECT_EQ(set(index, Data::eventfd, 0, {}), Errno::inval);
        EXPECT_EQ(set(index, Data::eventfd, 0, {kClosed}), Errno::badf);
        EXPECT_EQ(set(index, Data::eventfd, 0, {kNoEventfd}), Errno::inval);
        ASSERT_EQ(set(index, Data::eventfd, 0, {6}), kNone);
        EXPECT_EQ(fire(index, 0, 1), kNone);
        EXPECT_EQ(set(index, Data::boolean, 0, {1}), kNone);
        EXPECT_EQ(set(index, Data::boolean, 0, {0}), kNone);
        EXPECT_EQ(set(index, Data::eventfd, 0, {-2}), kNone);
        EXPECT_EQ(fired(6), 2U);
        EXPECT_EQ(fire(index, 0, 0), kNone);
        EXPECT_EQ(fire(index, 0, 1), Errno::inval);
        ASSERT_EQ(set(index, Data::eventfd, 0, {6}), kNone);
        EXPECT_EQ(set(index, Data::eventfd, 0, {-1}), kNone);
        EXPECT_EQ(fire(index, 0, 1), Errno::inval);
    }
}

// ---- Hostile

TEST_F(InterruptsTest, an_eventfd_that_is_full_does_not_block)
{
    for (int const flags : {0, int{EFD_NONBLOCK}}) {
        UniqueFd const full{::eventfd(0, flags)};
        std::uint64_t const most = ~std::uint64_t{0} - 1;
        ASSERT_EQ(::write(full.get(), &most, sizeof most), 8);
        std::array const descriptor{0};
        ASSERT_TRUE(
            interrupts_.set({.index = IrqIndex::msix,
                             .data = Data::eventfd,
                             .count = 1,
                             .booleans = {},
                             .descriptors = descriptor},
                            [&](int) -> Result<UniqueFd> { return UniqueFd{::dup(full.get())}; }));
        interrupts_.message(0);
        std::uint64_t count = 0;
        ASSERT_EQ(::read(full.get(), &count, sizeof count), 8);
        EXPECT_EQ(count, most);
        interrupts_.message(0);
        ASSERT_EQ(::read(full.get(), &count, sizeof count), 8);
        EXPECT_EQ(count, 1U);
    }
}

TEST_F(InterruptsTest, any_sequence_of_requests_keeps_one_kind_and_all_its_descriptors)
{
    auto const seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random{seed};
    auto const below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
    for (int step = 0; step < 20000; ++step) {
        auto const index = static_cast<IrqIndex>(below(kIrqIndexes));
        unsigned const known = interrupts_.count(index);
        std::uint32_t const start = below(known);
        std::uint32_t const count = below(known - start + 1);
        std::vector<int> values(count);
        for (int& value : values) value = static_cast<int>(below(12)) - 1;
        if (below(20) == 0 && count > 0) values[below(count)] = kClosed;
        (void)set_count(index, static_cast<Data>(below(3)), start, count, values,
                        static_cast<Action>(below(3)));
        if (below(2) != 0) interrupts_.message(below(10));
        if (below(2) != 0) interrupts_.assert_intx();
        if (below(2) != 0) interrupts_.deassert_intx();
        interrupts_.disable_intx(below(4) == 0);
        EXPECT_FALSE(interrupts_.msix_active() && interrupts_.msi_vectors() != 0);
        if (below(50) == 0) interrupts_.release();
    }
}

}  // namespace
}  // namespace pinfold::pci
