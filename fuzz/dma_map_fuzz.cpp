// Scripts of map, unmap and look-up on a DmaMap, beside a map of what must be there.
#include <array>
#include <cstdlib>
#include <map>

#include "input.hpp"
#include "pinfold/dma_map.hpp"

namespace {

using namespace pinfold;

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kMemory = std::uint64_t{1} << 44;  // only named, never touched

void require(bool holds)
{
    if (!holds) std::abort();
}

// Near borders of slots and windows, mostly; sometimes anywhere.
std::uint64_t address(Input& input)
{
    constexpr unsigned kBorders[] = {12, 21, 30, 48, 63};
    auto const kind = input.take<std::uint8_t>();
    if (kind % 16 == 0) return input.take<std::uint64_t>();
    std::uint64_t const border = std::uint64_t{1} << kBorders[kind % 5];
    return border * (kind / 64) + (input.take<std::uint8_t>() - std::uint64_t{128}) * kPage;
}

class Script {
public:
    explicit Script(Input& input) : input_{input} {}

    void step()
    {
        std::uint64_t const iova = address(input_);
        std::uint64_t const size = input_.take<std::uint8_t>() % 8 == 0
                                       ? address(input_)
                                       : (input_.take<std::uint16_t>() % 1200) * kPage;
        switch (input_.take<std::uint8_t>() % 4) {
            case 0:
            case 1: map(iova, size); break;
            case 2: unmap(iova, size); break;
            default: look_up(iova, size);
        }
        require(map_->mappings() == model_.size());
    }

private:
    void map(std::uint64_t iova, std::uint64_t size)
    {
        void* const memory = reinterpret_cast<void*>(kMemory + number_++ * 2 * kPage);
        bool const done = map_->map(Iova{iova}, memory, size, Prot::read).has_value();
        if (done) require(model_.emplace(iova, iova + (size - 1)).second);
    }
    void unmap(std::uint64_t iova, std::uint64_t size)
    {
        auto const gone = map_->unmap(Iova{iova}, size);
        if (!gone) return;
        std::uint64_t expected = 0;
        auto at = model_.lower_bound(iova);
        while (at != model_.end() && at->first <= iova + (size - 1)) {
            expected += at->second - at->first + 1;
            require(at->second <= iova + (size - 1));
            at = model_.erase(at);
        }
        require(*gone == expected);
    }
    void look_up(std::uint64_t iova, std::uint64_t size)
    {
        auto const after = model_.upper_bound(iova);
        bool const there = after != model_.begin() && std::prev(after)->second >= iova;
        require((reader_.translate(Iova{iova}, 1, Access::read) != nullptr) == there);
        require(reader_.translate(Iova{iova}, 1, Access::write) == nullptr);
        std::array<iovec, 4> pieces{};
        auto const found = reader_.segments(Iova{iova}, size, Access::read, pieces);
        require(found.bytes <= size && found.count <= pieces.size());
        require(!there || size == 0 || found.bytes > 0);
    }

    Input& input_;
    std::unique_ptr<DmaMap> map_ = DmaMap::create({.mapping_limit = 64}).value();
    DmaReader reader_ = left(map_->add_reader(Reading::fenced).value());
    std::map<std::uint64_t, std::uint64_t> model_;  // start to last
    std::uint64_t number_ = 0;

    // Look-ups and unmaps take turns, so nothing is in use when an unmap waits.
    static DmaReader left(DmaReader reader)
    {
        reader.leave();
        return reader;
    }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size)
{
    Input input{data, size};
    Script script{input};
    while (!input.empty()) script.step();
    return 0;
}
