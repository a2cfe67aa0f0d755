// The front door for device servers and VMMs that have no pages to pin: which of the program's own
// memory is behind which IOVA, as fast as it can be told, with Type1's rules of mapping.
//
//     auto map = TRY(pinfold::DmaMap::create({}));
//     auto file = TRY(map->file(fd_from_the_client));
//     TRY(map->map(pinfold::Iova{0x10000}, file, 0, size, pinfold::Prot::read_write));
//
//     auto device = TRY(map->add_reader(pinfold::Reading::sections));     // once in each thread
//     pinfold::DmaSection const section{device};
//     std::byte* bytes = device.translate(iova, 512, pinfold::Access::write);
//     device.mark_dirty(iova, 512);
//
// An unmap returns when no device uses what went. Who has several at hand waits once for all:
//
//     pinfold::DmaBatch batch{*map};
//     for (auto& request : requests) request.unmapped = batch.unmap(request.iova, request.size);
//     batch.wait();
//
// pinfold/space.hpp pins, and answers as `pinfold run` does. Link pinfold_native for this header.
#pragma once

#include "native/dma_map.hpp"
