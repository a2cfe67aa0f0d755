"""A job: one run of one probe with its arguments and the settings that hold while it runs."""

import dataclasses
import pathlib

# Settings that a job may ask for, with the guest's file for each. Pinfold's machine files have the same names.
PARAMETERS = {
    "dma_entry_limit": "/sys/module/vfio_iommu_type1/parameters/dma_entry_limit",
    "disable_hugepages": "/sys/module/vfio_iommu_type1/parameters/disable_hugepages",
    "allow_unsafe_interrupts": "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts",
}


@dataclasses.dataclass(frozen=True)
class Job:
    source: pathlib.Path
    arguments: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    stdin: bytes | None = None
    trace: bool = False
    seconds: int = 60

    @property
    def name(self) -> str:
        settings = [f"[{name}={value}]" for name, value in self.settings]
        return " ".join([self.source.stem, *self.arguments, *settings])


def guest_lines(job: Job, program: str, stdin_path: str | None) -> list[str]:
    """The job as /init reads it."""
    lines = [f"job {job.name}", f"word {program}", *(f"word {argument}" for argument in job.arguments)]
    lines += [f"set {PARAMETERS[name]} {value}" for name, value in job.settings]
    if stdin_path:
        lines.append(f"stdin {stdin_path}")
    if job.trace:
        lines.append("trace")
    return [*lines, f"seconds {job.seconds}", "run"]
