#include "devices/loaded.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "devices/loaded_identity.hpp"
#include "pinfold/device_abi.h"

namespace pinfold::devices {
namespace {

using pci::Checked;
using pci::DeviceSpec;

// The bus as an object sees it: from its device's first reset on. Before, every call fails, and is
// remembered.
struct Front {
    pci::Bus& bus;
    bool powered = false, misused = false;

    // nullptr: not yet.
    static pci::Bus* of(void* host)
    {
        auto& front = *static_cast<Front*>(host);
        front.misused = front.misused || !front.powered;
        return front.powered ? &front.bus : nullptr;
    }
};

pinfold_bus calls_to(Front& front)
{
    return {.host = &front,
            .dma_read =
                [](void* host, std::uint64_t iova, void* into, std::size_t size) {
                    std::span const bytes{static_cast<std::byte*>(into), size};
                    auto* const bus = Front::of(host);
                    return bus != nullptr && bus->dma().read(Iova{iova}, bytes) ? 0 : -1;
                },
            .dma_write =
                [](void* host, std::uint64_t iova, void const* from, std::size_t size) {
                    std::span const bytes{static_cast<std::byte const*>(from), size};
                    auto* const bus = Front::of(host);
                    return bus != nullptr && bus->dma().write(Iova{iova}, bytes) ? 0 : -1;
                },
            .raise =
                [](void* host, unsigned vector) {
                    if (auto* const bus = Front::of(host)) bus->raise(vector);
                },
            .lower =
                [](void* host) {
                    if (auto* const bus = Front::of(host)) bus->lower();
                },
            .message_signalled =
                [](void* host) {
                    auto* const bus = Front::of(host);
                    return bus != nullptr && bus->message_signalled() ? 1 : 0;
                },
            .bar_memory = [](void* host, unsigned bar) -> void* {
                auto* const bus = Front::of(host);
                if (bus == nullptr || bar >= 6) return nullptr;
                return bus->bar_memory(bar).data();
            }};
}

class LoadedDevice final : public pci::Device {
public:
    explicit LoadedDevice(pci::Bus& bus) : front_{bus} {}
    LoadedDevice(LoadedDevice const&) = delete;
    LoadedDevice& operator=(LoadedDevice const&) = delete;
    ~LoadedDevice() override
    {
        if (device_.destroy != nullptr) device_.destroy(device_.self);
    }

    Checked<void> make(pinfold_model const& model, std::span<pinfold_setting const> settings)
    {
        std::array<char, 512> error{};
        if (model.create(settings.data(), settings.size(), &bus_, &device_, error.data(),
                         error.size()) != 0) {
            device_ = {};
            error.back() = '\0';
            return std::unexpected{std::string{error.data()}};
        }
        bool const whole = device_.bar_read != nullptr && device_.bar_write != nullptr &&
                           device_.reset != nullptr && device_.summary != nullptr &&
                           device_.destroy != nullptr;
        if (!whole) return std::unexpected{"its device leaves a call out"};
        if (front_.misused)
            return std::unexpected{
                "its device uses the bus while it is made; a device's life begins with reset()"};
        auto identity = identity_from(device_.identity);
        if (!identity) return std::unexpected{identity.error()};
        identity_ = std::move(*identity);
        return {};
    }

    pci::Identity const& identity() const override { return identity_; }
    std::uint64_t bar_read(unsigned bar, std::uint64_t offset, unsigned size) override
    {
        return device_.bar_read(device_.self, bar, offset, size);
    }
    void bar_write(unsigned bar, std::uint64_t offset, unsigned size, std::uint64_t value) override
    {
        device_.bar_write(device_.self, bar, offset, size, value);
    }
    void reset() override
    {
        front_.powered = true;
        device_.reset(device_.self);
    }
    std::string summary() const override
    {
        std::array<char, 256> line{};
        device_.summary(device_.self, line.data(), line.size());
        line.back() = '\0';
        return line.data();
    }

private:
    Front front_;
    pinfold_bus bus_ = calls_to(front_);
    pinfold_device device_{};
    pci::Identity identity_;
};

// The bus of a device that is only looked at.
class NoBus final : public pci::Bus {
public:
    pci::DmaPort& dma() override { std::abort(); }  // a device is made without it
    void raise(unsigned) override {}
    void lower() override {}
    bool message_signalled() const override { return false; }
    std::span<std::byte> bar_memory(unsigned) override { return {}; }
    void wake() override {}
    Result<> set_alarm(std::chrono::milliseconds) override { return {}; }
};

class LoadedModel final : public pci::Model {
public:
    LoadedModel(std::string path, pinfold_model const& model)
        : path_{std::move(path)}, model_{model}, example_{path_ + ",bdf=0000:00:04.0"}
    {
        for (auto const& one : std::span{model.options, model.options_count})
            options_.push_back({one.key, one.value, one.help, one.required != 0});
    }

    std::string_view name() const override { return model_.name; }
    std::string_view summary() const override { return model_.summary; }
    std::span<Option const> options() const override { return options_; }
    std::string_view example() const override { return example_; }

    Checked<void> check(DeviceSpec const& spec) const override
    {
        NoBus bus;
        if (auto const made = make(spec, bus); !made) return std::unexpected{made.error()};
        return {};
    }
    Checked<std::unique_ptr<pci::Device>> create(DeviceSpec const& spec,
                                                 pci::Bus& bus) const override
    {
        return make(spec, bus);
    }

private:
    std::string all_keys() const
    {
        std::string text;
        for (auto const& option : options_)
            text += fmt::format("{}{}", text.empty() ? "" : ", ", option.key);
        return text.empty() ? "it has none" : "it has " + text;
    }

    Checked<void> check_keys(DeviceSpec const& spec) const
    {
        std::set<std::string_view> said;
        for (auto const& setting : spec.settings) {
            bool known = false;
            for (auto const& option : options_) known = known || option.key == setting.key;
            if (!known)
                return std::unexpected{fmt::format("{}: there is no setting '{}'; {}", name(),
                                                   setting.key, all_keys())};
            if (!said.insert(setting.key).second)
                return std::unexpected{fmt::format("{}: {} is given twice", name(), setting.key)};
        }
        for (auto const& option : options_)
            if (option.required && !said.contains(option.key))
                return std::unexpected{fmt::format("{}: needs {}={}: {}", name(), option.key,
                                                   option.value, option.help)};
        return {};
    }

    Checked<std::unique_ptr<LoadedDevice>> make(DeviceSpec const& spec, pci::Bus& bus) const
    {
        if (auto const fine = check_keys(spec); !fine) return std::unexpected{fine.error()};
        std::vector<pinfold_setting> settings;
        for (auto const& setting : spec.settings)
            settings.push_back({setting.key.c_str(), setting.value.c_str()});
        auto device = std::make_unique<LoadedDevice>(bus);
        if (auto const made = device->make(model_, settings); !made)
            return std::unexpected{fmt::format("{}: {}", name(), made.error())};
        return device;
    }

    std::string path_;
    pinfold_model const& model_;
    std::vector<Option> options_;
    std::string example_;
};

// Its own calls go past what a client was started with, as the engine's do. (Sanitizers want to
// see all of them.)
#if defined(__SANITIZE_ADDRESS__)
constexpr int kHow = RTLD_NOW | RTLD_LOCAL;
#else
constexpr int kHow = RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND;
#endif

Checked<std::unique_ptr<LoadedModel>> load(std::string const& path)
{
    void* const object = ::dlopen(path.c_str(), kHow);
    if (object == nullptr) return std::unexpected{std::string{::dlerror()}};
    auto const refuse = [&](std::string sentence) {
        ::dlclose(object);
        return std::unexpected{fmt::format("{}: {}", path, sentence)};
    };
    using Entry = pinfold_model const* (*)();
    auto const entry = reinterpret_cast<Entry>(::dlsym(object, "pinfold_device_model"));
    if (entry == nullptr)
        return refuse("is no device: it does not export pinfold_device_model (PINFOLD_DEVICE)");
    auto const* const model = entry();
    if (model == nullptr) return refuse("is no device: it has no model");
    if (model->abi != PINFOLD_DEVICE_ABI || model->size != sizeof *model)
        return refuse(
            fmt::format("is built for version {} of the device interface, and this is "
                        "version {}; build it again with this Pinfold's headers",
                        model->abi, PINFOLD_DEVICE_ABI));
    if (model->name == nullptr || model->summary == nullptr || model->create == nullptr ||
        (model->options == nullptr && model->options_count != 0))
        return refuse("is no device: its model leaves something out");
    return std::make_unique<LoadedModel>(path, *model);
}

}  // namespace

bool names_object(std::string_view model) { return model.contains('/'); }

Checked<pci::Model const*> load_object(std::string const& path)
{
    static std::mutex mutex;
    static std::map<std::string, std::unique_ptr<LoadedModel>> loaded;
    std::lock_guard const lock{mutex};
    auto const known = loaded.find(path);
    if (known != loaded.end()) return known->second.get();
    auto model = load(path);
    if (!model) return std::unexpected{model.error()};
    return loaded.emplace(path, std::move(*model)).first->second.get();
}

}  // namespace pinfold::devices
