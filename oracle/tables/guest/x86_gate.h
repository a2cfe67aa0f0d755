/* Interrupt gates of 64-bit mode. */
#ifndef PINFOLD_ORACLE_GATE_H
#define PINFOLD_ORACLE_GATE_H

#include <stdint.h>

#define KERNEL_CODE 0x08

struct gate {
    uint16_t offset_low, selector;
    uint8_t stack, type;
    uint16_t offset_middle;
    uint32_t offset_high, zero;
};

static inline struct gate gate_to(void (*code)(void), uint8_t type)
{
    uint64_t const offset = (uintptr_t)code;
    return (struct gate){(uint16_t)offset,
                         KERNEL_CODE,
                         0,
                         type,
                         (uint16_t)(offset >> 16),
                         (uint32_t)(offset >> 32),
                         0};
}

static inline void load_gates(struct gate const* gates, uint64_t bytes)
{
    struct __attribute__((packed)) {
        uint16_t limit;
        uint64_t base;
    } const pointer = {(uint16_t)(bytes - 1), (uintptr_t)gates};
    __asm__ volatile("lidt %0" ::"m"(pointer));
}

#endif
