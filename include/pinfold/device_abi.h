/* What a device model in a shared object and Pinfold say to each other. C, so that neither compiler
   nor C++ library of the two has to be the same. Write models against device.hpp, which is a front
   to this; this is its contract.

   The object exports pinfold_device_model(). Calls to one device come one at a time, on the thread
   that touched its register. */
#ifndef PINFOLD_DEVICE_ABI_H
#define PINFOLD_DEVICE_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Goes up with every change here. Pinfold takes objects with its own number only. */
#define PINFOLD_DEVICE_ABI 1u

enum pinfold_bar_kind {
    PINFOLD_BAR_NONE = 0,
    PINFOLD_BAR_MEMORY32 = 1,
    PINFOLD_BAR_MEMORY64 = 2, /* takes the next index too */
    PINFOLD_BAR_IO = 3
};

struct pinfold_bar {
    int kind; /* one of enum pinfold_bar_kind */
    int prefetchable;
    uint64_t size;              /* a power of two; memory is at least 4096 */
    unsigned char const* pages; /* for each 4 KiB: 1, memory that is read without a call to the
                                   device (bus->bar_memory); 0, every access is a call */
    size_t pages_count;         /* pages beyond are 0 */
};

struct pinfold_identity {
    uint16_t vendor, device, subsystem_vendor, subsystem;
    uint32_t class_code; /* 24 bits */
    uint8_t revision;
    uint8_t interrupt_pin; /* 0: none; 1: INTA */
    uint8_t pci_express;   /* 0: a conventional function, without power management and reset */
    uint8_t msi_vectors;   /* 0, or a power of two up to 32 */
    uint16_t msix_vectors; /* 0: no MSI-X */
    uint16_t msix_bar;
    uint32_t msix_table, msix_pending; /* offsets; Pinfold keeps both */
    struct pinfold_bar bars[6];
};

/* What a device may do. `host` is the first argument of each. */
struct pinfold_bus {
    void* host;
    /* 0; or -1, some byte could not be reached (of a read, bytes from there on are ones). */
    int (*dma_read)(void* host, uint64_t iova, void* into, size_t size);
    int (*dma_write)(void* host, uint64_t iova, void const* from, size_t size);
    /* A vector of MSI-X or MSI, if the client has set one of them up; else asserts INTx. */
    void (*raise)(void* host, unsigned vector);
    void (*lower)(void* host);
    int (*message_signalled)(void* host);
    /* The memory of a BAR, whose pages of kind 1 the client reads; NULL: none. */
    void* (*bar_memory)(void* host, unsigned bar);
};

struct pinfold_setting {
    char const *key, *value;
};

struct pinfold_option {
    char const *key, *value, *help; /* "size", "BYTES", "what it is" */
    int required;
};

struct pinfold_device {
    void* self; /* the first argument of each */
    struct pinfold_identity identity;
    /* size is 1, 2, 4 or 8, inside the BAR, of any alignment. */
    uint64_t (*bar_read)(void* self, unsigned bar, uint64_t offset, unsigned size);
    void (*bar_write)(void* self, unsigned bar, uint64_t offset, unsigned size, uint64_t value);
    void (*reset)(void* self); /* also at power-on, before anything else */
    /* One line for the report, with its NUL in `size` bytes; empty for none. */
    void (*summary)(void* self, char* into, size_t size);
    void (*destroy)(void* self);
};

struct pinfold_model {
    uint32_t abi;  /* PINFOLD_DEVICE_ABI */
    uint32_t size; /* sizeof(struct pinfold_model) */
    char const *name, *summary;
    struct pinfold_option const* options;
    size_t options_count;
    /* Makes a device. Settings are among `options`, none of them twice, and the required ones are
       there. `bus` outlives the device and is not used before the first reset. 0; or -1, and
       `error` has a sentence with its NUL in `error_size` bytes. */
    int (*create)(struct pinfold_setting const* settings, size_t count,
                  struct pinfold_bus const* bus, struct pinfold_device* device, char* error,
                  size_t error_size);
};

/* The one symbol of the object. What it returns stays as it is. */
struct pinfold_model const* pinfold_device_model(void);

#ifdef __cplusplus
}
#endif

#endif
