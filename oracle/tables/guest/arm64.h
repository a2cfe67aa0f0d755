/* What readers that are a 64-bit Arm CPU give to arm64.c, which answers probes. */
#ifndef PINFOLD_ORACLE_ARM64_H
#define PINFOLD_ORACLE_ARM64_H

#include "reader.h"

/* Loads from, or stores the value at, the probe's IOVA: what was loaded. `fault` becomes the
 * syndrome of one, and the answer its address; else it stays 0. */
uint64_t access(struct probe const* probe, uint64_t* fault);
/* Asks the translation instructions: what PAR_EL1 says. */
uint64_t translate(struct probe const* probe);

#endif
