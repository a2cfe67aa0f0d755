"""What the tool says about itself: steps on the error stream, refusals as one sentence."""

import sys


class Refusal(Exception):
    """Something that the user must know or change; printed without a trace."""


def step(text: str) -> None:
    print(f"oracle: {text}", file=sys.stderr, flush=True)
