/* What the probes share: they are plain VFIO clients that print what each call answers, and nothing
 * that differs from one run to the next: no address, no descriptor, no group number.
 *
 * A line that checks rules begins with their numbers: "[M-1 U-2] MAP_DMA(...) = EEXIST". A number
 * such as 3.1 stands for the numbered list of that section of docs/type1.md. The name before the
 * parenthesis and the errno make the pair that coverage counts. Lines without brackets are
 * headings. */
#ifndef PINFOLD_ORACLE_PROBE_H
#define PINFOLD_ORACLE_PROBE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/vfio.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "probe/files.h"
#include "probe/locked.h"
#include "probe/memory.h"
#include "probe/results.h"
#include "probe/type1.h"

/* To be called first: huge pages would make physical memory, and so a few answers, differ from run
 * to run. */
static inline void begin(void)
{
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
}

/* The last thing that a probe prints: a run that was cut short lacks it. */
static inline int finish(void)
{
    printf("== end\n");
    fflush(stdout);
    return 0;
}

#endif
