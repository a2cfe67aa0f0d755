#!/usr/bin/env python3
"""A VFIO driver in pure Python, of the standard library alone: maps memory, lets the edu device copy it out and back, and
takes the interrupt. It says what edu_dma.c says, on a real kernel and under `pinfold run -- python3 edu_dma.py`.

usage: edu_dma.py [BDF]
"""

import array
import fcntl
import mmap
import os
import select
import struct
import sys

# linux/vfio.h: requests have neither size nor direction.
SET_IOMMU, MAP_DMA, UNMAP_DMA = 0x3B66, 0x3B71, 0x3B72
SET_CONTAINER, GET_DEVICE_FD = 0x3B68, 0x3B6A
GET_REGION_INFO, SET_IRQS = 0x3B6C, 0x3B6E
TYPE1V2, CONFIG_REGION, MSI = 3, 7, 1
READ, WRITE, EVENTFD, TRIGGER = 1, 2, 4, 32

# The device's registers, and its own memory in its address space.
LIVENESS, FACTORIAL, STATUS, INTERRUPT_STATUS, ACKNOWLEDGE = 0x04, 0x08, 0x20, 0x24, 0x64
SOURCE, DESTINATION, COUNT, COMMAND = 0x80, 0x88, 0x90, 0x98
START, FROM_DEVICE, INTERRUPT = 1, 2, 4
BUFFER, IOVA, SIZE = 0x40000, 0x100000, 4096


def open_device(bdf: str) -> tuple[int, int]:
    """The container and the device."""
    container = os.open("/dev/vfio/vfio", os.O_RDWR)
    group = os.open(f"/dev/vfio/{os.path.basename(os.readlink(f'/sys/bus/pci/devices/{bdf}/iommu_group'))}", os.O_RDWR)
    fcntl.ioctl(group, SET_CONTAINER, struct.pack("i", container))
    fcntl.ioctl(container, SET_IOMMU, TYPE1V2)
    # What the call returns is the result only where the argument can be changed.
    return container, fcntl.ioctl(group, GET_DEVICE_FD, bytearray(bdf.encode() + b"\0"))


def region(device: int, index: int) -> tuple[int, int]:
    """Size and offset in the device's file."""
    info = fcntl.ioctl(device, GET_REGION_INFO, struct.pack("IIIIQQ", 32, 0, index, 0, 0, 0))
    return struct.unpack("IIIIQQ", info)[4:]


def master_the_bus(device: int) -> None:
    command = region(device, CONFIG_REGION)[1] + 4
    (value,) = struct.unpack("H", os.pread(device, 2, command))
    os.pwrite(device, struct.pack("H", value | 6), command)


def bind_interrupt(device: int) -> int:
    event = os.eventfd(0)
    fcntl.ioctl(device, SET_IRQS, struct.pack("IIIIIi", 24, EVENTFD | TRIGGER, MSI, 0, 1, event))
    return event


def transfer(registers: mmap.mmap, event: int, source: int, destination: int, direction: int) -> None:
    wide = memoryview(registers).cast("Q")
    for offset, value in ((SOURCE, source), (DESTINATION, destination), (COUNT, SIZE),
                          (COMMAND, START | INTERRUPT | direction)):
        wide[offset // 8] = value
    if not select.select([event], [], [], 5)[0]:
        sys.exit("edu_dma.py: no interrupt within 5 s")
    os.eventfd_read(event)
    if wide[COMMAND // 8] & START:
        sys.exit("edu_dma.py: the transfer did not end")
    narrow = memoryview(registers).cast("I")
    narrow[ACKNOWLEDGE // 4] = narrow[INTERRUPT_STATUS // 4]


def page_in(pages: array.array) -> int:
    """Where the first whole page of an array begins in it."""
    return -pages.buffer_info()[0] % SIZE


def main(bdf: str) -> None:
    container, device = open_device(bdf)
    master_the_bus(device)
    event = bind_interrupt(device)
    size, offset = region(device, 0)
    registers = mmap.mmap(device, size, offset=offset)
    narrow = memoryview(registers).cast("I")
    # The device's file begins with BAR 0, and read(2) does where nothing was read before.
    (identification,) = struct.unpack("I", os.read(device, 4))
    if identification != narrow[0]:
        sys.exit("edu_dma.py: the file and the mapping do not say the same")
    print(f"identification {identification:08x}")
    os.write(device, struct.pack("I", 0x12345678))
    print(f"liveness {narrow[LIVENESS // 4]:08x}")
    narrow[FACTORIAL // 4] = 10
    while narrow[STATUS // 4] & 1:
        pass
    print(f"10! is {narrow[FACTORIAL // 4]}")

    memory = array.array("B", bytes(3 * SIZE))
    start = page_in(memory)
    sent = bytes((i * 7 + 3) % 256 for i in range(SIZE))
    memory[start:start + SIZE] = array.array("B", sent)
    fcntl.ioctl(container, MAP_DMA,
                struct.pack("IIQQQ", 32, READ | WRITE, memory.buffer_info()[0] + start, IOVA, 2 * SIZE))
    transfer(registers, event, IOVA, BUFFER, 0)
    transfer(registers, event, BUFFER, IOVA + SIZE, FROM_DEVICE)
    if memory[start + SIZE:start + 2 * SIZE].tobytes() != sent:
        sys.exit("edu_dma.py: what came back is not what was sent")
    print(f"{SIZE} bytes to the device and back")
    unmapped = fcntl.ioctl(container, UNMAP_DMA, struct.pack("IIQQ", 24, 0, IOVA, 2 * SIZE))
    print(f"unmapped {struct.unpack('IIQQ', unmapped)[3]} bytes")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "0000:00:04.0")
