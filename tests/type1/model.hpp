// A slow model of MAP_DMA and UNMAP_DMA, written from the rules page by page and sharing nothing
// with what it is held against: a set of IOVA pages, each of which knows its mapping.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "base/result.hpp"
#include "bench.hpp"
#include "type1/requests.hpp"

namespace pinfold::type1 {

class Model {
public:
    struct Limits {
        std::uint64_t granule;
        std::uint64_t host_page;
        Version version;
        std::vector<IovaRange> iova_ranges;
        std::uint64_t entries;
        std::uint64_t locked_pages;
        std::uint64_t least;  // what a mapping must be a multiple of beside the granule
        bool shares_pages;    // a host page costs once for all mappings
        Errno wrapped;        // what a range that wraps is answered with
    };
    explicit Model(Limits limits) : limits_{std::move(limits)} {}

    // Which vaddr pages cannot be pinned for what.
    std::set<std::uint64_t> holes, read_only;

    Errno map(MapRequest const& request)
    {
        std::uint64_t const iova = request.iova.raw(), vaddr = request.vaddr.raw();
        if (request.size == 0) return Errno::inval;
        if (wraps(iova, request.size) || wraps(vaddr, request.size)) return limits_.wrapped;
        if ((request.prot == Prot::none) != request.update_vaddr) return Errno::inval;
        if (iova % limits_.granule || vaddr % limits_.granule || request.size % limits_.granule)
            return Errno::inval;
        std::set<std::uint64_t> const hit = touched(iova, request.size);
        if (request.update_vaddr) return update(hit, request);
        if (!hit.empty()) return Errno::exist;
        if (limits_.entries == 0) return Errno::nospc;
        if (!inside_one_range(iova, request.size)) return Errno::inval;
        if ((iova | vaddr | request.size) % limits_.least) return Errno::inval;
        if (Errno const error = pin(request); error != Errno{0}) return error;
        --limits_.entries;
        mappings_[iova] = {request, false};
        for (std::uint64_t at = 0; at < request.size; at += limits_.granule)
            owner_[iova + at] = iova;
        return Errno{0};
    }

    // The size, or the errno.
    Result<std::uint64_t> unmap(UnmapRequest const& request)
    {
        std::uint64_t iova = request.iova.raw(), last = ~std::uint64_t{0};
        if (iova % limits_.granule) return fail(Errno::inval);
        if (request.all) {
            if (iova != 0 || request.size != 0) return fail(Errno::inval);
        } else {
            if (request.size == 0 || request.size % limits_.granule) return fail(Errno::inval);
            if (wraps(iova, request.size)) return fail(limits_.wrapped);
            last = iova + (request.size - 1);
        }
        bool const cuts = cut_at_start(iova) || cut_at_end(last);
        if (limits_.version == Version::v2 && !request.all && cuts) return fail(Errno::inval);

        std::vector<std::uint64_t> doomed;
        if (limits_.version == Version::v2 || request.all || !cut_at_start(iova))
            for (auto const& [start, mapping] : mappings_)
                if (start >= iova && start <= last) doomed.push_back(start);
        return request.invalidate_vaddr ? mark(doomed) : remove(doomed);
    }

    std::vector<Expected> mapped() const
    {
        std::vector<Expected> all;
        for (auto const& [start, mapping] : mappings_) {
            MapRequest const& it = mapping.request;
            all.push_back({start, it.size, it.vaddr, it.prot});
        }
        return all;
    }

private:
    struct Mapping {
        MapRequest request;
        bool invalid;
    };

    static bool wraps(std::uint64_t start, std::uint64_t size)
    {
        return size - 1 > ~std::uint64_t{0} - start;
    }
    std::set<std::uint64_t> touched(std::uint64_t iova, std::uint64_t size) const
    {
        std::set<std::uint64_t> result;
        auto const end = owner_.upper_bound(iova + (size - 1));
        for (auto at = owner_.lower_bound(iova); at != end; ++at) result.insert(at->second);
        return result;
    }
    bool cut_at_start(std::uint64_t iova) const
    {
        auto const page = owner_.find(iova);
        return page != owner_.end() && page->second != iova;
    }
    bool cut_at_end(std::uint64_t last) const
    {
        auto const page = owner_.find(last / limits_.granule * limits_.granule);
        if (page == owner_.end()) return false;
        auto const& owner = mappings_.at(page->second).request;
        return owner.iova.raw() + owner.size - 1 != last;
    }
    bool inside_one_range(std::uint64_t iova, std::uint64_t size) const
    {
        for (IovaRange const range : limits_.iova_ranges)
            if (iova >= range.start.raw() && iova + size - 1 <= range.last.raw()) return true;
        return false;
    }
    // The host pages that a mapping has a byte of.
    std::vector<std::uint64_t> host_pages(MapRequest const& request) const
    {
        std::vector<std::uint64_t> pages;
        std::uint64_t const first = request.vaddr.raw() / limits_.host_page * limits_.host_page;
        for (auto at = first; at < request.vaddr.raw() + request.size; at += limits_.host_page)
            pages.push_back(at);
        return pages;
    }
    Errno pin(MapRequest const& request)
    {
        bool const writes = allows(request.prot, Access::write);
        std::uint64_t left = limits_.locked_pages;
        for (std::uint64_t const page : host_pages(request)) {
            if (holes.contains(page) || (writes && read_only.contains(page))) return Errno::fault;
            if (limits_.shares_pages && users_[page] != 0) continue;
            if (left-- == 0) return Errno::nomem;
        }
        for (std::uint64_t const page : host_pages(request)) ++users_[page];
        limits_.locked_pages = left;
        return Errno{0};
    }
    void unpin(MapRequest const& request)
    {
        for (std::uint64_t const page : host_pages(request))
            if (--users_[page] == 0 || !limits_.shares_pages) ++limits_.locked_pages;
    }
    Errno update(std::set<std::uint64_t> const& hit, MapRequest const& request)
    {
        if (hit.empty()) return Errno::noent;
        Mapping& mapping = mappings_.at(*hit.begin());
        if (!mapping.invalid || mapping.request.iova != request.iova ||
            mapping.request.size != request.size)
            return Errno::inval;
        mapping.invalid = false;
        return Errno{0};
    }
    Result<std::uint64_t> mark(std::vector<std::uint64_t> const& doomed)
    {
        for (std::uint64_t const start : doomed)
            if (mappings_.at(start).invalid) return fail(Errno::inval);
        std::uint64_t size = 0;
        for (std::uint64_t const start : doomed) {
            mappings_.at(start).invalid = true;
            size += mappings_.at(start).request.size;
        }
        return size;
    }
    Result<std::uint64_t> remove(std::vector<std::uint64_t> const& doomed)
    {
        std::uint64_t size = 0;
        for (std::uint64_t const start : doomed) {
            std::uint64_t const bytes = mappings_.at(start).request.size;
            for (std::uint64_t at = 0; at < bytes; at += limits_.granule) owner_.erase(start + at);
            unpin(mappings_.at(start).request);
            mappings_.erase(start);
            ++limits_.entries;
            size += bytes;
        }
        return size;
    }

    Limits limits_;
    std::map<std::uint64_t, std::uint64_t> users_;  // host page -> mappings that have a byte of it
    std::map<std::uint64_t, Mapping> mappings_;
    std::map<std::uint64_t, std::uint64_t> owner_;  // IOVA page -> start of its mapping
};

}  // namespace pinfold::type1
