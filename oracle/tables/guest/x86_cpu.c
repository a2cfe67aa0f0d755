/* Reader of x86-64 tables, 4 and 5 levels: the MMU of a CPU in 64-bit mode, with user code that
 * loads and stores. x86_boot.S says how it starts. The last slot of the root, which is of the upper
 * half and empty in a table under test, gets the guest's own table. Settings: 0 CR3, 1 levels. A
 * fault's code is its vector << 16 | error code. */
#include "reader.h"
#include "x86_gate.h"

extern uint64_t upper_table[512], level4[512];
uint64_t access_as_user(uint64_t iova, uint64_t value, void (*code)(void), uint64_t* fault);
void user_read(void), user_write(void);
void trap_page_fault(void), trap_protection(void), trap_done(void);

static struct gate gates[129];
static uint64_t root;

void reader_start(struct orders const* orders)
{
    gates[13] = gate_to(trap_protection, 0x8e);
    gates[14] = gate_to(trap_page_fault, 0x8e);
    gates[0x80] = gate_to(trap_done, 0xee);
    load_gates(gates, sizeof gates);

    root = orders->setting[0];
    uint64_t const own =
        (uintptr_t)(orders->setting[1] == 5 ? level4 : upper_table) - PHYSICAL_BASE;
    ((uint64_t*)PHYSICAL(root))[511] = own | 0x27;
}

void reader_flush(void) { __asm__ volatile("mov %0, %%cr3" ::"r"(root) : "memory"); }

void reader_probe(struct probe const* probe, struct answer* answer)
{
    uint64_t fault;
    uint64_t const value = access_as_user(
        probe->iova, probe->value, probe->kind == PROBE_READ ? user_read : user_write, &fault);
    answer->outcome = fault != 0 ? ANSWER_FAULT : ANSWER_DONE;
    answer->code = (uint32_t)fault;
    answer->value = value;
    answer->address = fault != 0 ? value : 0;
}

void reader_finish_pass(struct probe const* probes, struct answer* answers, uint64_t count)
{
    (void)probes, (void)answers, (void)count;
}

void reader_power_off(void)
{
    __asm__ volatile("outb %0, %1" ::"a"((uint8_t)0x10), "d"((uint16_t)0xf4));
    for (;;) __asm__ volatile("hlt");
}
