"""The difference of two texts, as diff(1) shows it; Python's own is confused by lines that repeat."""

import pathlib
import subprocess
import tempfile


def lines(real: list[str], mine: list[str], context: int = 3) -> list[str]:
    """Empty if they are the same; the kernel's lines are marked with -, Pinfold's with +."""
    if real == mine:
        return []
    with tempfile.TemporaryDirectory(prefix="pinfold-oracle.") as name:
        paths = [pathlib.Path(name) / side for side in ("kernel", "pinfold")]
        for path, text in zip(paths, (real, mine)):
            path.write_text("\n".join(text) + "\n")
        done = subprocess.run(["diff", f"-U{context}", "--label", "kernel", "--label", "pinfold", *paths],
                              capture_output=True, text=True)
    return done.stdout.splitlines()
