#include "devices/edu.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

namespace pinfold::devices {

namespace {

using pci::Checked;
using pci::DeviceSpec;

constexpr std::uint64_t kDefaultDmaMask = 0x0fff'ffff;

// Registers, by their offset in BAR 0.
constexpr std::uint64_t kId = 0x00, kLiveness = 0x04, kFactorial = 0x08, kStatus = 0x20,
                        kIrqStatus = 0x24, kIrqRaise = 0x60, kIrqAck = 0x64, kDmaSource = 0x80,
                        kDmaDestination = 0x88, kDmaCount = 0x90, kDmaCommand = 0x98;
constexpr std::uint64_t kFirstWide = kDmaSource;  // from here on 8-byte accesses are answered too

constexpr std::uint32_t kIdValue = 0x0100'00ed;
constexpr std::uint32_t kStatusInterrupts = 0x80;  // raise kFactorialIrq after a factorial
constexpr std::uint32_t kFactorialIrq = 0x001, kDmaIrq = 0x100;
constexpr std::uint64_t kCommandRun = 1, kCommandFromDevice = 2, kCommandInterrupt = 4;

// Where transfers find the buffer: an address of the device's own, not of its BAR.
constexpr std::uint64_t kBufferStart = 0x4'0000;
constexpr std::uint64_t kBufferSize = 4096;

constexpr std::uint64_t kNothing = ~std::uint64_t{0};  // what a register that is not there reads as

pci::Identity const& edu_identity()
{
    static pci::Identity const kIdentity = [] {
        pci::Identity identity{.vendor = 0x1234,
                               .device = 0x11e8,
                               .subsystem_vendor = 0x1af4,
                               .subsystem = 0x1100,
                               .revision = 0x10,
                               .class_code = 0x00ff00,
                               .interrupt_pin = 1,
                               .msi_vectors = 1,
                               .msix = {},
                               .pci_express = false,
                               .bars = {}};
        identity.bars[0] = {.kind = pci::Bar::Kind::memory32, .size = 1 << 20, .pages = {}};
        return identity;
    }();
    return kIdentity;
}

// n! modulo 2^32, which is 0 from 34 on.
std::uint32_t factorial(std::uint32_t n)
{
    if (n >= 34) return 0;
    std::uint32_t product = 1;
    for (; n > 1; --n) product *= n;
    return product;
}

class Edu final : public pci::Device {
public:
    Edu(pci::Bus& bus, std::uint64_t dma_mask) : bus_{bus}, dma_mask_{dma_mask} {}

    pci::Identity const& identity() const override { return edu_identity(); }
    std::uint64_t bar_read(unsigned bar, std::uint64_t offset, unsigned size) override;
    void bar_write(unsigned bar, std::uint64_t offset, unsigned size, std::uint64_t value) override;
    void reset() override;
    std::string summary() const override;

private:
    // What one power-on loses.
    struct State {
        std::uint32_t liveness = 0, factorial = 0, status = 0, irq_status = 0;
        std::uint64_t source = 0, destination = 0, count = 0, command = 0;
        std::array<std::byte, kBufferSize> buffer{};
    };

    void start_factorial(std::uint32_t n);
    void start_dma(std::uint64_t command);
    bool transfer(std::uint64_t command);
    bool move(Iova outside, std::span<std::byte> part, bool from_device);
    void raise(std::uint32_t irqs);
    void acknowledge(std::uint32_t irqs);

    pci::Bus& bus_;
    std::uint64_t dma_mask_;
    State state_;
    std::uint64_t transfers_ = 0;
};

// Accesses that the registers do not take: 1 and 2 bytes and odd offsets read 0; 8 bytes below
// kFirstWide read all ones. Written, they are dropped.
enum class Width : std::uint8_t { refused, too_wide, taken };
Width width_of(std::uint64_t offset, unsigned size)
{
    if (size < 4 || offset % size != 0) return Width::refused;
    return size == 8 && offset < kFirstWide ? Width::too_wide : Width::taken;
}

std::uint64_t Edu::bar_read(unsigned, std::uint64_t offset, unsigned size)
{
    switch (width_of(offset, size)) {
        case Width::refused: return 0;
        case Width::too_wide: return kNothing;
        case Width::taken: break;
    }
    switch (offset) {
        case kId: return kIdValue;
        case kLiveness: return state_.liveness;
        case kFactorial: return state_.factorial;
        case kStatus: return state_.status;
        case kIrqStatus: return state_.irq_status;
        case kDmaSource: return state_.source;
        case kDmaDestination: return state_.destination;
        case kDmaCount: return state_.count;
        case kDmaCommand: return state_.command;
        default: return kNothing;
    }
}

// A 4-byte write to one of the wide registers sets all of it: the upper half becomes 0.
void Edu::bar_write(unsigned, std::uint64_t offset, unsigned size, std::uint64_t value)
{
    if (width_of(offset, size) != Width::taken) return;
    auto const word = static_cast<std::uint32_t>(value);
    switch (offset) {
        case kLiveness: state_.liveness = ~word; break;
        case kFactorial: start_factorial(word); break;
        case kStatus: state_.status = word & kStatusInterrupts; break;
        case kIrqRaise: raise(word); break;
        case kIrqAck: acknowledge(word); break;
        case kDmaSource: state_.source = value; break;
        case kDmaDestination: state_.destination = value; break;
        case kDmaCount: state_.count = value; break;
        case kDmaCommand: start_dma(value); break;
        default: break;
    }
}

void Edu::start_factorial(std::uint32_t n)
{
    state_.factorial = factorial(n);
    if ((state_.status & kStatusInterrupts) != 0) raise(kFactorialIrq);
}

void Edu::start_dma(std::uint64_t command)
{
    if ((command & kCommandRun) == 0) return;
    if (transfer(command)) ++transfers_;
    state_.command = command & ~kCommandRun;
    if ((command & kCommandInterrupt) != 0) raise(kDmaIrq);
}

// False: nothing moved, or not all. A client learns no more of that than of a real fault.
bool Edu::transfer(std::uint64_t command)
{
    bool const from_device = (command & kCommandFromDevice) != 0;
    std::uint64_t const inside = (from_device ? state_.source : state_.destination) - kBufferStart;
    if (inside > kBufferSize || state_.count > kBufferSize - inside) return false;
    auto const part = std::span{state_.buffer}.subspan(inside, state_.count);
    Iova const outside{(from_device ? state_.destination : state_.source) & dma_mask_};
    return move(outside, part, from_device);
}

// Page by page, as the bus of QEMU's machines moves it: what one page refuses is lost (a read gives
// zeros), and the others are moved all the same.
bool Edu::move(Iova outside, std::span<std::byte> part, bool from_device)
{
    bool whole = true;
    while (!part.empty()) {
        auto const in_page = static_cast<std::size_t>(k4K.bytes() - (outside.raw() & k4K.mask()));
        auto const piece = part.first(std::min(part.size(), in_page));
        auto const moved =
            from_device ? bus_.dma().write(outside, piece) : bus_.dma().read(outside, piece);
        if (!moved && !from_device) std::ranges::fill(piece, std::byte{0});
        whole = whole && moved;
        part = part.subspan(piece.size());
        outside = Iova{outside.raw() + piece.size()};
    }
    return whole;
}

void Edu::raise(std::uint32_t irqs)
{
    state_.irq_status |= irqs;
    if (state_.irq_status != 0) bus_.raise(0);
}

void Edu::acknowledge(std::uint32_t irqs)
{
    state_.irq_status &= ~irqs;
    if (state_.irq_status == 0) bus_.lower();
}

void Edu::reset() { state_ = State{}; }

std::string Edu::summary() const { return std::to_string(transfers_) + " transfers"; }

std::optional<std::uint64_t> parse_number(std::string_view text)
{
    int base = 10;
    if (text.starts_with("0x") || text.starts_with("0X")) {
        text.remove_prefix(2);
        base = 16;
    }
    std::uint64_t number = 0;
    auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return number;
}

Checked<std::uint64_t> dma_mask_of(DeviceSpec const& spec)
{
    std::uint64_t mask = kDefaultDmaMask;
    for (pci::Setting const& setting : spec.settings) {
        if (setting.key != "dma_mask")
            return std::unexpected{"edu has no setting \"" + setting.key +
                                   "\"; it has \"dma_mask\""};
        auto const number = parse_number(setting.value);
        if (!number)
            return std::unexpected{"dma_mask of edu is a number such as 0xfffffff, not \"" +
                                   setting.value + "\""};
        mask = *number;
    }
    return mask;
}

class EduModel final : public pci::Model {
public:
    std::string_view name() const override { return "edu"; }
    std::string_view summary() const override
    {
        return "QEMU's DMA teaching device: factorials, one DMA engine, one interrupt";
    }
    std::span<Option const> options() const override
    {
        static constexpr std::array<Option, 1> kOptions{
            {{"dma_mask", "MASK", "address bits that its DMA can drive (default 0xfffffff)"}}};
        return kOptions;
    }
    std::string_view example() const override { return "edu,bdf=0000:00:04.0"; }
    Checked<void> check(DeviceSpec const& spec) const override
    {
        if (auto mask = dma_mask_of(spec); !mask) return std::unexpected{mask.error()};
        return {};
    }
    Checked<std::unique_ptr<pci::Device>> create(DeviceSpec const& spec,
                                                 pci::Bus& bus) const override
    {
        auto const mask = dma_mask_of(spec);
        if (!mask) return std::unexpected{mask.error()};
        return std::make_unique<Edu>(bus, *mask);
    }
};

}  // namespace

pci::Model const& edu_model()
{
    static EduModel const kModel;
    return kModel;
}

}  // namespace pinfold::devices
