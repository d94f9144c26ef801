"""The access log: a JSON line a request in the shape of `logs`, written a handful at a time.

The logging module would cost more than the line.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from time import time
from typing import Final, Protocol

import orjson

from leaderboard_core.telemetry.logs import PROBES

_UTC: Final = "+00:00"
_FLUSH_LINES = 200
_FLUSH_SECONDS = 0.05


class Logged(Protocol):
    """A request that was answered."""

    def log_fields(self) -> dict[str, object]:
        """Its own fields of its line (request_id, method, path, status, ms, …)."""


class AccessLog:
    """Lines go to `sink` after at most 50 ms; `flush` writes them at once. Without `probes`, PROBES leave no line."""

    def __init__(
        self,
        process: str,
        logger: str,
        *,
        enabled: bool = True,
        probes: bool = True,
        write: Callable[[bytes], None] | None = None,
    ) -> None:
        self._start = {"level": "INFO", "process": process, "logger": logger, "message": "request"}
        self._enabled = enabled
        self._probes = probes
        self.sink = write or _to_stdout
        self._lines: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._second = 0
        self._to_second = ""

    def answered(self, path: str, request: Logged) -> None:
        """Log one request, unless it is one that leaves no line."""
        if not self._enabled or (path in PROBES and not self._probes):
            return
        line = {"time": self._now(), **self._start, **request.log_fields()}
        self._lines.append(orjson.dumps(line, default=str, option=orjson.OPT_APPEND_NEWLINE))
        if len(self._lines) >= _FLUSH_LINES:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.flush)

    def _now(self) -> str:
        """As `datetime.isoformat` has it, at a third of the time: all but the milliseconds is the same for a second."""
        now = time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._to_second = datetime.fromtimestamp(second, UTC).isoformat()[: -len(_UTC)]
        return f"{self._to_second}.{int((now - second) * 1000):03d}{_UTC}"

    def flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lines:
            lines, self._lines = self._lines, []
            self.sink(b"".join(lines))


def _to_stdout(lines: bytes) -> None:
    sys.stdout.buffer.write(lines)
    sys.stdout.buffer.flush()
