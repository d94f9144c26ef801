"""`python -m tests.compose`: start the stack, run the steps, and always stop it; exit code 0 when all passed.

`--every-block` runs nothing but all blocks of docs/operations.md for Docker (four minutes).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType

from tests.compose import steps
from tests.compose.commands import StepFailedError, run, say
from tests.compose.documents import every_block, operations_blocks
from tests.compose.stack import Stack

STEPS = (
    steps.acceptance_tests,
    steps.runs_as_user,
    steps.rows_in_every_database,
    steps.finds_gateways_again,
    steps.survives_kills,
    operations_blocks,
)
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """Return the exit code: 0, 1 for a failed step or tear-down, 128 + n after signal n."""
    for number in _SIGNALS:
        signal.signal(number, _interrupted)
    chosen = (every_block,) if "--every-block" in sys.argv[1:] else STEPS
    stack = Stack(f"leaderboard-test-{os.getpid()}")
    code = 0
    try:
        run(["docker", "info", "--format", "engine {{.ServerVersion}}"], env=stack.env, seconds=30)
    except (StepFailedError, OSError) as error:
        say(f"FAILED: no Docker engine answers: {error}")
        return 1
    try:
        _try_everything(stack, chosen)
    except StepFailedError as error:
        code = 1
        _show_logs(stack)
        say(f"FAILED: {error}")
    except Exception:
        _show_logs(stack)
        raise
    finally:
        # From here on signals are ignored: what was started is taken down.
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        try:
            say("taking everything down")
            stack.down()
        except StepFailedError as error:
            code = code or 1
            say(f"FAILED: {error}\nleft over; remove it with: docker compose -p {stack.name} down --volumes")
    say("everything was seen working" if code == 0 else "failed; the reason is above")
    return code


def _try_everything(stack: Stack, chosen: Sequence[Callable[[Stack], None]]) -> None:
    say(f"building and starting project {stack.name} on {stack.url}")
    stack.up()
    say("it is up")
    for step in chosen:
        say(f"{step.__name__}: {(step.__doc__ or '').strip()}")
        step(stack)


def _show_logs(stack: Stack) -> None:
    try:
        stack.show_logs()
    except StepFailedError as error:
        say(f"no logs: {error}")


def _interrupted(number: int, frame: FrameType | None) -> None:
    say(f"stopped by {signal.Signals(number).name}")
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
