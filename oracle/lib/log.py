"""Makes the kernel's log lines comparable: no process names and numbers, no addresses, no times."""

import re

# Lines that say something about Type1 or vfio-pci; the rest is the weather of a booting machine.
_OURS = re.compile(r"vfio|iommu|RLIMIT|WARNING|BUG|Oops|DMAR|AMD-Vi|arm-smmu", re.I)
_CHANGES = [
    (re.compile(r"^\S+:\d+: |\bpid \d+|\[\d+\]|\(\d+\)"), "*"),
    (re.compile(r"\b(PID|Comm|CPU): \S+"), r"\1: *"),
    (re.compile(r"\b0x[0-9a-f]{9,}\b|\b[0-9a-f]{16}\b"), "*"),
]


def normalised(lines: list[tuple[int, str]]) -> list[tuple[int, str]]:
    result = []
    for level, text in lines:
        if not _OURS.search(text):
            continue
        for pattern, replacement in _CHANGES:
            text = pattern.sub(replacement, text)
        result.append((level, text))
    return result
