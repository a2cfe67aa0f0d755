"""Drivers in other languages, compiled by clang and rustc as far as they optimise, for the processor of this machine."""

import pathlib
import subprocess

from lib import say

_DRIVERS = pathlib.Path(__file__).resolve().parent / "drivers"


def _compile(command: list) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise say.Refusal(f"there is no {command[0]}: ./dev test installs it") from None
    if done.returncode != 0:
        raise say.Refusal(f"{command[0]} failed:\n{done.stderr}")


def prepare(out: pathlib.Path) -> None:
    _compile(["clang++-19", "-std=c++23", "-O3", "-march=native", "-Wall", "-Wextra", "-Werror",
              _DRIVERS / "edu.cpp", "-o", out / "edu_cpp"])
    _compile(["rustc", "--edition", "2021", "-C", "opt-level=3", "-C", "target-cpu=native", "-D", "warnings",
              _DRIVERS / "edu.rs", "-o", out / "edu_rust"])
