"""The rotation of the service replicas: round-robin, ejection and return, without any I/O."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

from leaderboard_core.http.sockets import LOOPBACK

CHECKS_TO_EJECT = 2


class State(Enum):
    """HEALTHY takes requests; EJECTED does not answer; STOPPING answers, but asked for no new requests."""

    HEALTHY = "healthy"
    EJECTED = "ejected"
    STOPPING = "stopping"


# A replica that did not answer a moment ago may be back; one that is stopping asked for no new requests.
_PREFERENCE = (State.HEALTHY, State.EJECTED, State.STOPPING)


@dataclass(slots=True, eq=False)
class Upstream:
    """One service replica; compared by identity, changed by its `Pool` only."""

    url: str
    address: str = field(init=False)
    address_bytes: bytes = field(init=False)
    host: str = field(init=False)
    port: int = field(init=False)
    is_local: bool = field(init=False)
    state: State = State.HEALTHY
    since: float = 0.0
    answered: bool = False
    failed_checks: int = 0
    health_status: int | None = None
    last_error: str | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        self.address = parts.netloc
        self.address_bytes = self.address.encode("ascii")
        self.host, self.port = parts.hostname or "", parts.port or 80
        self.is_local = self.host in LOOPBACK


Listener = Callable[[Upstream, State, State, str], None]
"""Called as (upstream, old state, new state, reason) at each change of state."""


class Pool:
    """The replicas in the order of the settings, and the next one in the rotation.

    `clock` is monotonic, in seconds; `listener` is called at every change of state.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        clock: Callable[[], float] = time.monotonic,
        listener: Listener | None = None,
    ) -> None:
        if not urls:
            raise ValueError("A pool needs at least one upstream.")
        self._clock = clock
        self._listener = listener
        self._next = 0
        self.upstreams = tuple(Upstream(url, since=clock()) for url in dict.fromkeys(urls))

    def __len__(self) -> int:
        return len(self.upstreams)

    def pick(self, tried: Container[Upstream] = ()) -> Upstream | None:
        """Choose the next replica in turn that is not in `tried`; None if all of them are.

        Healthy replicas go first. Without any, the others are tried all the same: a stale state must not turn away
        a request that could be served.
        """
        upstreams, start = self.upstreams, self._next
        count = len(upstreams)
        for wanted in _PREFERENCE:
            for offset in range(count):
                index = (start + offset) % count
                upstream = upstreams[index]
                if upstream.state is wanted and upstream not in tried:
                    self._next = (index + 1) % count
                    return upstream
        return None

    def answered(self, upstream: Upstream) -> None:
        """Record that a request got an answer: an ejected replica returns."""
        upstream.answered = True
        if upstream.state is State.EJECTED:
            self._change(upstream, State.HEALTHY, "answered a request")

    def connect_failed(self, upstream: Upstream, error: str) -> None:
        """Record that no connection could be made: the replica is ejected at once, until it answers again."""
        upstream.last_error = error
        self._change(upstream, State.EJECTED, error)

    def check_passed(self, upstream: Upstream, status: int, *, stopping: bool) -> None:
        """Record an answer to `GET /health`: whatever its status, the replica can be reached."""
        upstream.answered = True
        upstream.failed_checks = 0
        upstream.health_status = status
        upstream.last_error = None
        if stopping:
            self._change(upstream, State.STOPPING, "is stopping")
        else:
            self._change(upstream, State.HEALTHY, "answered a health check")

    def check_failed(self, upstream: Upstream, error: str) -> None:
        """Record that `GET /health` got no answer: twice in a row ejects, and once if the replica never answered."""
        upstream.failed_checks += 1
        upstream.health_status = None
        upstream.last_error = error
        if upstream.failed_checks >= CHECKS_TO_EJECT or not upstream.answered:
            self._change(upstream, State.EJECTED, error)

    def report(self) -> list[dict[str, Any]]:
        """Return every replica's state for `/health`; times in seconds."""
        now = self._clock()
        return [
            {
                "url": upstream.url,
                "healthy": upstream.state is State.HEALTHY,
                "state": upstream.state.value,
                "seconds_in_state": round(now - upstream.since, 1),
                "health_status": upstream.health_status,
                "failed_checks": upstream.failed_checks,
                "last_error": upstream.last_error,
            }
            for upstream in self.upstreams
        ]

    def _change(self, upstream: Upstream, state: State, reason: str) -> None:
        old = upstream.state
        if old is state:
            return
        upstream.state = state
        upstream.since = self._clock()
        if self._listener is not None:
            self._listener(upstream, old, state, reason)
