/* The edu device at 00:04.0, whose DMA the IOMMU readers on x86 use, and what differs between them.
 */
#ifndef PINFOLD_ORACLE_EDU_H
#define PINFOLD_ORACLE_EDU_H

#include "reader.h"

#define EDU_DEVFN 0x20

/* Given by the IOMMU's file. */
void iommu_start(struct orders const* orders);
void iommu_flush(void);
/* 0, or what was recorded since the last call about a fault; its address goes to `address`. */
uint32_t iommu_fault(uint64_t* address);

uint32_t pci_config(unsigned devfn, unsigned offset);

#endif
