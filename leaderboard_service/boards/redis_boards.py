"""Reads of boards from Redis: each one round trip per shard, and few more where a board spans several."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

from leaderboard_core.errors import InvalidPayload, UserNotFound
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_service.boards import redis_queries as ask
from leaderboard_service.boards.ranges import BoardRange, as_score_range
from leaderboard_service.boards.ranking import (
    RankedRow,
    Standing,
    Window,
    merge,
    neighbours,
    ranked,
    standings,
    sum_counts,
)

MERGED_DEPTH = 10_000
"""How deep a page of a board that spans shards may reach: each shard must send all rows before it."""
_KNOWN_HOMES = 100_000


class Page(NamedTuple):
    """Consecutive rows of a board; `total` players are on the whole board, and `more` of those asked for follow."""

    total: int
    rows: list[RankedRow]
    more: bool


class Place(NamedTuple):
    """One player's place on a board."""

    total: int
    row: RankedRow


class Standings(NamedTuple):
    """The players of a list that are on a board, in board order."""

    total: int
    rows: list[Standing]


class Surroundings(NamedTuple):
    """One player's row and its neighbours in board order, without itself."""

    total: int
    row: RankedRow
    around: list[RankedRow]


class RedisBoards:
    """Answers reads; a player's home shard, which never changes, is remembered where boards span shards."""

    def __init__(self, shard_map: ShardMap) -> None:
        self._map = shard_map
        self._homes: OrderedDict[str, Shard] = OrderedDict()

    async def top(self, region: str, limit: int, offset: int) -> Page:
        """`limit` rows of the board of `region` after the first `offset`.

        Raises WarmingUp or Unavailable, and InvalidPayload for a page deeper than MERGED_DEPTH of a
        board that spans shards.
        """
        shards = self._map.shards_of_board(region)
        if len(shards) == 1:
            window = await ask.read_top(shards[0], region, offset, limit)
            return Page(window.total, merge([window]), offset + len(window.scores) < window.total)
        depth = offset + limit
        if depth > MERGED_DEPTH:
            raise InvalidPayload(
                f"This board spans several servers; offset + limit may be at most {MERGED_DEPTH}.",
                fields=[{"field": "offset", "message": f"offset + limit is {depth}"}],
            )
        windows = await asyncio.gather(*(ask.read_top(shard, region, 0, depth) for shard in shards))
        total = sum(window.total for window in windows)
        return Page(total, merge(windows)[offset:depth], depth < total)

    async def page(self, region: str, board_range: BoardRange, limit: int) -> Page:
        """The first `limit` rows of a range of the board of `region`. Raises WarmingUp or Unavailable."""
        shards = self._map.shards_of_board(region)
        if len(shards) == 1:
            return first_page([await ask.read_page(shards[0], region, board_range, limit)], limit)

        async def count_above(scores: Sequence[int]) -> tuple[int, list[int]]:
            return sum_counts(await asyncio.gather(*(ask.count_above(shard, region, scores) for shard in shards)))

        asked = await as_score_range(board_range, count_above)
        windows = await asyncio.gather(*(ask.read_page(shard, region, asked, limit) for shard in shards))
        return first_page(windows, limit)

    async def ranks(self, region: str, user_ids: Sequence[str]) -> Standings:
        """The places of those of `user_ids` that are on the board of `region`. Raises WarmingUp or Unavailable.

        A board that spans shards takes a second round trip: each shard is asked where the others' players stand.
        """
        shards = self._map.shards_of_board(region)
        found = await asyncio.gather(*(ask.read_ranks(shard, region, user_ids) for shard in shards))
        rows = [row for _, own, _ in found for row in own]
        scores = {row.score for row in rows}

        async def count(shard: Shard, known: dict[int, int]) -> None:
            unknown = sorted(scores - known.keys())
            if unknown:
                _, above = await ask.count_above(shard, region, unknown)
                known.update(zip(unknown, above, strict=True))

        await asyncio.gather(*(count(shard, known) for shard, (_, _, known) in zip(shards, found, strict=True)))
        total = sum(part for part, _, _ in found)
        return Standings(total, standings(ranked(rows, [known for _, _, known in found]), total))

    async def rank(self, region: str, user_id: str) -> Place:
        """The place of `user_id` on the board of `region`. Raises UserNotFound, WarmingUp, Unavailable."""
        shards = self._map.shards_of_board(region)
        home, answer = await self._ask_home(shards, user_id, lambda shard: ask.read_rank(shard, region, user_id))
        total, above, score, name, home_region = answer
        if len(shards) > 1:
            others = await asyncio.gather(
                *(ask.count_above(shard, region, (score,)) for shard in shards if shard is not home)
            )
            total += sum(other[0] for other in others)
            above += sum(other[1][0] for other in others)
        return Place(total, RankedRow(above + 1, user_id, name, home_region, score))

    async def around(self, region: str, user_id: str, reach: int) -> Surroundings:
        """Up to `reach` rows above and below a player. Raises UserNotFound, WarmingUp, Unavailable."""
        shards = self._map.shards_of_board(region)
        home, window = await self._ask_home(
            shards, user_id, lambda shard: ask.read_around(shard, region, user_id, reach)
        )
        windows = [window]
        if len(shards) > 1:
            score = window.scores[window.user_ids.index(user_id)]
            windows += await asyncio.gather(
                *(ask.read_next_to(shard, region, user_id, reach, score) for shard in shards if shard is not home)
            )
        own, above, below = neighbours(merge(windows), user_id, reach)
        return Surroundings(sum(part.total for part in windows), own, above + below)

    async def _ask_home(self, shards: tuple[Shard, ...], user_id: str, question: Any) -> tuple[Shard, Any]:
        """Ask the shard that holds the player; all of them when that is not known yet."""
        if len(shards) == 1:
            answer = await question(shards[0])
            if answer is None:
                raise UserNotFound(found=False)
            return shards[0], answer
        known = self._homes.get(user_id)
        if known in shards and (answer := await question(known)) is not None:
            return known, answer
        for shard, answer in zip(shards, await asyncio.gather(*map(question, shards)), strict=True):
            if answer is not None:
                self._remember(user_id, shard)
                return shard, answer
        raise UserNotFound(found=False)

    def _remember(self, user_id: str, shard: Shard) -> None:
        self._homes[user_id] = shard
        if len(self._homes) > _KNOWN_HOMES:
            self._homes.popitem(last=False)


def first_page(windows: Sequence[Window], limit: int) -> Page:
    """The page that begins where windows of one range begin, each of at least `limit` rows if there are so many."""
    rows = merge(windows)[:limit]
    more = sum(window.start for window in windows) + len(rows) < sum(window.end for window in windows)
    return Page(sum(window.total for window in windows), rows, more)
