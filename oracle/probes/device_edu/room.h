/* The device, and structures in a room full of 0xa5: how much of it was written shows. */
#ifndef PINFOLD_ORACLE_DEVICE_EDU_ROOM_H
#define PINFOLD_ORACLE_DEVICE_EDU_ROOM_H
#include "probe.h"

enum { kConfig = 7 };

static struct place here;
static int device;
static void* volatile nowhere = NULL;

static off_t at(unsigned region, uint64_t offset)
{
    return (off_t)((uint64_t)region << 40 | offset);
}

struct room {
    uint32_t word[40];
};

static struct room room_of(uint32_t argsz)
{
    struct room room;
    memset(&room, 0xa5, sizeof room);
    room.word[0] = argsz;
    return room;
}

#endif
