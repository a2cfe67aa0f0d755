/* What the host tells a guest to do, and what the guest answers: structures in the guest's RAM,
 * which is a file that the host maps. The guest knows only where the orders stand (ORDERS, given
 * when it is compiled). All addresses are guest-physical. */
#ifndef PINFOLD_ORACLE_ORDERS_H
#define PINFOLD_ORACLE_ORDERS_H

#include <stdint.h>

#define ORDERS_MAGIC 0x7461626c65730001ull

enum probe_kind {
    PROBE_READ,           /* load eight bytes */
    PROBE_WRITE,          /* store `value` */
    PROBE_TRANSLATE_READ, /* ask the translation instruction, where there is one */
    PROBE_TRANSLATE_WRITE,
};

struct probe {
    uint64_t iova; /* a multiple of 8 */
    uint64_t value;
    uint64_t kind;
};

enum answer_outcome {
    ANSWER_NONE,
    ANSWER_DONE,
    ANSWER_FAULT,
};

struct answer {
    uint32_t outcome;
    uint32_t code;    /* of a fault, as the hardware gives it */
    uint64_t value;   /* what was loaded, or the translation's result */
    uint64_t address; /* that the hardware reports with the fault */
};

/* Probes that run one after another over tables in which one word was changed. */
struct pass {
    uint64_t word; /* the eight bytes that hold it; 0: nothing is changed */
    uint64_t flip;
    uint64_t first; /* probe */
    uint64_t count;
};

struct orders {
    uint64_t magic;
    uint64_t done;       /* ORDERS_MAGIC when the guest has come to the end */
    uint64_t setting[8]; /* registers and addresses, as the reader's head comment says */
    uint64_t passes;     /* arrays of struct pass, struct probe, struct answer */
    uint64_t pass_count;
    uint64_t probes;
    uint64_t answers;
};

#endif
