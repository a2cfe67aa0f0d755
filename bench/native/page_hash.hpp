// A peer where all mappings are single pages: liburcu's lock-free hash table by page number, whose
// readers are QSBR's and pay nothing. It is made as large as it will be, and an unmap waits for the
// readers as ours does. It knows no ranges.
#pragma once

#include <urcu/urcu-qsbr.h>

#include <urcu/rculfhash.h>

#include <cstdint>
#include <memory>

#include "layouts.hpp"

namespace pinfold::bench {

class PageHash {
public:
    PageHash()
        : table_{cds_lfht_new_flavor(kBuckets, kBuckets, kBuckets, 0, &urcu_qsbr_flavor, nullptr)}
    {
        thread_local Registered const registered;
    }
    ~PageHash()
    {
        cds_lfht_iter at;
        cds_lfht_first(table_, &at);
        while (cds_lfht_node* const node = cds_lfht_iter_get_node(&at)) {
            (void)cds_lfht_del(table_, node);
            cds_lfht_next(table_, &at);
            delete page_of(node);
        }
        (void)cds_lfht_destroy(table_, nullptr);
    }
    PageHash(PageHash const&) = delete;
    PageHash& operator=(PageHash const&) = delete;

    // REQUIRES: size is a page's.
    bool map(std::uint64_t iova, std::uint64_t address, std::uint64_t)
    {
        auto page = std::make_unique<Page>(Page{{}, iova / kPageBytes, address - iova});
        cds_lfht_node_init(&page->node);
        cds_lfht_node* const there =
            cds_lfht_add_unique(table_, hash(page->number), same, &page->number, &page->node);
        return there == &page.release()->node;
    }
    bool unmap(std::uint64_t iova, std::uint64_t)
    {
        cds_lfht_node* const node = find(iova);
        if (node == nullptr || cds_lfht_del(table_, node) != 0) return false;
        urcu_qsbr_synchronize_rcu();
        delete page_of(node);
        return true;
    }
    std::uint64_t translate(std::uint64_t iova, std::uint64_t size) const
    {
        cds_lfht_node* const node = find(iova);
        if (node == nullptr || (iova + size - 1) / kPageBytes != iova / kPageBytes) return 0;
        return iova + page_of(node)->delta;
    }

private:
    static constexpr unsigned long kBuckets = 131'072;

    struct Page {
        cds_lfht_node node;  // first: page_of() counts on it
        std::uint64_t number;
        std::uint64_t delta;  // from iova to address
    };
    struct Registered {
        Registered() { urcu_qsbr_register_thread(); }
        ~Registered() { urcu_qsbr_unregister_thread(); }
    };

    static Page* page_of(cds_lfht_node* node) { return reinterpret_cast<Page*>(node); }
    static unsigned long hash(std::uint64_t number) { return number * 0x9e37'79b9'7f4a'7c15 >> 20; }
    static int same(cds_lfht_node* node, void const* number)
    {
        return page_of(node)->number == *static_cast<std::uint64_t const*>(number);
    }
    cds_lfht_node* find(std::uint64_t iova) const
    {
        std::uint64_t const number = iova / kPageBytes;
        cds_lfht_iter at;
        cds_lfht_lookup(table_, hash(number), same, &number, &at);
        return cds_lfht_iter_get_node(&at);
    }

    cds_lfht* table_;
};

}  // namespace pinfold::bench
