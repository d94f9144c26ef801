"""One stream's state and those who listen to it: each event is encoded once, whoever is behind gets the newest."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import orjson

from leaderboard_core.errors import LeaderboardError, UserNotFound
from leaderboard_core.telemetry.metrics import STREAM_DROPPED, STREAM_EVENTS, STREAMS_OPEN
from leaderboard_service.live.content import Content
from leaderboard_service.live.sse import HEARTBEAT, OPENING, event, id_of

HISTORY: Final = 32
"""How many states a client that comes back may have seen last: 8 s of a board that changes at every tick."""


class Version:
    """A content and its id."""

    __slots__ = ("content", "id")

    def __init__(self, version_id: str, content: Content) -> None:
        self.id = version_id
        self.content = content


class Feed:
    """What all listeners of one stream get. `kind` is top or rank, for the metrics; times are of the loop's clock.

    The state is `version` (None before the first read), or `problem` while it cannot be read.
    """

    def __init__(self, kind: str, on_empty: Callable[[Feed], None]) -> None:
        self.kind = kind
        self.listeners: set[Listener] = set()
        self.version: Version | None = None
        self.problem: bytes | None = None
        self.gone: UserNotFound | None = None
        self.farewell = b""
        self.beats = 0
        self.quiet_since = asyncio.get_running_loop().time()
        self._on_empty = on_empty
        self._opened = asyncio.Event()
        self._snapshot = b""
        self._changes: dict[str, bytes] = {}
        self._history: OrderedDict[str, Version] = OrderedDict()

    @property
    def is_fresh(self) -> bool:
        """Whether nobody has looked yet."""
        return not self._opened.is_set()

    async def opened(self) -> None:
        """Wait for the first look. Raises UserNotFound when there is nothing to show."""
        await self._opened.wait()
        if self.gone is not None:
            error = UserNotFound(found=False)
            error.source = self.gone.source
            raise error

    # What the reader tells. Each says whether the listeners must be woken.

    def show(self, content: Content) -> bool:
        """The state as it was just read."""
        was_away, self.problem = self.problem is not None, None
        if self.version is not None and self.version.content == content:
            return was_away
        data = orjson.dumps(content.snapshot())
        version = Version(id_of(data), content)
        self.version = version
        self._snapshot = event("snapshot", data, version.id)
        self._changes.clear()
        self._history[version.id] = version
        self._history.move_to_end(version.id)
        if len(self._history) > HISTORY:
            self._history.popitem(last=False)
        return self._news()

    def fail(self, error: LeaderboardError) -> bool:
        """The state could not be read; listeners hear of it once, until it can be read again."""
        if self.problem is not None:
            return False
        self.problem = event("unavailable", orjson.dumps(error.envelope()))
        return self._news()

    def end(self, error: UserNotFound, farewell: dict[str, str]) -> bool:
        """There is nothing to show any more: `farewell` is the data of the last event."""
        self.gone = error
        self.farewell = event("gone", orjson.dumps(farewell))
        return self._news()

    def beat(self) -> None:
        """Nothing was sent for long: let each listener send a heartbeat."""
        self.beats += 1
        self._news()

    def _news(self) -> bool:
        self.quiet_since = asyncio.get_running_loop().time()
        self._opened.set()
        return True

    # What listeners ask.

    def join(self, last_event_id: str, on_close: Callable[[Listener], None]) -> Listener:
        listener = Listener(self, last_event_id, on_close)
        self.listeners.add(listener)
        STREAMS_OPEN.labels(self.kind).inc()
        return listener

    def leave(self, listener: Listener) -> None:
        self.listeners.discard(listener)
        STREAMS_OPEN.labels(self.kind).dec()
        if not self.listeners:
            self._opened.set()  # nobody will look any more
            self._on_empty(self)

    def seen(self, version_id: str) -> Version | None:
        """The present state, or one that was shown not long ago, by its id."""
        return self._history.get(version_id)

    def snapshot(self) -> bytes:
        STREAM_EVENTS.labels(self.kind, "snapshot").inc()
        return self._snapshot

    def change_since(self, before: Version, now: Version) -> bytes:
        """The event that leads from `before` to the present state, encoded once for all who need it."""
        found = self._changes.get(before.id)
        if found is None:
            data = orjson.dumps(now.content.change_since(before.content))
            found = self._changes[before.id] = event("change", data, now.id)
        STREAM_EVENTS.labels(self.kind, "change").inc()
        return found


class Listener:
    """One client's place in a feed: what it got last, and what it must get next.

    It keeps no queue. While its socket takes nothing, states come and go; afterwards it gets one change from
    what it has to what is true then.
    """

    __slots__ = (
        "_beats",
        "_feed",
        "_has",
        "_is_open",
        "_last_event_id",
        "_on_close",
        "_opening",
        "_told",
        "_waiter",
        "sent",
    )

    def __init__(self, feed: Feed, last_event_id: str, on_close: Callable[[Listener], None]) -> None:
        self.sent = 0
        self._feed = feed
        self._on_close = on_close
        self._last_event_id = last_event_id
        self._has: Version | None = None
        self._told: bytes | None = None
        self._beats = feed.beats
        self._opening = OPENING
        self._is_open = True
        self._waiter: asyncio.Future[None] | None = None

    async def next(self) -> bytes:
        """What to send next, when there is something; empty at the end."""
        while True:
            piece = self._opening
            self._opening = b""
            if self._is_open:
                piece += self._news()
            if piece or not self._is_open:
                self.sent += bool(piece)
                return piece
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def wake(self) -> None:
        """Look again whether there is something to send."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def on_write_timeout(self) -> None:
        """The client took nothing for too long."""
        STREAM_DROPPED.labels(self._feed.kind).inc()

    def close(self) -> None:
        """End; may be called again."""
        if self._is_open:
            self._is_open = False
            self._feed.leave(self)
            self._on_close(self)
        self.wake()

    def _news(self) -> bytes:
        feed = self._feed
        if feed.farewell:
            self.close()
            STREAM_EVENTS.labels(feed.kind, "gone").inc()
            return feed.farewell
        beats, self._beats = self._beats, feed.beats
        if feed.problem is not None:
            if self._told is not feed.problem:
                self._told = feed.problem
                STREAM_EVENTS.labels(feed.kind, "unavailable").inc()
                return feed.problem
        elif feed.version is not None and (update := self._update(feed, feed.version)):
            return update
        return HEARTBEAT if beats != feed.beats else b""

    def _update(self, feed: Feed, version: Version) -> bytes:
        """What leads from what the client has to `version`: nothing when that is the same."""
        has, self._has = self._has, version
        if has is version and self._told is None:
            return b""
        # Who was told that nothing can be read must hear that it can be again, also when nothing changed.
        must, self._told = self._told is not None, None
        if has is None:
            wanted, self._last_event_id = self._last_event_id, ""
            has = feed.seen(wanted)
            if has is None:
                return feed.snapshot()
        if has.id == version.id and not must:
            return b""
        return feed.change_since(has, version)
