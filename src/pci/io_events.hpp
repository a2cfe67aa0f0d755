// IOEVENTFD: writes to BARs that an eventfd stands for. Rule V-13. Not thread safe: its Function's
// lock is held.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "pci/eventfd_watch.hpp"

namespace pinfold::pci {

class IoEvents {
public:
    struct Write {
        unsigned bar;
        std::uint64_t offset;
        unsigned width;
        std::uint64_t value;
        bool operator==(Write const&) const = default;
    };

    explicit IoEvents(EventfdWatch& watch) : watch_{watch} {}

    bool has(Write const& write) const;
    // ENOSPC: there are 1000 already. ENOMEM, EMFILE. REQUIRES: !has(write).
    Result<> add(Write const& write, UniqueFd eventfd);
    // ENODEV: there is none.
    Result<> remove(Write const& write);
    void clear();

    // What `ticket` stands for; nullopt: nothing any more.
    std::optional<Write> find(EventfdWatch::Ticket ticket) const;

private:
    static constexpr std::size_t kMost = 1000;
    struct Entry {
        EventfdWatch::Ticket ticket;
        Write write;
    };

    EventfdWatch& watch_;
    std::vector<Entry> entries_;
};

}  // namespace pinfold::pci
