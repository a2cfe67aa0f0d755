// Gathers and scatters, as the processor carries them out on plain memory and as we do where some
// of the elements are a device's.
#include <cpuid.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <array>
#include <cstring>
#include <set>

#include "instruction_stage.hpp"
#include "preload/instruction.hpp"

namespace pinfold::preload::test {
namespace {

// Where a byte of a vector register is in an XSAVE area.
std::size_t place_of(unsigned id, unsigned at)
{
    auto const component = [](unsigned number) {
        unsigned size = 0, offset = 0, rest[2];
        __get_cpuid_count(0xd, number, &size, &offset, &rest[0], &rest[1]);
        return std::size_t{offset};
    };
    static std::array<std::size_t, 4> const starts{160, component(2), component(6), component(7)};
    if (id >= 16) return starts[3] + 64U * (id - 16) + at;
    if (at < 16) return starts[0] + 16U * id + at;
    if (at < 32) return starts[1] + 16U * id + (at - 16);
    return starts[2] + 32U * id + (at - 32);
}

std::size_t place_of_opmask(unsigned id)
{
    unsigned size = 0, offset = 0, rest[2];
    __get_cpuid_count(0xd, 5, &size, &offset, &rest[0], &rest[1]);
    return offset + 8U * id;
}

template <class T>
T get(Registers const& registers, std::size_t place)
{
    T value{};
    std::memcpy(&value, &registers.vectors[place], sizeof value);
    return value;
}

struct Shape {
    bool evex, scatter, floating;
    unsigned index_size, element, vector_length;  // bytes
    unsigned vector, index, mask;                 // registers
    unsigned scale_lg2;
    int displacement;  // 8 bits; EVEX counts elements with it

    unsigned elements() const { return vector_length / std::max(index_size, element); }
    std::int64_t away() const { return displacement * static_cast<int>(evex ? element : 1); }
    bool left(Registers const& registers, unsigned i) const
    {
        if (evex) return (registers.vectors[place_of_opmask(mask) + i / 8] >> (i % 8) & 1) != 0;
        return registers.vectors[place_of(mask, (i + 1) * element - 1)] >= 0x80;
    }
    std::uint64_t value(Registers const& registers, unsigned i) const
    {
        std::uint64_t bytes = 0;
        std::memcpy(&bytes, &registers.vectors[place_of(vector, i * element)], element);
        return bytes;
    }
    // Makes element i lead to `target`; scales leave the last bits to the base.
    std::int64_t lead(Registers& registers, unsigned i, std::int64_t from_base) const
    {
        std::int64_t const steps = (from_base - away()) >> scale_lg2;
        std::memcpy(&registers.vectors[place_of(index, i * index_size)], &steps, index_size);
        return steps * (std::int64_t{1} << scale_lg2) + away();
    }

    // With rdi as the base.
    std::vector<std::uint8_t> code() const
    {
        std::vector<std::uint8_t> bytes;
        auto const byte = [&](unsigned value) {
            bytes.push_back(static_cast<std::uint8_t>(value));
        };
        auto const unless = [](unsigned reg, unsigned bit, unsigned shift) {
            return (~reg >> bit & 1U) << shift;
        };
        unsigned const wide = element == 8 ? 0x80U : 0U;
        unsigned const length = vector_length == 64 ? 2 : vector_length == 32 ? 1 : 0;
        if (evex) {
            byte(0x62);
            byte(unless(vector, 3, 7) | unless(index, 3, 6) | 0x20 | unless(vector, 4, 4) | 2);
            byte(wide | 0x7d);
            byte(length << 5 | unless(index, 4, 3) | mask);
        } else {
            byte(0xc4);
            byte(unless(vector, 3, 7) | unless(index, 3, 6) | 0x20 | 2);
            byte(wide | (~mask & 15U) << 3 | length << 2 | 1);
        }
        byte((scatter ? 0xa0U : 0x90U) | (floating ? 2U : 0U) | (index_size == 8 ? 1U : 0U));
        byte(0x40 | (vector & 7) << 3 | 4);
        byte(scale_lg2 << 6 | (index & 7) << 3 | 7);
        byte(static_cast<std::uint8_t>(displacement));
        return bytes;
    }
};

class Indexed : public testing::TestWithParam<bool> {
protected:
    void SetUp() override
    {
        if (GetParam() && __builtin_cpu_supports("avx512vl") == 0)
            GTEST_SKIP() << "no AVX-512 here";
        if (__builtin_cpu_supports("avx2") == 0) GTEST_SKIP() << "no AVX2 here";
    }

    unsigned pick(unsigned choices) { return static_cast<unsigned>(random() % choices); }

    Shape any_shape()
    {
        bool const evex = GetParam();
        Shape shape{.evex = evex,
                    .scatter = evex && pick(2) == 0,
                    .floating = pick(2) == 0,
                    .index_size = pick(2) == 0 ? 4U : 8U,
                    .element = pick(2) == 0 ? 4U : 8U,
                    .vector_length = evex ? 16U << pick(3) : 16U << pick(2),
                    .vector = 0,
                    .index = 0,
                    .mask = 0,
                    .scale_lg2 = pick(4),
                    .displacement = static_cast<int>(pick(256)) - 128};
        unsigned const registers = evex ? 32 : 16;
        do {
            shape.vector = pick(registers);
            shape.index = pick(registers);
            shape.mask = evex ? 1 + pick(7) : pick(registers);
        } while (shape.vector == shape.index ||
                 (!evex && (shape.mask == shape.vector || shape.mask == shape.index)));
        return shape;
    }

    // Registers whose elements lead to plain memory and the device's alike.
    Registers start_for(Shape const& shape)
    {
        auto start = Stage::registers(random);
        auto const* const base = Stage::device() + kPage + pick(8);
        start.general[7] = reinterpret_cast<std::uint64_t>(base);
        // Parts of the registers that the program has never used.
        std::uint8_t const unused[] = {0, 0, 0x04, 0x40, 0x80, 0xc0, 0xc4};
        if (GetParam()) start.vectors[512] &= static_cast<std::uint8_t>(~unused[pick(7)]);
        for (unsigned i = 0; i < shape.elements(); ++i)
            (void)shape.lead(start, i, static_cast<int>(pick(3 * kPage)) - 3 * 2048);
        return start;
    }

    // What a component that is unused says is not what the instruction finds.
    static bool used(Registers const& start, unsigned id, unsigned size)
    {
        auto const there = [&](unsigned component) {
            return (start.vectors[512] >> component & 1) != 0;
        };
        if (id >= 16) return there(7);
        return (size <= 16 || there(2)) && (size <= 32 || there(6));
    }

    Stage stage;
    unsigned const seed = std::random_device{}();
    testing::ScopedTrace const trace{__FILE__, __LINE__, fmt::format("seed {}", seed)};
    std::mt19937_64 random{seed};
};
std::string encoding(testing::TestParamInfo<bool> const& tested)
{
    return tested.param ? "AVX512" : "AVX2";
}
INSTANTIATE_TEST_SUITE_P(Encodings, Indexed, testing::Bool(), encoding);

TEST_P(Indexed, elements_on_a_device_are_gathered_and_scattered_as_those_in_memory)
{
    std::set<std::string> kinds;
    unsigned trapped = 0;
    for (unsigned round = 0; round < 3000 && !HasFailure(); ++round) {
        auto const shape = any_shape();
        auto const code = shape.code();
        auto const start = start_for(shape);
        auto const on_memory = stage.on_memory(code, start, round);
        auto const on_device = stage.on_device(code, start, round);
        auto const text = describe_instruction(code, 0);
        EXPECT_EQ(on_memory.signal, 0) << text;
        EXPECT_EQ(difference(on_memory, on_device), "")
            << fmt::format("{:02x}: ", fmt::join(code, " ")) << text
            << (on_device.refused ? " was refused" : "");
        trapped += !on_device.accesses.empty();
        if (!on_device.accesses.empty()) kinds.insert(text.substr(0, text.find(' ')));
    }
    EXPECT_GT(trapped, 1500U);
    EXPECT_EQ(kinds.size(), GetParam() ? 16U : 8U) << fmt::format("{}", fmt::join(kinds, " "));
}

TEST_P(Indexed, each_element_reaches_the_device_once_lowest_first)
{
    for (unsigned round = 0; round < 300 && !HasFailure(); ++round) {
        auto shape = any_shape();
        shape.scale_lg2 = 0;
        auto start = start_for(shape);
        start.vectors[512] |= 0xc4;
        auto const base = static_cast<std::int64_t>(
            start.general[7] - reinterpret_cast<std::uint64_t>(Stage::device()));
        std::vector<BusAccess> expected;
        for (unsigned i = 0; i < shape.elements(); ++i) {
            auto const at = static_cast<std::size_t>(base + shape.lead(start, i, pick(2048)));
            if (shape.left(start, i)) expected.push_back({at, shape.element, shape.scatter});
        }
        auto const on_device = stage.on_device(shape.code(), start, round);
        EXPECT_EQ(on_device.accesses == expected, true) << describe_instruction(shape.code(), 0);
    }
}

// The manual: when an element faults, all below it are done and out of the mask; of those above,
// each is done or not.
TEST_P(Indexed, a_fault_leaves_the_elements_below_done_and_the_rest_in_the_mask)
{
    unsigned after_device = 0;
    for (unsigned round = 0; round < 1500 && !HasFailure(); ++round) {
        auto const shape = any_shape();
        auto start = start_for(shape);
        if (!used(start, shape.index, shape.elements() * shape.index_size) ||
            !used(start, shape.vector, shape.elements() * shape.element) ||
            (!shape.evex && !used(start, shape.mask, shape.elements() * shape.element)))
            continue;
        unsigned const bad = pick(shape.elements());
        (void)shape.lead(start, bad, std::int64_t{64} << 20);
        if (!shape.left(start, bad)) continue;
        auto const code = shape.code();
        SCOPED_TRACE(describe_instruction(code, 0));
        auto const undisturbed = stage.on_memory(code, start, round);
        auto const outcome = stage.on_device(code, start, round);
        EXPECT_EQ(undisturbed.signal, SIGSEGV);
        EXPECT_EQ(outcome.signal, SIGSEGV);
        EXPECT_FALSE(outcome.refused);
        EXPECT_EQ(outcome.registers.general, start.general);
        after_device += !outcome.accesses.empty();
        for (unsigned i = 0; i < shape.elements(); ++i) {
            if (!shape.left(start, i)) continue;
            bool const done = !shape.left(outcome.registers, i);
            EXPECT_EQ(done, i < bad ? true : i == bad ? false : done);
            if (shape.scatter) continue;
            auto const value = shape.value(outcome.registers, i);
            if (i < bad) {
                EXPECT_EQ(value, shape.value(undisturbed.registers, i));
            }
            if (!done) {
                EXPECT_EQ(value, shape.value(start, i));
            }
        }
    }
    EXPECT_GT(after_device, 100U);
}

TEST_P(Indexed, what_the_bus_refuses_is_a_bus_error)
{
    stage.refuse_accesses(true);
    for (unsigned round = 0; round < 50; ++round) {
        auto const shape = any_shape();
        auto start = start_for(shape);
        start.vectors[512] |= 0xc4;
        bool any = false;
        for (unsigned i = 0; i < shape.elements(); ++i) {
            (void)shape.lead(start, i, pick(2048));
            any = any || shape.left(start, i);
        }
        auto const outcome = stage.on_device(shape.code(), start, round);
        EXPECT_EQ(outcome.signal, any ? SIGBUS : 0);
        EXPECT_TRUE(outcome.accesses.empty());
    }
}

}  // namespace
}  // namespace pinfold::preload::test
