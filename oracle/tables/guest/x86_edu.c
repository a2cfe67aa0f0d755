/* Reader through DMA: an edu device reads and writes through an IOMMU that is pointed at the table
 * under test. edu has a buffer of 4 KiB and copies between it and memory. Probes of reads put eight
 * bytes each into the buffer; when it is full, it is copied to the mailbox, a page that the table
 * under test must map. A probe of a write brings its value in through the mailbox. Settings: 2 the
 * mailbox's IOVA, 3 its physical address. edu takes 100 ms of the machine's time for each copy. A
 * machine that counts instructions and does not sleep
 * (-icount sleep=off) has such a time pass at once while its CPU is halted; a timer's interrupt
 * ends that. */
#include "x86_edu.h"
#include "x86_gate.h"

#define EDU_SOURCE 0x80
#define EDU_TARGET 0x88
#define EDU_BYTES 0x90
#define EDU_COMMAND 0x98
#define EDU_START 1
#define EDU_TO_MEMORY 2
#define EDU_BUFFER 0x40000
#define SLOTS 511 /* the device refuses to copy all of its buffer at once */
#define POISON 0xdeadbeefdeadbeefull
#define PIC_MASK 0x21
#define PIC_SECOND_MASK 0xa1
#define APIC 0xfee00000u
#define APIC_END_OF_INTERRUPT 0xb0
#define APIC_SPURIOUS 0xf0
#define APIC_TIMER 0x320
#define APIC_TIMER_COUNT 0x380
#define APIC_TIMER_DIVIDE 0x3e0
#define APIC_ENABLED 0x1ff
#define APIC_DIVIDE_BY_1 0xb
#define TIMER_VECTOR 0x40
#define COPY_NANOSECONDS 100100000u

static uintptr_t edu;
static uint64_t mailbox_iova;
static uint64_t* mailbox;
static struct answer* pending[SLOTS];
static unsigned pending_count;

static void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" ::"a"(value), "d"(port));
}

static void out32(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" ::"a"(value), "d"(port));
}

static uint32_t in32(uint16_t port)
{
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "d"(port));
    return value;
}

uint32_t pci_config(unsigned devfn, unsigned offset)
{
    out32(0xcf8, 0x80000000u | devfn << 8 | offset);
    return in32(0xcfc);
}

static void set_register(unsigned offset, uint64_t value)
{
    *(uint64_t volatile*)(edu + offset) = value;
}

static uint32_t volatile* apic(unsigned offset) { return PHYSICAL(APIC + offset); }

void timer_interrupt(void);
__asm__(
    ".text\n"
    "timer_interrupt:\n"
    "    push %rax\n"
    "    mov apic_end(%rip), %rax\n"
    "    movl $0, (%rax)\n"
    "    pop %rax\n"
    "    iretq\n");
uint32_t volatile* apic_end;

static void start_timer(void)
{
    static struct gate gates[TIMER_VECTOR + 1];
    gates[TIMER_VECTOR] = gate_to(timer_interrupt, 0x8e);
    load_gates(gates, sizeof gates);
    /* The firmware's timer is not wanted. */
    out8(PIC_MASK, 0xff);
    out8(PIC_SECOND_MASK, 0xff);
    apic_end = apic(APIC_END_OF_INTERRUPT);
    *apic(APIC_SPURIOUS) = APIC_ENABLED;
    *apic(APIC_TIMER) = TIMER_VECTOR;
    *apic(APIC_TIMER_DIVIDE) = APIC_DIVIDE_BY_1;
}

static void copy(uint64_t source, uint64_t target, uint64_t bytes, uint64_t command)
{
    set_register(EDU_SOURCE, source);
    set_register(EDU_TARGET, target);
    set_register(EDU_BYTES, bytes);
    set_register(EDU_COMMAND, command | EDU_START);
    do {
        *apic(APIC_TIMER_COUNT) = COPY_NANOSECONDS;
        __asm__ volatile("sti; hlt; cli" ::: "memory");
    } while ((*(uint64_t volatile*)(edu + EDU_COMMAND) & EDU_START) != 0);
}

static void ignore_faults(void)
{
    uint64_t address;
    while (iommu_fault(&address) != 0) {
    }
}

static void fill_buffer(uint64_t value)
{
    for (unsigned i = 0; i < SLOTS; ++i) mailbox[i] = value;
    copy(mailbox_iova, EDU_BUFFER, 8 * SLOTS, 0);
    ignore_faults();
}

static void deliver(void)
{
    if (pending_count == 0) return;
    for (unsigned i = 0; i < SLOTS; ++i) mailbox[i] = POISON;
    copy(EDU_BUFFER, mailbox_iova, 8 * SLOTS, EDU_TO_MEMORY);
    ignore_faults();
    for (unsigned i = 0; i < pending_count; ++i) pending[i]->value = mailbox[i];
    pending_count = 0;
}

void reader_start(struct orders const* orders)
{
    edu = (uintptr_t)PHYSICAL(pci_config(EDU_DEVFN, 0x10) & ~0xfu);
    pci_config(EDU_DEVFN, 4);
    out32(0xcfc, 6); /* memory, bus master */
    mailbox_iova = orders->setting[2];
    mailbox = PHYSICAL(orders->setting[3]);
    start_timer();
    iommu_start(orders);
}

void reader_flush(void) { iommu_flush(); }

/* By the device. What the IOMMU has cached from another probe would be refused without a record, so
 * it forgets. */
static void probe_copy(uint64_t source, uint64_t target, uint64_t command, struct answer* answer)
{
    iommu_flush();
    copy(source, target, 8, command);
    answer->code = iommu_fault(&answer->address);
    answer->outcome = answer->code != 0 ? ANSWER_FAULT : ANSWER_DONE;
    ignore_faults();
}

void reader_probe(struct probe const* probe, struct answer* answer)
{
    if (probe->kind == PROBE_READ) {
        if (pending_count == 0) fill_buffer(POISON);
        probe_copy(probe->iova, EDU_BUFFER + 8 * pending_count, 0, answer);
        pending[pending_count++] = answer;
        if (pending_count == SLOTS) deliver();
        return;
    }
    deliver();
    mailbox[0] = probe->value;
    copy(mailbox_iova, EDU_BUFFER, 8, 0);
    ignore_faults();
    probe_copy(EDU_BUFFER, probe->iova, EDU_TO_MEMORY, answer);
}

void reader_finish_pass(struct probe const* probes, struct answer* answers, uint64_t count)
{
    (void)probes, (void)answers, (void)count;
    deliver();
}

void reader_power_off(void)
{
    out8(0xf4, 0x10); /* isa-debug-exit */
    for (;;) __asm__ volatile("hlt");
}
