"""The live streams of one replica: who listens to what, how many may, heartbeats, and the end of all at a stop."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Iterator
from typing import Final

from leaderboard_core.errors import Unavailable
from leaderboard_core.settings import StreamSettings
from leaderboard_service.boards.service import BoardReads
from leaderboard_service.live.feed import Feed, Listener
from leaderboard_service.live.polling import RankRound, TopRound, wake

_LOOKS_PER_HEARTBEAT: Final = 10
_RETRY_AFTER_SECONDS: Final = 5.0


class Hub:
    """Gives out listeners; the streams of one kind on one board share a round of reads."""

    def __init__(self, reads: BoardReads, settings: StreamSettings) -> None:
        self._reads = reads
        self._most = settings.stream_max_listeners
        self._interval = settings.stream_interval_ms / 1000
        self._heartbeat = settings.stream_heartbeat_seconds
        self.write_timeout = settings.stream_slow_seconds
        self._tops: dict[str, TopRound] = {}
        self._ranks: dict[str, RankRound] = {}
        self._listeners: set[Listener] = set()
        self._heart: asyncio.Task[None] | None = None
        self._stopping = False

    def top(self, region: str, limit: int, last_event_id: str) -> Listener:
        """Listen to the first `limit` rows of a board. Raises Unavailable when too many listen."""
        self._check_room()
        found = self._tops.get(region)
        if found is None:
            found = self._tops[region] = TopRound(region, self._reads, self._interval)
        return self._join(found.feed(limit), last_event_id)

    async def rank(self, region: str, user_id: str, reach: int, last_event_id: str) -> Listener:
        """Listen to a player's rank with `reach` neighbours on both sides.

        Raises UserNotFound, or Unavailable when too many listen.
        """
        self._check_room()
        found = self._ranks.get(region)
        if found is None:
            found = self._ranks[region] = RankRound(region, self._reads, self._interval)
        feed = found.feed((user_id, reach))
        listener = self._join(feed, last_event_id)
        try:
            await feed.opened()
        except BaseException:
            listener.close()
            raise
        return listener

    def stop(self) -> None:
        """End every stream, now and from now on: the clients connect again, to another replica."""
        self._stopping = True
        for listener in list(self._listeners):
            listener.close()

    def _check_room(self) -> None:
        if len(self._listeners) >= self._most:
            raise Unavailable("This replica has as many live streams as it may.", retry_after=_RETRY_AFTER_SECONDS)

    def _join(self, feed: Feed, last_event_id: str) -> Listener:
        listener = feed.join(last_event_id, self._left)
        self._listeners.add(listener)
        if self._heart is None:
            self._heart = asyncio.get_running_loop().create_task(self._beat(), context=contextvars.Context())
        if self._stopping:
            listener.close()
        return listener

    def _left(self, listener: Listener) -> None:
        self._listeners.discard(listener)
        if not self._listeners and self._heart is not None:
            self._heart.cancel()
            self._heart = None

    async def _beat(self) -> None:
        """Let streams say something before they have been silent for too long."""
        loop = asyncio.get_running_loop()
        pause = self._heartbeat / _LOOKS_PER_HEARTBEAT
        while True:
            await asyncio.sleep(pause)
            silent_since = loop.time() - self._heartbeat + pause
            silent = [feed for feed in self._feeds() if feed.quiet_since <= silent_since]
            for feed in silent:
                feed.beat()
            await wake([(feed, True) for feed in silent])

    def _feeds(self) -> Iterator[Feed]:
        for top in self._tops.values():
            yield from top.feeds.values()
        for rank in self._ranks.values():
            yield from rank.feeds.values()
