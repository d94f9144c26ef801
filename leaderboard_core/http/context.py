"""One request on its way through a process: what its log line, its metrics and its answer need to know."""

from __future__ import annotations

import os
import re
from time import perf_counter
from typing import Any, Final

CLIENT_LEFT = 499
"""The status of a request whose client left without an answer; NGINX' code for it."""

_REQUEST_ID: Final = re.compile(rb"[\x21-\x7e]{1,128}")


def choose_request_id(given: bytes | None) -> str:
    """Return the id that the client gives its request, if it is harmless, else a new one."""
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given.decode("ascii")
    return os.urandom(16).hex()


class RequestContext:
    """The state of one request, from its head to the end of its answer.

    `route` is the path as the API declares it, "other" for what it does not know. `seconds` is the time from the head
    of the request to the end of the answer, or to its head where the answer is a stream; it is set by `end`. What
    `extra` holds goes into the log line.
    """

    __slots__ = (
        "extra",
        "method",
        "path",
        "request_id",
        "response_started",
        "route",
        "seconds",
        "started_at",
        "status",
    )

    def __init__(self, method: str, path: str, request_id: str, started_at: float) -> None:
        self.method = method
        self.path = path
        self.request_id = request_id
        self.started_at = started_at
        self.route = "other"
        self.status = CLIENT_LEFT
        self.seconds = -1.0
        self.response_started = False
        self.extra: dict[str, Any] | None = None

    def note(self, **fields: Any) -> None:
        """Add fields to the log line."""
        if self.extra is None:
            self.extra = fields
        else:
            self.extra.update(fields)

    def end(self) -> None:
        """Stop the clock, unless it was stopped before."""
        if self.seconds < 0:
            self.seconds = perf_counter() - self.started_at

    def log_fields(self) -> dict[str, object]:
        """The fields of the access log."""
        fields: dict[str, object] = {
            "request_id": self.request_id,
            "method": self.method,
            "path": self.path,
            "status": self.status,
            "ms": int(self.seconds * 100_000 + 0.5) / 100,  # `round` to digits costs much more
        }
        if self.extra is not None:
            fields |= self.extra
        return fields
