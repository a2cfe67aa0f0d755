/* The common part of all guests: carries out the orders, pass by pass. */
#include "reader.h"

static void run_pass(struct orders const* orders, struct pass const* pass)
{
    struct probe const* probes = (struct probe const*)PHYSICAL(orders->probes) + pass->first;
    struct answer* answers = (struct answer*)PHYSICAL(orders->answers) + pass->first;
    uint64_t volatile* const word = PHYSICAL(pass->word);
    uint64_t const whole = pass->word != 0 ? *word : 0;
    if (pass->word != 0) *word = whole ^ pass->flip;
    reader_flush();
    for (uint64_t i = 0; i < pass->count; ++i) {
        answers[i] = (struct answer){0};
        reader_probe(&probes[i], &answers[i]);
    }
    reader_finish_pass(probes, answers, pass->count);
    /* As it was, whatever the hardware marked. */
    if (pass->word != 0) *word = whole;
}

void run(void);
void run(void)
{
    struct orders* orders = PHYSICAL(ORDERS);
    if (orders->magic != ORDERS_MAGIC) reader_power_off();
    reader_start(orders);
    struct pass const* passes = PHYSICAL(orders->passes);
    for (uint64_t i = 0; i < orders->pass_count; ++i) run_pass(orders, &passes[i]);
    reader_flush();
    *(uint64_t volatile*)&orders->done = ORDERS_MAGIC;
    reader_power_off();
}
