"""Holds one stream's state and its listeners; each event is encoded once, and a slow listener skips states."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from copy import copy
from typing import Final

import orjson

from leaderboard_core.errors import BoardNotFound, LeaderboardError, UserNotFound
from leaderboard_core.telemetry.exposition import count_from_zero
from leaderboard_core.telemetry.metrics import STREAM_DROPPED, STREAM_EVENTS, STREAMS_OPEN
from leaderboard_service.live.content import Content
from leaderboard_service.live.sse import HEARTBEAT, OPENING, event, id_of

HISTORY: Final = 32
"""How many past states a returning client may resume from: 8 s of a board that changes at every interval."""

count_from_zero(STREAM_DROPPED, ("top", "rank"))


class Version:
    """A content and its id."""

    __slots__ = ("content", "id")

    def __init__(self, version_id: str, content: Content) -> None:
        self.id = version_id
        self.content = content


class Feed:
    """The state of one stream and its listeners. `kind` is top or rank, for the metrics; times are of the loop's clock.

    The state is `version` (None before the first fetch), or `problem` while it cannot be read.
    """

    def __init__(self, kind: str, on_empty: Callable[[Feed], None]) -> None:
        self.kind = kind
        self.listeners: set[Listener] = set()
        self.version: Version | None = None
        self.problem: bytes | None = None
        self.gone: UserNotFound | BoardNotFound | None = None
        self.final_event = b""
        self.heartbeat_count = 0
        self.idle_since = asyncio.get_running_loop().time()
        self._on_empty = on_empty
        self._first_fetch = asyncio.Event()
        self._snapshot = b""
        self._changes: dict[str, bytes] = {}
        self._history: OrderedDict[str, Version] = OrderedDict()

    @property
    def awaits_first_fetch(self) -> bool:
        """Whether the state was never fetched."""
        return not self._first_fetch.is_set()

    async def wait_for_first_fetch(self) -> None:
        """Wait until the state was fetched. Raises UserNotFound or BoardNotFound when there is nothing to show."""
        await self._first_fetch.wait()
        if self.gone is not None:
            raise copy(self.gone)  # each caller adds where it came from

    # Called by the poller. Each returns whether the listeners must be woken.

    def show(self, content: Content) -> bool:
        """Take the content that was just fetched."""
        was_unavailable, self.problem = self.problem is not None, None
        if self.version is not None and self.version.content == content:
            return was_unavailable
        data = orjson.dumps(content.snapshot())
        version = Version(id_of(data), content)
        self.version = version
        self._snapshot = event("snapshot", data, version.id)
        self._changes.clear()
        self._history[version.id] = version
        self._history.move_to_end(version.id)
        if len(self._history) > HISTORY:
            self._history.popitem(last=False)
        return self._set_pending_update()

    def fail(self, error: LeaderboardError) -> bool:
        """Report once that the state cannot be read, until it can be read again."""
        if self.problem is not None:
            return False
        self.problem = event("unavailable", orjson.dumps(error.envelope()))
        return self._set_pending_update()

    def end(self, error: UserNotFound | BoardNotFound, data: dict[str, str]) -> bool:
        """End the stream with a final event of this data: there is nothing to show any more."""
        self.gone = error
        self.final_event = event("gone", orjson.dumps(data))
        return self._set_pending_update()

    def heartbeat(self) -> None:
        """Let each listener send a heartbeat, as nothing was sent for long."""
        self.heartbeat_count += 1
        self._set_pending_update()

    def _set_pending_update(self) -> bool:
        self.idle_since = asyncio.get_running_loop().time()
        self._first_fetch.set()
        return True

    # Called for and by listeners.

    def join(self, last_event_id: str, on_close: Callable[[Listener], None]) -> Listener:
        listener = Listener(self, last_event_id, on_close)
        self.listeners.add(listener)
        STREAMS_OPEN.labels(self.kind).inc()
        return listener

    def leave(self, listener: Listener) -> None:
        self.listeners.discard(listener)
        STREAMS_OPEN.labels(self.kind).dec()
        if not self.listeners:
            self._first_fetch.set()  # nobody will fetch any more
            self._on_empty(self)

    def find_version(self, version_id: str) -> Version | None:
        """Find the present state, or a recent one, by its id."""
        return self._history.get(version_id)

    def snapshot(self) -> bytes:
        STREAM_EVENTS.labels(self.kind, "snapshot").inc()
        return self._snapshot

    def change_since(self, before: Version, now: Version) -> bytes:
        """Return the event that turns `before` into the present state, encoded once for all who need it."""
        found = self._changes.get(before.id)
        if found is None:
            data = orjson.dumps(now.content.change_since(before.content))
            found = self._changes[before.id] = event("change", data, now.id)
        STREAM_EVENTS.labels(self.kind, "change").inc()
        return found


class Listener:
    """One client of a feed: the state that it has, and what it must be sent next.

    It keeps no queue. While its socket takes nothing, states are skipped; afterwards it gets one change from the
    state that it has to the present one.
    """

    __slots__ = (
        "_client_version",
        "_feed",
        "_heartbeat_count",
        "_is_open",
        "_last_event_id",
        "_on_close",
        "_opening",
        "_reported_problem",
        "_waiter",
        "sent",
    )

    def __init__(self, feed: Feed, last_event_id: str, on_close: Callable[[Listener], None]) -> None:
        self.sent = 0
        self._feed = feed
        self._on_close = on_close
        self._last_event_id = last_event_id
        self._client_version: Version | None = None
        self._reported_problem: bytes | None = None
        self._heartbeat_count = feed.heartbeat_count
        self._opening = OPENING
        self._is_open = True
        self._waiter: asyncio.Future[None] | None = None

    async def next(self) -> bytes:
        """Wait for the next chunk to send; empty at the end."""
        while True:
            chunk = self._opening
            self._opening = b""
            if self._is_open:
                chunk += self._pending_update()
            if chunk or not self._is_open:
                self.sent += bool(chunk)
                return chunk
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def wake(self) -> None:
        """Let `next` check again whether an update is pending."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def on_write_timeout(self) -> None:
        """Count a client that took nothing for too long."""
        STREAM_DROPPED.labels(self._feed.kind).inc()

    def close(self) -> None:
        """End the stream; may be called again."""
        if self._is_open:
            self._is_open = False
            self._feed.leave(self)
            self._on_close(self)
        self.wake()

    def _pending_update(self) -> bytes:
        feed = self._feed
        if feed.final_event:
            self.close()
            STREAM_EVENTS.labels(feed.kind, "gone").inc()
            return feed.final_event
        heartbeat_count, self._heartbeat_count = self._heartbeat_count, feed.heartbeat_count
        if feed.problem is not None:
            if self._reported_problem is not feed.problem:
                self._reported_problem = feed.problem
                STREAM_EVENTS.labels(feed.kind, "unavailable").inc()
                return feed.problem
        elif feed.version is not None and (update := self._update_to(feed, feed.version)):
            return update
        return HEARTBEAT if heartbeat_count != feed.heartbeat_count else b""

    def _update_to(self, feed: Feed, version: Version) -> bytes:
        """Return the event that brings the client to `version`; nothing when it has that state already."""
        before, self._client_version = self._client_version, version
        if before is version and self._reported_problem is None:
            return b""
        # A client that was told of a problem must be told of its end, also when nothing changed.
        recovered, self._reported_problem = self._reported_problem is not None, None
        if before is None:
            last_event_id, self._last_event_id = self._last_event_id, ""
            before = feed.find_version(last_event_id)
            if before is None:
                return feed.snapshot()
        if before.id == version.id and not recovered:
            return b""
        return feed.change_since(before, version)
