"""Run the programs that a step needs, with a time limit, and leave none behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_STARTED = time.monotonic()
_END_SECONDS = 10.0


class StepFailedError(Exception):
    """The stack did not do what a step expects; the text says what."""


def say(text: str) -> None:
    """Print a line of progress, with the seconds since the start."""
    sys.stdout.write(f"[compose {time.monotonic() - _STARTED:5.1f}s] {text}\n")
    sys.stdout.flush()


def run(argv: Sequence[str], *, env: Mapping[str, str], seconds: float, capture: bool = False) -> str:
    """Run a program in the repository's folder; return its output if `capture`, else "" and show it.

    Raises StepFailedError when it fails or takes longer than `seconds`. Whatever ends the wait, the program
    and its children are ended too: the docker command does its work in a child.
    """
    process = subprocess.Popen(
        argv,
        cwd=ROOT,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if capture else None,
        stderr=subprocess.PIPE if capture else None,
        text=True,
        start_new_session=True,  # so that Ctrl-C does not end `down`
    )
    shown = " ".join(argv)
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise StepFailedError(f"not done after {seconds:.0f} s: {shown}") from error
    finally:
        if process.poll() is None:
            _end(process)
    if process.returncode != 0:
        raise StepFailedError(f"exit code {process.returncode}: {shown}\n{errors or ''}".rstrip())
    return output or ""


def _end(process: subprocess.Popen[str]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        os.killpg(process.pid, number)
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        return
