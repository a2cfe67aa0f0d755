// Threads that look up what others are just learning. What a thread finds may be missing; it is
// never another page's, another generation's, or more than was allowed.
#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "pci/reached_pages.hpp"
#include "support/single_step.hpp"

namespace pinfold::pci {
namespace {

struct Question {
    Iova page;
    std::uint64_t generation;
};

// Few, so that they meet: two pages in each of two blocks of one set, in two generations. They
// drive each other out.
constexpr unsigned kQuestions = 8;

Question question(unsigned number)
{
    return {Iova{(std::uint64_t{number & 1} << 36) + (std::uint64_t{number >> 1 & 1} << 12)},
            1 + std::uint64_t{number >> 2 & 1}};
}

// Where the page's bytes are, by what it and the generation are alone: a mixture of two answers is
// right for neither. The two pages of a block lie side by side.
std::byte* bytes_of(Question const& question)
{
    std::uint64_t const block = question.page.raw() >> 36;
    return std::bit_cast<std::byte*>((question.generation << 44) + (block << 42) +
                                     question.page.raw());
}

Prot prot_of(Question const& question)
{
    return (question.page.raw() >> 12 & 1) == 0 ? Prot::read_write : Prot::read;
}

void learn(ReachedPages& pages, Question const& what)
{
    pages.add(what.page, bytes_of(what), prot_of(what), what.generation);
}

enum class Answer { none, right, wrong };

Answer look_up(ReachedPages const& pages, Question const& what, Access access,
               std::uint64_t offset = 0)
{
    auto const found = pages.find(what.page + offset, access, what.generation);
    if (found.at == nullptr) return Answer::none;
    std::uint64_t const page_left = k4K.bytes() - offset;
    // The second page of a block may be read only, and nothing is behind it.
    bool const first = (what.page.raw() & k4K.bytes()) == 0;
    std::uint64_t const most = page_left + (first && access == Access::read ? k4K.bytes() : 0);
    bool const right = found.at == bytes_of(what) + offset && allows(prot_of(what), access) &&
                       found.size >= page_left && found.size <= most;
    return right ? Answer::right : Answer::wrong;
}

// ---- threads, for whoever watches them

class ReachedPagesThreads : public testing::Test {
protected:
    static constexpr unsigned kLearners = 2;
    static constexpr unsigned kFinders = 2;
    static constexpr int kSteps = 100'000;

    void learn_much(unsigned seed)
    {
        std::minstd_rand random{seed};
        all_there_.arrive_and_wait();
        for (int step = 0; step < kSteps; ++step)
            learn(*pages_, question(random() / 256 % kQuestions));
    }

    void look_up_much(unsigned seed)
    {
        std::minstd_rand random{seed};
        all_there_.arrive_and_wait();
        for (int step = 0; step < kSteps; ++step) {
            auto const what = question(random() / 256 % kQuestions);
            auto const access = random() % 2 == 0 ? Access::read : Access::write;
            auto const answer = look_up(*pages_, what, access, random() % 4096);
            if (answer == Answer::right) right_.fetch_add(1, std::memory_order_relaxed);
            if (answer == Answer::wrong) wrong_.fetch_add(1, std::memory_order_relaxed);
        }
    }

    std::unique_ptr<ReachedPages> pages_ = std::make_unique<ReachedPages>();
    std::barrier<> all_there_{kLearners + kFinders};
    std::atomic<int> right_{0}, wrong_{0};
};

TEST_F(ReachedPagesThreads, what_is_found_is_what_was_learnt_of_that_page_in_that_generation)
{
    unsigned const seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < kLearners; ++i) threads.emplace_back([&, i] { learn_much(seed + i); });
    for (unsigned i = 0; i < kFinders; ++i)
        threads.emplace_back([&, i] { look_up_much(seed + kLearners + i); });
    threads.clear();
    EXPECT_GT(right_, 0) << "nothing was ever found, which proves nothing";
    EXPECT_EQ(wrong_, 0);
}

// ---- every point at which another thread can come between

#if !defined(__SANITIZE_THREAD__)

struct Tally {
    int right = 0, wrong = 0;
    void add(Answer answer)
    {
        right += answer == Answer::right;
        wrong += answer == Answer::wrong;
    }
};

// A table in which each of some questions has been learnt, those of a set bit.
std::unique_ptr<ReachedPages> taught(unsigned what)
{
    auto pages = std::make_unique<ReachedPages>();
    for (unsigned i = 0; i < kQuestions; ++i)
        if ((what >> i & 1) != 0) learn(*pages, question(i));
    return pages;
}

TEST(ReachedPagesSteps, whoever_looks_while_something_is_learnt_finds_it_whole_or_not_at_all)
{
    Tally tally;
    for (unsigned before = 0; before < 1U << kQuestions; before += 37)
        for (unsigned what = 0; what < kQuestions; ++what) {
            auto const pages = taught(before);
            test::single_step([&] { learn(*pages, question(what)); },
                              [&](std::size_t) {
                                  for (unsigned i = 0; i < kQuestions; ++i)
                                      for (auto const access : {Access::read, Access::write})
                                          tally.add(look_up(*pages, question(i), access));
                                  return test::Stepping::on;
                              });
        }
    EXPECT_GT(tally.right, 0);
    EXPECT_EQ(tally.wrong, 0);
}

// Looks for what is there, and has something else learnt once so many instructions have been run.
// Returns how many there are, as far as that.
std::size_t look_while_learning(unsigned what, unsigned between, std::size_t moment, Tally& tally)
{
    auto const pages = taught(1U << what);
    auto answer = Answer::none;
    auto const steps =
        test::single_step([&] { answer = look_up(*pages, question(what), Access::read); },
                          [&](std::size_t step) {
                              if (step != moment) return test::Stepping::on;
                              learn(*pages, question(between));
                              return test::Stepping::off;
                          });
    tally.add(answer);
    return steps;
}

TEST(ReachedPagesSteps, what_is_learnt_while_somebody_looks_is_found_whole_or_not_at_all)
{
    constexpr std::size_t kNever = ~std::size_t{0};
    Tally tally;
    for (unsigned what = 0; what < kQuestions; what += 5)
        for (unsigned between = 0; between < kQuestions; ++between) {
            auto const steps = look_while_learning(what, between, kNever, tally);
            // Not each instruction of a build that is not optimised.
            std::size_t const stride = steps < 400 ? 1 : steps / 50;
            for (std::size_t moment = 0; moment < steps; moment += stride)
                look_while_learning(what, between, moment, tally);
        }
    EXPECT_GT(tally.right, 0);
    EXPECT_EQ(tally.wrong, 0);
}

#endif

}  // namespace
}  // namespace pinfold::pci
