#include "devices/nvme/features.hpp"
#include "devices/nvme_fixture.hpp"

namespace pinfold::devices::nvme {
namespace {

class NvmeFeatures : public NvmeTest {
protected:
    Completion set(std::uint32_t id, std::uint32_t value, std::uint32_t nsid = 0,
                   std::uint32_t save = 0)
    {
        auto command = admin_command(AdminOpcode::set_features, id | save << 31, value);
        command.nsid = nsid;
        return driver_.admin(command);
    }
    Status set_status(std::uint32_t id, std::uint32_t value, std::uint32_t nsid = 0)
    {
        return status_of(set(id, value, nsid));
    }
    Completion get(std::uint32_t id, std::uint32_t select = 0, std::uint32_t cdw11 = 0,
                   std::uint32_t nsid = 0)
    {
        auto command = admin_command(AdminOpcode::get_features, id | select << 8, cdw11);
        command.nsid = nsid;
        return driver_.admin(command);
    }
    std::uint32_t value(std::uint32_t id, std::uint32_t select = 0, std::uint32_t cdw11 = 0)
    {
        auto const entry = get(id, select, cdw11);
        EXPECT_EQ(status_of(entry), Status::success) << "feature " << id;
        return entry.result;
    }
};

constexpr std::array<std::uint32_t, 11> kFeatures{1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 15};

TEST_F(NvmeFeatures, each_keeps_what_it_is_told_and_a_controller_reset_brings_the_default_back)
{
    struct Case {
        std::uint32_t id, value, expected;
    };
    for (auto const& [id, written, expected] :
         {Case{1, 0x0102'03f7, 0x0102'0307}, Case{2, 0x40, 0x40}, Case{4, 0x0150, 0x0150},
          Case{5, 0x1234, 0x1234}, Case{6, 0, 0}, Case{7, 0x0003'0005, 0x0003'0005},
          Case{8, 0xabcd, 0xabcd}, Case{10, 1, 1}, Case{11, 0x1f, 0x1f}, Case{15, 3600001, 3600100},
          Case{15, 0xffff'ffff, 4294967200}}) {
        auto const before = value(id);
        EXPECT_EQ(status_of(set(id, written)), Status::success) << "feature " << id;
        EXPECT_EQ(value(id), expected) << "feature " << id;
        EXPECT_EQ(value(id, 1), before) << "its default";
        EXPECT_EQ(value(id, 2), before) << "nothing is saved";
        driver_.enable();
        EXPECT_EQ(value(id), before) << "feature " << id;
    }
}

TEST_F(NvmeFeatures, features_that_do_not_exist_are_invalid_fields)
{
    for (std::uint32_t id = 0; id < 256; ++id) {
        auto const known = std::ranges::find(kFeatures, id) != kFeatures.end();
        EXPECT_EQ(status_of(get(id)), known ? Status::success : Status::invalid_field) << id;
        if (known) continue;
        EXPECT_EQ(set_status(id, 0), Status::invalid_field) << id;
    }
}

TEST_F(NvmeFeatures, none_is_saveable_and_all_are_changeable)
{
    for (auto const id : kFeatures) {
        EXPECT_EQ(status_of(set(id, 0, 0, 1)), Status::feature_not_saveable) << id;
        EXPECT_EQ(value(id, 3) & 1, 0U);
        EXPECT_EQ(value(id, 3) & 4, 4U);
        for (std::uint32_t select = 4; select < 8; ++select) {
            EXPECT_EQ(status_of(get(id, select)), Status::invalid_field);
        }
    }
    EXPECT_EQ(status_of(set(0x80, 0, 0, 1)), Status::invalid_field) << "unknown comes first";
}

TEST_F(NvmeFeatures, a_namespace_is_named_only_where_it_makes_sense)
{
    EXPECT_EQ(set_status(1, 0, 1), Status::feature_not_namespace_specific);
    EXPECT_EQ(set_status(1, 0, 2), Status::invalid_namespace);
    EXPECT_EQ(set_status(1, 0, kBroadcastNsid), Status::success);
    EXPECT_EQ(set_status(5, 0, 1), Status::success);
    EXPECT_EQ(set_status(6, 1, 1), Status::success) << "as QEMU's driver does";
    EXPECT_EQ(status_of(get(1, 0, 0, 9)), Status::invalid_namespace);
}

TEST_F(NvmeFeatures, values_that_are_not_offered_are_refused)
{
    EXPECT_EQ(set_status(2, 1), Status::invalid_field) << "a second power state";
    EXPECT_EQ(set_status(5, 1 << 16), Status::invalid_field) << "errors for deallocated blocks";
    EXPECT_EQ(set_status(7, 0xffff), Status::invalid_field);
    EXPECT_EQ(set_status(7, 0xffff'0000), Status::invalid_field);
    EXPECT_EQ(set_status(9, kVectors), Status::invalid_field);
    EXPECT_EQ(status_of(get(9, 0, kVectors)), Status::invalid_field);
}

TEST_F(NvmeFeatures, temperature_thresholds_are_two_and_have_one_sensor)
{
    EXPECT_EQ(value(4), kWarningTemperature);
    EXPECT_EQ(value(4, 0, 1 << 20), 0U);
    EXPECT_EQ(set_status(4, 200 | 1 << 20), Status::success);
    EXPECT_EQ(value(4, 0, 1 << 20), 200U);
    EXPECT_EQ(value(4), kWarningTemperature) << "the other one";
    EXPECT_EQ(set_status(4, 200 | 2 << 20), Status::invalid_field);
    EXPECT_EQ(set_status(4, 200 | 1 << 16), Status::invalid_field) << "sensor 1";
    EXPECT_EQ(set_status(4, 350 | 0xf << 16), Status::success) << "all sensors";
    EXPECT_EQ(value(4), 350U);
    EXPECT_EQ(status_of(get(4, 0, 1 << 16)), Status::invalid_field);
}

TEST_F(NvmeFeatures, queues_are_granted_up_to_a_limit_and_before_the_first_is_made)
{
    auto const all = set(7, 0xfffe'fffe);
    EXPECT_EQ(status_of(all), Status::success);
    EXPECT_EQ(all.result, (kIoQueues - 1) << 16 | (kIoQueues - 1));
    EXPECT_EQ(set(7, 0).result, 0U) << "one each";
    EXPECT_EQ(value(7), 0U);
    (void)driver_.make_queues(1, 4);
    EXPECT_EQ(set_status(7, 0), Status::command_sequence_error);
}

TEST_F(NvmeFeatures, interrupt_vectors_keep_their_own_setting)
{
    EXPECT_EQ(set_status(9, 1 << 16 | 3), Status::success);
    EXPECT_EQ(value(9, 0, 3), 1U << 16 | 3);
    EXPECT_EQ(value(9, 0, 4), 4U);
    EXPECT_EQ(set_status(9, 3), Status::success);
    EXPECT_EQ(value(9, 0, 3), 3U);
}

}  // namespace
}  // namespace pinfold::devices::nvme
