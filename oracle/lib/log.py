"""Makes the kernel's log lines comparable: no process names and numbers, no addresses, no times."""

import re

# Lines that say something about Type1 or vfio-pci; the rest is the weather of a booting machine.
_KEPT = re.compile(r"vfio|iommu|RLIMIT|WARNING|BUG|Oops|DMAR|AMD-Vi|arm-smmu", re.I)
_CHANGES = [
    (re.compile(r"^\S+:\d+: |\bpid \d+|\[\d+\]"), "*"),
    (re.compile(r"\b(PID|Comm|CPU): \S+"), r"\1: *"),
    (re.compile(r"\b0x[0-9a-f]{9,}\b|\b[0-9a-f]{16}\b"), "*"),
]


def normalised(lines: list[tuple[int, str]]) -> list[tuple[int, str]]:
    result = []
    for level, text in lines:
        if not _KEPT.search(text):
            continue
        for pattern, replacement in _CHANGES:
            text = pattern.sub(replacement, text)
        result.append((level, text))
    return result


# What Type1 and the IOMMU's core say themselves, and warnings of the kernel about either. What vfio-pci tells of its devices
# (it is rate limited) and the reports of faults (each IOMMU's own, rate limited too) are kept and not compared.
_COMPARED = re.compile(r"^(vfio_(?!pci)\w+: |iommu: |WARNING: )")


def compared(lines: list[tuple[int, str]]) -> list[str]:
    return [text for _, text in lines if _COMPARED.match(text)]
