/* Answers of readers that are a 64-bit Arm CPU. A fault's code is its syndrome's, or PAR_EL1's low
 * half for a translation. */
#include "arm64.h"

void reader_probe(struct probe const* probe, struct answer* answer)
{
    uint64_t fault = 0;
    uint64_t value;
    if (probe->kind == PROBE_READ || probe->kind == PROBE_WRITE) {
        value = access(probe, &fault);
    } else {
        value = translate(probe);
        fault = (value & 1) != 0 ? value : 0;
    }
    answer->outcome = fault != 0 ? ANSWER_FAULT : ANSWER_DONE;
    answer->code = (uint32_t)fault;
    answer->value = value;
    answer->address = fault != 0 ? value : 0;
}

void reader_finish_pass(struct probe const* probes, struct answer* answers, uint64_t count)
{
    (void)probes, (void)answers, (void)count;
}
