"""Polls what the streams of one board show, once an interval however many listen, and never when nobody does."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from time import thread_time
from typing import ClassVar, Final, Generic, NamedTuple, TypeVar

from leaderboard_core.boards import Place
from leaderboard_core.errors import BoardNotFound, LeaderboardError, Unavailable, UserNotFound
from leaderboard_service.boards.places import TRIES, Places, Redefined
from leaderboard_service.boards.ranking import Metadata, RankedRow
from leaderboard_service.boards.rows import has_metadata
from leaderboard_service.boards.service import BoardReads
from leaderboard_service.live.content import PlayerRank, TopRows
from leaderboard_service.live.feed import Feed

log = logging.getLogger(__name__)

DEGRADED_SECONDS: Final = 2.0
"""Shortest interval while Redis is unavailable: reads cost Postgres more, and it has the writes to save."""
DUTY_CYCLE: Final = 0.25
"""The share of the replica's CPU time that a poller may take; it pauses for the rest."""
CONCURRENCY: Final = 100
"""How many ranks are fetched at once, and how many listeners are woken before other tasks run."""


class TopKey(NamedTuple):
    """What a stream of first rows shows."""

    limit: int
    metadata: bool


class RankKey(NamedTuple):
    """What a stream of a player's rank shows: also up to `reach` rows on both sides."""

    user_id: str
    reach: int
    metadata: bool


Key = TypeVar("Key")
Fetched = tuple[Feed, bool]
"""A feed, and whether its listeners have a pending update."""


class Poller(ABC, Generic[Key]):
    """Polls the feeds of one kind on one board, in a task that lives from the first listener to the last."""

    kind: ClassVar[str]

    def __init__(
        self,
        place: Place,
        reads: BoardReads,
        places: Places,
        interval_seconds: float,
        on_empty: Callable[[], object],
    ) -> None:
        self.feeds: dict[Key, Feed] = {}
        self._place = place
        self._reads = reads
        self._places = places
        self._on_empty: Callable[[], object] | None = on_empty
        self._interval = interval_seconds
        self._new = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._degraded = False

    def feed(self, key: Key) -> Feed:
        """Return the feed of that key; a new one is fetched at once, and dropped when its last listener leaves."""
        found = self.feeds.get(key)
        if found is None:
            found = self.feeds[key] = Feed(self.kind, partial(self._drop, key))
            self._new.set()
            if self._task is None:
                # A context of its own: its log lines belong to no request.
                self._task = asyncio.get_running_loop().create_task(self._run(), context=contextvars.Context())
        return found

    def _drop(self, key: Key, feed: Feed) -> None:
        if self.feeds.get(key) is not feed:
            return  # its stream has ended; the task may be telling others so
        del self.feeds[key]
        if not self.feeds:
            if self._task is not None:
                self._task.cancel()
                self._task = None
            self._leave()

    def _leave(self) -> None:
        """Be left to itself, once: whoever listens next has another poller."""
        leave, self._on_empty = self._on_empty, None
        if leave is not None:
            leave()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while self.feeds:
            self._new.clear()
            started, cpu = loop.time(), thread_time()
            is_due = started >= due
            await self._cycle({key: feed for key, feed in self.feeds.items() if is_due or feed.awaits_first_fetch})
            if is_due:
                ended = loop.time()
                interval = max(self._interval, DEGRADED_SECONDS) if self._degraded else self._interval
                # A cycle that waited long (for Redis, for the machine) is followed by a pause of the same length.
                pause = max((1 / DUTY_CYCLE - 1) * (thread_time() - cpu), ended - started)
                due = max(started + interval, ended + pause)
            try:
                async with asyncio.timeout_at(due):
                    await self._new.wait()
            except TimeoutError:
                continue
        self._task = None
        self._leave()

    async def _cycle(self, feeds: dict[Key, Feed]) -> None:
        self._degraded = False
        try:
            await self._fetch_as_defined(feeds)
        except BoardNotFound as error:
            await self._end(error)
        except LeaderboardError as error:
            await self._fail(feeds.values(), error)
        except Exception:
            log.exception("live boards cannot be read", extra={"region": self._place.region, "kind": self.kind})
            await self._fail(feeds.values(), LeaderboardError())

    async def _fetch_as_defined(self, feeds: dict[Key, Feed]) -> None:
        """Fetch by what the board is now. Raises BoardNotFound when it is another one, and Unavailable."""
        for _ in range(TRIES):
            try:
                await self._fetch(feeds)
            except Redefined:
                await self._define_anew()
            else:
                return
        raise Unavailable

    async def _define_anew(self) -> None:
        board = await self._places.look_again(self._place.board.name)
        if board.id != self._place.board.id:
            raise BoardNotFound
        self._place = self._place._replace(board=board)

    async def _end(self, error: BoardNotFound) -> None:
        """End all streams: there is no such board any more."""
        ended, self.feeds = self.feeds, {}
        self._leave()
        await wake([(feed, feed.end(error, self._data_of_end(key))) for key, feed in ended.items()])

    def _data_of_end(self, key: Key) -> dict[str, str]:
        """Return the data of the event that ends a stream."""
        del key
        return {"board": self._place.board.name, "region": self._place.region}

    async def _fail(self, feeds: Iterable[Feed], error: LeaderboardError) -> None:
        self._degraded = True
        await wake([(feed, feed.fail(error)) for feed in feeds])

    @abstractmethod
    async def _fetch(self, feeds: dict[Key, Feed]) -> None:
        """Fetch what these feeds show, and wake the listeners of those that changed."""


class TopPoller(Poller[TopKey]):
    """Polls the first rows of a board: the largest limit is fetched, the others are slices of that."""

    kind = "top"

    async def _fetch(self, feeds: dict[TopKey, Feed]) -> None:
        if not feeds:
            return
        place, limit = self._place, max(key.limit for key in feeds)
        wanted = has_metadata(place.board, wanted=any(key.metadata for key in feeds))
        page, source = await self._reads.top(place, limit, 0, metadata=wanted)
        self._degraded = source != "redis"

        def content(key: TopKey) -> TopRows:
            rows = tuple(page.rows[: key.limit])
            metadata = page.metadata if has_metadata(place.board, wanted=key.metadata) else None
            return TopRows(place, page.total, source, rows, _of_rows(metadata, rows))

        await wake([(feed, feed.show(content(key))) for key, feed in feeds.items()])


class RankPoller(Poller[RankKey]):
    """Polls ranks of players; concurrent reads share a round trip."""

    kind = "rank"

    async def _fetch(self, feeds: dict[RankKey, Feed]) -> None:
        items = list(feeds.items())
        for start in range(0, len(items), CONCURRENCY):
            chunk = items[start : start + CONCURRENCY]
            await wake(await asyncio.gather(*(self._fetch_rank(key, feed) for key, feed in chunk)))

    async def _fetch_rank(self, key: RankKey, feed: Feed) -> Fetched:
        place, wanted = self._place, has_metadata(self._place.board, wanted=key.metadata)
        try:
            if key.reach:
                found, source = await self._reads.around(place, key.user_id, key.reach, metadata=wanted)
                own, around, total, metadata = found.row, tuple(found.around), found.total, found.metadata
            else:
                entry, source = await self._reads.rank(place, key.user_id, metadata=wanted)
                own, around, total, metadata = entry.row, (), entry.total, entry.metadata
            said = _of_rows(metadata if wanted else None, (own, *around))
            content = PlayerRank(place, total, source, own, around, said)
        except UserNotFound as error:
            if error.source == "postgres":
                self._degraded = True
                if feed.version is not None:  # Postgres may not have the player yet: the stream goes on
                    return feed, feed.fail(Unavailable("Redis is away, and Postgres does not have this player yet."))
            # A later player of that user_id is another one, with another feed.
            self.feeds.pop(key, None)
            return feed, feed.end(error, self._data_of_end(key))
        except BoardNotFound:
            raise
        except LeaderboardError as error:
            self._degraded = True
            return feed, feed.fail(error)
        self._degraded = self._degraded or source != "redis"
        return feed, feed.show(content)

    def _data_of_end(self, key: RankKey) -> dict[str, str]:
        return {**super()._data_of_end(key), "user_id": key.user_id}


def _of_rows(metadata: Metadata | None, rows: Sequence[RankedRow]) -> Metadata | None:
    """Return the metadata of these rows alone, so that contents that show the same are equal."""
    return None if metadata is None else {row.member: metadata[row.member] for row in rows if row.member in metadata}


async def wake(fetched: Sequence[Fetched]) -> None:
    """Wake the listeners of feeds with a pending update, some at a time: thousands must not hold up other tasks."""
    woken = 0
    for feed, has_pending_update in fetched:
        if has_pending_update:
            for listener in list(feed.listeners):
                listener.wake()
                woken += 1
                if woken % CONCURRENCY == 0:
                    await asyncio.sleep(0)
