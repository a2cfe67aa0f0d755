// A whole device in one file: it sums up bytes of the client's memory. docs/writing-devices.md goes
// through it.
//
//     pinfold run --device build/examples/checksum_device.so,bdf=0000:00:05.0,limit=65536 --
//     PROGRAM
//
// BAR 0 has one page of registers:
//
//     0x00  ID       reads 0x5355'4d21
//     0x04  LENGTH   bytes to sum up
//     0x08  ADDRESS  where they are, 64 bits
//     0x10  START    any write sums up, and interrupts (vector 0) when it is over
//     0x14  STATUS   0 not started, 1 done, 2 some byte could not be reached, 3 too long; a write
//                    of any value takes the interrupt back
//     0x18  SUM      all bytes added up, modulo 2^32

#include <algorithm>
#include <cstring>

#include "pinfold/device.hpp"

namespace {

using namespace pinfold::device;

class Checksum final : public Device {
public:
    // What `pinfold devices ./checksum_device.so` says of it, and the keys that --device takes.
    static constexpr char const* kName = "checksum";
    static constexpr char const* kSummary = "sums up bytes of memory";
    static std::vector<Option> options()
    {
        return {{"limit", "BYTES", "the longest sum (1048576)"}};
    }

    // A wrong setting is an exception, and its text is what the user reads.
    Checksum(Bus bus, Settings const& settings)
        : bus_{bus}, limit_{settings.number("limit", 1 << 20, 1, 1 << 30)}
    {
    }

    // The face to the bus. All registers can be read without side effects, so their page is
    // memory: the client reads it at full speed, and only its writes come here.
    Identity identity() const override
    {
        Identity identity;
        identity.vendor = 0x1234;
        identity.device = 0x5353;
        identity.class_code = 0x088000;
        identity.msi_vectors = 1;
        identity.bars[0].kind = Bar::Kind::memory32;
        identity.bars[0].size = 4096;
        identity.bars[0].pages = {Page::readable};
        return identity;
    }

    void reset() override
    {
        registers_ = {};
        bus_.lower();
        show();
    }

    // Never called: the only page is readable.
    std::uint64_t bar_read(unsigned, std::uint64_t, unsigned) override { return 0; }

    // Writes have the width and alignment that the client chose; this device wants its own.
    void bar_write(unsigned, std::uint64_t offset, unsigned size, std::uint64_t value) override
    {
        auto const word = static_cast<std::uint32_t>(value);
        if (offset == 0x04 && size == 4) registers_.length = word;
        if (offset == 0x08 && size == 8) registers_.address = value;
        if (offset == 0x10 && size == 4) start();
        if (offset == 0x14 && size == 4) bus_.lower();
        show();
    }

    std::string summary() const override { return std::to_string(summed_) + " bytes summed up"; }

private:
    struct Registers {
        std::uint32_t id = 0x5355'4d21, length = 0;
        std::uint64_t address = 0;
        std::uint32_t start = 0, status = 0, sum = 0;
    };

    // Everything that a client wrote is checked where it is used: here, against the limit. Whether
    // the address leads anywhere is for the IOMMU to say.
    void start()
    {
        registers_.sum = 0;
        registers_.status = registers_.length > limit_ ? 3 : sum_up();
        bus_.raise(0);
    }

    // Memory is reached by copies through the bus, never by a pointer.
    std::uint32_t sum_up()
    {
        std::array<unsigned char, 4096> bytes;
        for (std::uint32_t done = 0; done < registers_.length;) {
            auto const piece = std::min<std::uint32_t>(sizeof bytes, registers_.length - done);
            if (!bus_.dma_read(registers_.address + done, bytes.data(), piece)) return 2;
            for (std::uint32_t i = 0; i < piece; ++i) registers_.sum += bytes[i];
            done += piece;
        }
        summed_ += registers_.length;
        return 1;
    }

    // What the client reads next.
    void show() { std::memcpy(bus_.bar_memory(0), &registers_, sizeof registers_); }

    Bus bus_;
    std::uint64_t limit_;
    Registers registers_;
    std::uint64_t summed_ = 0;
};

}  // namespace

PINFOLD_DEVICE(Checksum)
