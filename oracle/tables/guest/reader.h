/* What each guest gives to run.c: a reader of page tables. */
#ifndef PINFOLD_ORACLE_READER_H
#define PINFOLD_ORACLE_READER_H

#include "orders.h"

/* Where the guest finds physical memory: PHYSICAL_BASE is 0 where it runs untranslated. */
#define PHYSICAL(address) ((void*)(uintptr_t)((address) + PHYSICAL_BASE))

void reader_start(struct orders const* orders);
/* Forgets what it knows of the tables. */
void reader_flush(void);
/* A fault is an answer. `answer` is zeroed. */
void reader_probe(struct probe const* probe, struct answer* answer);
/* After the last probe of a pass: the answers that could not be given before. */
void reader_finish_pass(struct probe const* probes, struct answer* answers, uint64_t count);
void reader_power_off(void) __attribute__((noreturn));

#endif
