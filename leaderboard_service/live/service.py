"""Manages the live streams of one replica: their listeners, the limit of them, heartbeats, and the stop."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Iterator
from functools import partial
from typing import Final

from leaderboard_core.boards import Place
from leaderboard_core.errors import TooManyStreams, Unavailable
from leaderboard_core.settings import StreamSettings
from leaderboard_service.boards.places import Places
from leaderboard_service.boards.service import BoardReads
from leaderboard_service.live.feed import Feed, Listener
from leaderboard_service.live.polling import RankKey, RankPoller, TopKey, TopPoller, wake

_CHECKS_PER_HEARTBEAT: Final = 10
_RETRY_AFTER_SECONDS: Final = 5.0


class Hub:
    """Gives out listeners; the streams of one kind on one board share a poller."""

    def __init__(self, reads: BoardReads, places: Places, settings: StreamSettings) -> None:
        self._reads = reads
        self._places = places
        self._max_boards = settings.stream_boards
        self._max_listeners = settings.stream_max_listeners
        self._interval = settings.stream_interval_ms / 1000
        self._heartbeat_seconds = settings.stream_heartbeat_seconds
        self.write_timeout = settings.stream_slow_seconds
        self._top_pollers: dict[str, TopPoller] = {}
        self._rank_pollers: dict[str, RankPoller] = {}
        self._listeners: set[Listener] = set()
        self._heartbeat_task: asyncio.Task[None] | None = None
        self._stopping = False

    def top(self, place: Place, key: TopKey, last_event_id: str) -> Listener:
        """Listen to the first rows of a board. Raises Unavailable when too many listen, and TooManyStreams."""
        self._check_capacity(place)
        found = self._top_pollers.get(place.name)
        if found is None:
            leave = partial(self._top_pollers.pop, place.name)
            found = TopPoller(place, self._reads, self._places, self._interval, leave)
            self._top_pollers[place.name] = found
        return self._join(found.feed(key), last_event_id)

    async def rank(self, place: Place, key: RankKey, last_event_id: str) -> Listener:
        """Listen to a player's rank.

        Raises UserNotFound, NoEntry, BoardNotFound, or Unavailable when too many listen, and TooManyStreams.
        """
        self._check_capacity(place)
        found = self._rank_pollers.get(place.name)
        if found is None:
            leave = partial(self._rank_pollers.pop, place.name)
            found = RankPoller(place, self._reads, self._places, self._interval, leave)
            self._rank_pollers[place.name] = found
        feed = found.feed(key)
        listener = self._join(feed, last_event_id)
        try:
            await feed.wait_for_first_fetch()
        except BaseException:
            listener.close()
            raise
        return listener

    def stop(self) -> None:
        """End every stream, now and from now on: the clients connect again, to another replica."""
        self._stopping = True
        for listener in list(self._listeners):
            listener.close()

    def _check_capacity(self, place: Place) -> None:
        if len(self._listeners) >= self._max_listeners:
            raise Unavailable("This replica has as many live streams as it may.", retry_after=_RETRY_AFTER_SECONDS)
        names = self._top_pollers.keys() | self._rank_pollers.keys()
        if place.name not in names and len(names) >= self._max_boards:
            raise TooManyStreams(retry_after=_RETRY_AFTER_SECONDS)

    def _join(self, feed: Feed, last_event_id: str) -> Listener:
        listener = feed.join(last_event_id, self._remove)
        self._listeners.add(listener)
        if self._heartbeat_task is None:
            self._heartbeat_task = asyncio.get_running_loop().create_task(
                self._send_heartbeats(), context=contextvars.Context()
            )
        if self._stopping:
            listener.close()
        return listener

    def _remove(self, listener: Listener) -> None:
        self._listeners.discard(listener)
        if not self._listeners and self._heartbeat_task is not None:
            self._heartbeat_task.cancel()
            self._heartbeat_task = None

    async def _send_heartbeats(self) -> None:
        """Send a heartbeat on streams before they have been idle for too long."""
        loop = asyncio.get_running_loop()
        pause = self._heartbeat_seconds / _CHECKS_PER_HEARTBEAT
        while True:
            await asyncio.sleep(pause)
            idle_before = loop.time() - self._heartbeat_seconds + pause
            idle = [feed for feed in self._feeds() if feed.idle_since <= idle_before]
            for feed in idle:
                feed.heartbeat()
            await wake([(feed, True) for feed in idle])

    def _feeds(self) -> Iterator[Feed]:
        for top in self._top_pollers.values():
            yield from top.feeds.values()
        for rank in self._rank_pollers.values():
            yield from rank.feeds.values()
