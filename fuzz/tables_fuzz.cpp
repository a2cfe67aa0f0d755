// Scripts of map, unmap, split, join and access on a table of any format, beside a model of what
// each page leads to. Words are changed behind the engine's back at times: then nothing is expected
// but that it survives and gives its memory back.
#include <array>
#include <cstdlib>
#include <map>

#include "input.hpp"
#include "pagetable/amdv1.hpp"
#include "pagetable/arm_lpae.hpp"
#include "pagetable/arm_v7s.hpp"
#include "pagetable/radix.hpp"
#include "pagetable/riscv.hpp"
#include "pagetable/vtdss.hpp"

namespace {

using namespace pinfold;
using namespace pinfold::pagetable;

constexpr std::uint64_t kPage = 0x1000;
constexpr std::uint64_t kWindow = 0x100'0000;  // in which places are looked at

void require(bool holds)
{
    if (!holds) std::abort();
}

template <class F>
class Script {
public:
    Script(Input& input, Shape<F> const& shape, std::uint64_t page_bytes)
        : input_{input},
          memory_{TableMemory::create({.page = *PageSize::of(page_bytes),
                                       .budget = 2000,
                                       .base = Paddr{0x1000'0000},
                                       .arena_bytes = 64 << 20})
                      .value()},
          table_{RadixTable<F>::create(memory_, shape).value()}
    {
    }

    void run()
    {
        while (!input_.empty()) step();
        table_.reset();
        require(memory_->pages_in_use() == 0);
    }

private:
    void step()
    {
        std::uint64_t const iova = place();
        std::uint64_t const size = length();
        switch (input_.take<std::uint8_t>() % 8) {
            case 0:
            case 1:
            case 2: map(iova, size); break;
            case 3:
            case 4: unmap(iova, size); break;
            case 5: (void)table_->split(Iova{iova}, removed_); break;
            case 6: table_->join({Iova{0}, Iova{iova}}, removed_); break;
            default: odd(iova); break;
        }
        if (!spoilt_) check(iova);
    }
    std::uint64_t place()
    {
        if (input_.take<std::uint8_t>() % 32 == 0) return input_.take<std::uint64_t>();
        return input_.take<std::uint16_t>() % (kWindow / kPage) * kPage;
    }
    std::uint64_t length()
    {
        std::uint8_t const kind = input_.take<std::uint8_t>();
        if (kind % 32 == 0) return input_.take<std::uint64_t>();
        return (kind % 3 == 0 ? 0x20'0000 : kPage) * (input_.take<std::uint8_t>() % 20);
    }
    void map(std::uint64_t iova, std::uint64_t size)
    {
        std::uint64_t const paddr = place();
        std::uint64_t mapped = 0;
        // More leaves than the budget has tables for are not waited for.
        if (size > std::uint64_t{1} << 30) size = std::uint64_t{1} << 30;
        auto const done = table_->map(Iova{iova}, Paddr{paddr}, size, {.prot = Prot::read_write},
                                      mapped, removed_);
        require(done ? mapped == size : mapped < size || size == 0);
        for (std::uint64_t at = 0; at < mapped && iova + at < kWindow; at += kPage)
            require(spoilt_ || model_.emplace(iova + at, paddr + at).second);
    }
    void unmap(std::uint64_t iova, std::uint64_t size)
    {
        std::uint64_t told = 0;
        std::uint64_t const bytes = table_->unmap(Iova{iova}, size, removed_, [&](Run const& run) {
            told += run.size;
            std::uint64_t const first = run.iova.raw();
            for (std::uint64_t at = 0; at < run.size && first + at < kWindow; at += kPage) {
                auto const page = model_.find(first + at);
                if (spoilt_) continue;
                require(page != model_.end() && page->second == run.paddr.raw() + at);
                model_.erase(page);
            }
        });
        require(told == bytes);
    }
    void odd(std::uint64_t iova)
    {
        switch (input_.take<std::uint8_t>() % 4) {
            case 0: table_->release(removed_); break;
            case 1: memory_->set_budget(input_.take<std::uint8_t>() * 8U); break;
            case 2: (void)table_->access(Iova{iova}, Access::write); break;
            default: {
                // Any word of any table becomes anything, or another one.
                auto const used = memory_->used();
                using Word = typename F::Word;
                std::uint64_t const count = used.size() / sizeof(Word);
                auto* const words = reinterpret_cast<Word*>(const_cast<std::byte*>(used.data()));
                Word const other = words[input_.take<std::uint32_t>() % count];
                words[input_.take<std::uint32_t>() % count] =
                    input_.take<std::uint8_t>() % 2 == 0 ? input_.take<Word>() : other;
                spoilt_ = true;
            }
        }
    }
    void check(std::uint64_t iova)
    {
        if (iova >= kWindow) return;
        auto const leaf = table_->walk(Iova{iova});
        auto const page = model_.find(iova / kPage * kPage);
        require(leaf.has_value() == (page != model_.end()));
        if (leaf)
            require(leaf->paddr.raw() + (iova - leaf->iova.start.raw()) ==
                    page->second + iova % kPage);
    }

    Input& input_;
    std::shared_ptr<TableMemory> memory_;
    std::unique_ptr<RadixTable<F>> table_;
    Removed removed_;
    std::map<std::uint64_t, std::uint64_t> model_;  // of the pages in the window
    bool spoilt_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size)
{
    Input input{data, size};
    std::uint8_t const format = input.take<std::uint8_t>();
    auto const partial = static_cast<Partial>(input.take<std::uint8_t>() % 3);
    auto const run = [&]<class F>(Shape<F> shape, std::uint64_t page_bytes) {
        shape.partial = partial;
        if (format >= 128) shape.tracking = Tracking::on;
        Script<F>{input, shape, page_bytes}.run();
    };
    switch (format % 5) {
        case 0: run(Shape<Vtdss>::fixed(3, PageSizes{0x4020'1000}), 4096); break;
        case 1: run(Shape<Amdv1>{3, 64, PageSizes{0xffff'ff7f'ffff'f000}}, 4096); break;
        case 2: run(Shape<ArmLpae<12>>{4, 48, PageSizes{0x4'4221'1000}}, 4096); break;
        case 3: run(Shape<Riscv<>>{3, 38, PageSizes{0x4021'1000}}, 4096); break;
        default: run(Shape<ArmV7s<>>{2, 32, PageSizes{0x111'1000}}, 1024); break;
    }
    return 0;
}
