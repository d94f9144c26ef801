"""Reads what the streams of one board show, once a tick however many listen, and never when nobody does."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import partial
from time import thread_time
from typing import ClassVar, Final, Generic, TypeVar

from leaderboard_core.errors import LeaderboardError, Unavailable, UserNotFound
from leaderboard_service.boards.service import BoardReads
from leaderboard_service.live.content import PlayerRank, TopRows
from leaderboard_service.live.feed import Feed

log = logging.getLogger(__name__)

DEGRADED_SECONDS: Final = 2.0
"""Shortest tick while Redis does not answer: reads from Postgres cost it more, and it has the writes to save."""
REST: Final = 3.0
"""A round rests at least so many times the CPU time it took: streams have a quarter of the replica, not more."""
SIDE_BY_SIDE: Final = 100
"""How many ranks are asked for at once, and how many listeners are woken before other work gets a turn."""

Key = TypeVar("Key")
Looked = tuple[Feed, bool]
"""A feed, and whether its listeners must be woken."""


class Round(ABC, Generic[Key]):
    """The feeds of one kind on one board; its task lives from the first listener to the last."""

    kind: ClassVar[str]

    def __init__(self, region: str, reads: BoardReads, interval_seconds: float) -> None:
        self.feeds: dict[Key, Feed] = {}
        self._region = region
        self._reads = reads
        self._interval = interval_seconds
        self._new = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._degraded = False

    def feed(self, key: Key) -> Feed:
        """The feed of that key; a new one is read at once. It is dropped when its last listener leaves."""
        found = self.feeds.get(key)
        if found is None:
            found = self.feeds[key] = Feed(self.kind, partial(self._drop, key))
            self._new.set()
            if self._task is None:
                # A context of its own: its log lines belong to no request.
                self._task = asyncio.get_running_loop().create_task(self._run(), context=contextvars.Context())
        return found

    def _drop(self, key: Key, feed: Feed) -> None:
        if self.feeds.get(key) is feed:
            del self.feeds[key]
        if not self.feeds and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while self.feeds:
            self._new.clear()
            started, cpu = loop.time(), thread_time()
            is_due = started >= due
            await self._round({key: feed for key, feed in self.feeds.items() if is_due or feed.is_fresh})
            if is_due:
                ended = loop.time()
                interval = max(self._interval, DEGRADED_SECONDS) if self._degraded else self._interval
                # What took long because others were waited for (Redis, the machine) gets a rest as long as itself.
                due = max(started + interval, ended + max(REST * (thread_time() - cpu), ended - started))
            try:
                async with asyncio.timeout_at(due):
                    await self._new.wait()
            except TimeoutError:
                continue
        self._task = None

    async def _round(self, feeds: dict[Key, Feed]) -> None:
        self._degraded = False
        try:
            await self._look(feeds)
        except Exception:
            log.exception("live boards cannot be read", extra={"region": self._region, "kind": self.kind})
            await self._fail(feeds.values(), LeaderboardError())

    async def _fail(self, feeds: Iterable[Feed], error: LeaderboardError) -> None:
        self._degraded = True
        await wake([(feed, feed.fail(error)) for feed in feeds])

    @abstractmethod
    async def _look(self, feeds: dict[Key, Feed]) -> None:
        """Read what these feeds show and tell them and their listeners."""


class TopRound(Round[int]):
    """Keys are limits: the largest is read, the others are slices of it."""

    kind = "top"

    async def _look(self, feeds: dict[int, Feed]) -> None:
        if not feeds:
            return
        try:
            page, source = await self._reads.top(self._region, max(feeds), 0)
        except LeaderboardError as error:
            await self._fail(feeds.values(), error)
            return
        self._degraded = source != "redis"
        await wake(
            [
                (feed, feed.show(TopRows(self._region, page.total, source, tuple(page.rows[:limit]))))
                for limit, feed in feeds.items()
            ]
        )


class RankRound(Round[tuple[str, int]]):
    """Keys are (user_id, range); the reads of one turn share a round trip."""

    kind = "rank"

    async def _look(self, feeds: dict[tuple[str, int], Feed]) -> None:
        everyone = list(feeds.items())
        for start in range(0, len(everyone), SIDE_BY_SIDE):
            some = everyone[start : start + SIDE_BY_SIDE]
            await wake(await asyncio.gather(*(self._look_at(*key, feed) for key, feed in some)))

    async def _look_at(self, user_id: str, reach: int, feed: Feed) -> Looked:
        try:
            if reach:
                found, source = await self._reads.around(self._region, user_id, reach)
                content = PlayerRank(self._region, found.total, source, found.row, tuple(found.around))
            else:
                place, source = await self._reads.rank(self._region, user_id)
                content = PlayerRank(self._region, place.total, source, place.row)
        except UserNotFound as error:
            if error.source == "postgres":
                self._degraded = True
                if feed.version is not None:  # Postgres may not know yet whom Redis knew: that is no farewell
                    return feed, feed.fail(Unavailable("Redis is away, and Postgres does not have this player yet."))
            # A player of that name who comes later is another one, with another feed.
            self.feeds.pop((user_id, reach), None)
            return feed, feed.end(error, {"region": self._region, "user_id": user_id})
        except LeaderboardError as error:
            self._degraded = True
            return feed, feed.fail(error)
        self._degraded = self._degraded or source != "redis"
        return feed, feed.show(content)


async def wake(looked: Sequence[Looked]) -> None:
    """Wake the listeners of feeds that have news, some at a time: thousands must not hold up everything else."""
    woken = 0
    for feed, has_news in looked:
        if has_news:
            for listener in list(feed.listeners):
                listener.wake()
                woken += 1
                if woken % SIDE_BY_SIDE == 0:
                    await asyncio.sleep(0)
