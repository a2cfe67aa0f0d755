// Random streams of calls, beside the slow model; after every call the raw table is read again and
// held, with pins, charges and DMA_AVAIL, against what the model says is mapped.
#include <gtest/gtest.h>

#include <array>
#include <random>

#include "bench.hpp"
#include "model.hpp"

namespace pinfold::type1 {
namespace {

struct Case {
    std::string name;
    PageSize page;
    iommu::Iommu::Options iommu;
    Version version;
    host::FrameNumbering frames;
    SubpagePolicy policy = SubpagePolicy::merged;
    Kernel kernel = Kernel::v7_3;
};
void PrintTo(Case const& it, std::ostream* out) { *out << it.name; }

Model::Limits limits_of(Bench& bench, Case const& setting, std::uint64_t entries,
                        std::uint64_t locked_pages)
{
    auto const info = bench.container.info();
    bool const parts = setting.policy == SubpagePolicy::subpage;
    return {info->granule,
            setting.page.bytes(),
            setting.version,
            {info->iova_ranges.begin(), info->iova_ranges.end()},
            entries,
            locked_pages,
            parts ? info->granule : setting.page.bytes(),
            parts,
            setting.kernel == Kernel::v7_3 ? Errno::overflow : Errno::inval};
}

class Stream {
public:
    Stream(Case const& setting, unsigned seed)
        : random_{seed},
          entries_{seed % 2 == 0 ? 3U : 20U},
          locked_pages_{seed % 2 == 0                              ? 1000U
                        : setting.policy == SubpagePolicy::subpage ? 4U
                                                                   : 16U},
          bench_{{.page = setting.page,
                  .iommu = setting.iommu,
                  .frames = setting.frames,
                  .dma_entry_limit = entries_,
                  .type = static_cast<std::uint64_t>(setting.version),
                  .kernel = setting.kernel,
                  .policy = setting.policy}},
          granule_{bench_.container.info()->granule},
          buffer_{kPages, setting.page},
          model_{limits(setting)}
    {
        for (std::uint64_t i = 0; i < kPages; ++i) {
            if (i % 16 == 11) forbid(i, PROT_NONE, model_.holes);
            if (i % 16 == 4) forbid(i, PROT_READ, model_.read_only);
        }
        bench_.source.limit = locked_pages_ * setting.page.bytes();
    }

    std::map<Errno, int> answers;  // of MAP

    void step()
    {
        switch (random_() % 8) {
            case 0:
            case 1:
            case 2:
            case 3: map(false); break;
            case 4:
            case 5: unmap(); break;
            case 6: random_() % 4 == 0 ? map(true) : unmap(); break;
            default:
                if (random_() % 16 == 0) join_or_leave();
                break;
        }
    }

private:
    static constexpr std::uint64_t kPages = 64, kWindow = 96;

    Model::Limits limits(Case const& setting)
    {
        return limits_of(bench_, setting, entries_, locked_pages_);
    }
    void forbid(std::uint64_t i, int prot, std::set<std::uint64_t>& pages)
    {
        buffer_.protect(i, prot);
        pages.insert(buffer_.vaddr(i).raw());
    }

    // Around a reserved region, at 2 MiB boundaries; sometimes odd.
    std::uint64_t some_iova()
    {
        std::uint64_t const base = 0x40000000 - kWindow / 2 * granule_;
        std::uint64_t const iova = base + random_() % kWindow * granule_;
        switch (random_() % 32) {
            case 0: return iova + 512;
            case 1: return 0 - (random_() % 3 + 1) * granule_;
            default: return iova;
        }
    }
    std::uint64_t some_size()
    {
        switch (random_() % 32) {
            case 0: return 0;
            case 1: return granule_ + 512;
            case 2: return ~std::uint64_t{0} / granule_ * granule_;
            default: return (random_() % 10 + 1) * granule_;
        }
    }

    void map(bool update)
    {
        static constexpr std::array kProts{Prot::read, Prot::write, Prot::read_write,
                                           Prot::read_write};
        MapRequest request{Iova{some_iova()}, buffer_.vaddr(random_() % (kPages - 12)), some_size(),
                           kProts[random_() % kProts.size()]};
        if (granule_ < bench_.page.bytes())
            request.vaddr = request.vaddr + random_() % bench_.page.bytes();
        if (update) {
            request.update_vaddr = true;
            request.prot = Prot::none;
            auto const mapped = model_.mapped();
            if (!mapped.empty()) {
                Expected const& one = mapped[random_() % mapped.size()];
                request.iova = Iova{one.iova};
                request.size = one.size;
            }
        }
        if (random_() % 40 == 0) request.prot = Prot::none;
        // As the kernel does, every page stands for its first byte: aligned to the granule.
        request.vaddr = Vaddr{request.vaddr.raw() / granule_ * granule_};
        auto const got = bench_.container.map(bench_.process, request);
        Errno const want = model_.map(request);
        ++answers[want];
        ASSERT_EQ(got ? Errno{0} : got.error(), want)
            << std::hex << request.iova.raw() << "+" << request.size;
        compare();
    }

    void unmap()
    {
        UnmapRequest request{.iova = Iova{some_iova()}, .size = some_size(), .dirty = {}};
        auto const mapped = model_.mapped();
        switch (random_() % 8) {
            case 0:
                request.all = true;
                if (random_() % 4 != 0) request = {Iova{0}, 0, true, false, std::nullopt};
                break;
            case 1: request.invalidate_vaddr = true; [[fallthrough]];
            case 2:
            case 3:
                if (mapped.empty()) break;
                request.iova = Iova{mapped[random_() % mapped.size()].iova};
                request.size = mapped[random_() % mapped.size()].size;
                break;
            default: break;
        }
        auto const got = bench_.container.unmap(bench_.process, request);
        auto const want = model_.unmap(request);
        ASSERT_EQ(got, want) << std::hex << request.iova.raw() << "+" << request.size;
        compare();
    }

    // A second domain comes and goes. While some vaddr is invalid it stays out (EBUSY).
    void join_or_leave()
    {
        if (joined_) {
            bench_.container.remove(other_.group);
            joined_ = false;
        } else {
            joined_ = bench_.container.add(other_.group).has_value();
        }
        compare();
    }

    void compare()
    {
        std::vector<iommu::Endpoint*> more;
        if (joined_) more.push_back(&other_.first);
        bench_.expect_state(model_.mapped(), more);
    }

    // Leaves before the container does.
    struct Leaver {
        Stream& stream;
        ~Leaver()
        {
            if (stream.joined_) stream.bench_.container.remove(stream.other_.group);
        }
    };

    std::mt19937_64 random_;
    // Streams are short of one thing or the other.
    unsigned entries_;
    std::uint64_t locked_pages_;
    Bench bench_;
    std::uint64_t granule_;
    Buffer buffer_;
    Model model_;
    Unit other_{native(~std::uint64_t{0xfff}, 64)};
    bool joined_ = false;
    Leaver leaver_{*this};
};

class Random : public testing::TestWithParam<Case> {};

TEST_P(Random, streams_agree_with_the_model_and_with_the_raw_table)
{
    unsigned const seed = std::random_device{}();
    std::map<Errno, int> answers;
    for (unsigned round = 0; round < 8; ++round) {
        SCOPED_TRACE("seed " + std::to_string(seed + round));
        Stream stream{GetParam(), seed + round};
        for (int i = 0; i < 250 && !HasFailure(); ++i) stream.step();
        for (auto const& [errno_, count] : stream.answers) answers[errno_] += count;
    }
    // Each answer is met, or the streams prove little.
    for (Errno const errno_ : {Errno{0}, Errno::inval, Errno::exist, Errno::nospc, Errno::fault,
                               Errno::nomem, Errno::noent})
        EXPECT_GT(answers[errno_], 0) << name(errno_);
    EXPECT_EQ(answers[Errno::overflow] > 0, GetParam().kernel == Kernel::v7_3);
}

// Every list of three calls on four granules and two pages of memory.
TEST_P(Random, every_short_list_of_calls_agrees_with_the_model)
{
    Case const& setting = GetParam();
    Bench bench{{.page = setting.page,
                 .iommu = setting.iommu,
                 .frames = setting.frames,
                 .type = static_cast<std::uint64_t>(setting.version),
                 .kernel = setting.kernel,
                 .policy = setting.policy}};
    Buffer const buffer{8, setting.page};
    std::uint64_t const granule = bench.container.info()->granule;
    bench.source.limit = 2 * setting.page.bytes();
    struct Call {
        bool map;
        std::uint64_t start, count;
    };
    std::vector<Call> calls;
    for (std::uint64_t start = 0; start < 4; ++start)
        for (std::uint64_t count = 1; count <= 3; ++count)
            for (bool const map : {true, false}) calls.push_back({map, start, count});

    std::array<std::size_t, 3> list{};
    auto const next = [&] {
        for (std::size_t& at : list) {
            if (++at < calls.size()) return true;
            at = 0;
        }
        return false;
    };
    do {
        Model model{limits_of(bench, setting, 65535, 2)};
        for (std::size_t const at : list) {
            auto const [map, start, count] = calls[at];
            Iova const iova{0x100000 + start * granule};
            if (map) {
                MapRequest const request{iova, buffer.vaddr() + start * granule, count * granule,
                                         Prot::read_write};
                ASSERT_EQ(error_of(bench.container.map(bench.process, request)),
                          model.map(request));
            } else {
                UnmapRequest const request{.iova = iova, .size = count * granule, .dirty = {}};
                ASSERT_EQ(bench.container.unmap(bench.process, request), model.unmap(request));
            }
        }
        bench.expect_state(model.mapped());
        ASSERT_FALSE(HasFailure()) << list[0] << " " << list[1] << " " << list[2];
        EXPECT_TRUE(bench.unmap_all());
    } while (next());
}

// Reserved in the middle of the window that the streams play in.
std::vector<iommu::ReservedRegion> const kReserved{
    {range_of(0x40000000, 0x4000ffff), iommu::ReservedType::msi},
    {range_of(0x3fff0000, 0x3fff0fff), iommu::ReservedType::direct_relaxable}};

std::vector<Case> cases()
{
    using enum host::FrameNumbering;
    iommu::Iommu::Options const vtd{.reserved = kReserved};
    iommu::Iommu::Options const vtd_4k{.page_sizes = PageSizes{0x1000}, .reserved = kReserved};
    auto all_sizes = native(~std::uint64_t{0xfff}, 64);
    all_sizes.reserved = kReserved;
    return {
        {"v2_4K_vtd", k4K, vtd, Version::v2, contiguous},
        {"v2_4K_vtd_scattered", k4K, vtd, Version::v2, scattered},
        {"v1_4K_vtd", k4K, vtd, Version::v1, contiguous},
        {"v2_16K_vtd_4K_only", k16K, vtd_4k, Version::v2, contiguous},
        {"v2_64K_vtd", k64K, vtd, Version::v2, contiguous},
        {"v1_64K_vtd_scattered", k64K, vtd_4k, Version::v1, scattered},
        {"v2_4K_native", k4K, all_sizes, Version::v2, scattered},
        {"v1_4K_native", k4K, all_sizes, Version::v1, contiguous},
        {"v2_64K_subpage", k64K, vtd_4k, Version::v2, contiguous, SubpagePolicy::subpage},
        {"v1_16K_subpage_scattered_6_1", k16K, vtd, Version::v1, scattered, SubpagePolicy::subpage,
         Kernel::v6_1},
        {"v2_64K_subpage_native_6_12", k64K, all_sizes, Version::v2, scattered,
         SubpagePolicy::subpage, Kernel::v6_12},
        {"v2_64K_rfc_6_1", k64K, vtd_4k, Version::v2, contiguous, SubpagePolicy::rfc_2015,
         Kernel::v6_1},
        {"v2_64K_pre_2015_native", k64K, all_sizes, Version::v2, contiguous,
         SubpagePolicy::pre_2015},
        {"v2_4K_vtd_6_12", k4K, vtd, Version::v2, scattered, SubpagePolicy::merged, Kernel::v6_12},
    };
}

INSTANTIATE_TEST_SUITE_P(Host, Random, testing::ValuesIn(cases()),
                         [](auto const& it) { return it.param.name; });

}  // namespace
}  // namespace pinfold::type1
