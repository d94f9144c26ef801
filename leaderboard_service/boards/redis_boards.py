"""Reads boards from Redis, in one round trip per shard and few more where a board spans several."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from leaderboard_core.errors import UserNotFound
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_service.boards import redis_queries as queries
from leaderboard_service.boards import selection
from leaderboard_service.boards.count_sharing import SharedCounts
from leaderboard_service.boards.ranges import BoardRange, Position, as_score_range
from leaderboard_service.boards.ranking import (
    PagePart,
    RankedRow,
    list_ranks,
    merge,
    neighbours,
    ranked,
    sum_counts,
)
from leaderboard_service.boards.results import ListRanks, Neighbourhood, Page, RankEntry, first_page

_CACHED_HOME_SHARDS = 100_000


class RedisBoards:
    """Reads boards; caches each player's home shard, which never changes, where boards span shards."""

    def __init__(self, shard_map: ShardMap) -> None:
        self._map = shard_map
        self._home_shards: OrderedDict[str, Shard] = OrderedDict()
        self._counts: dict[str, SharedCounts] = {}

    async def top(self, region: str, limit: int, offset: int) -> Page:
        """Read `limit` rows of the board of `region` after the first `offset`.

        A board that spans shards is searched for the beginning of a deep page. Raises WarmingUp or Unavailable.
        """
        shards = self._map.shards_of_board(region)
        if len(shards) == 1:
            part = await queries.read_top(shards[0], region, offset, limit)
            return Page(part.total, merge([part]), offset + len(part.scores) < part.total)
        if selection.reads_from_top(offset, limit):
            depth = offset + limit
            parts = await asyncio.gather(*(queries.read_top(shard, region, 0, depth) for shard in shards))
            total = sum(part.total for part in parts)
            return Page(total, merge(parts, depth)[offset:], depth < total)

        async def sample(after: Position, up_to: Position) -> Sequence[selection.Sample]:
            return await asyncio.gather(*(queries.read_samples(shard, region, after, up_to) for shard in shards))

        async def read(after: Position, rows: int) -> Sequence[PagePart]:
            following = BoardRange(after=after)
            return await asyncio.gather(*(queries.read_page(shard, region, following, rows) for shard in shards))

        return await selection.read_page(offset, limit, sample, read)

    async def page(self, region: str, board_range: BoardRange, limit: int) -> Page:
        """Read the first `limit` rows of a range of the board of `region`. Raises WarmingUp or Unavailable."""
        shards = self._map.shards_of_board(region)
        if len(shards) == 1:
            return first_page([await queries.read_page(shards[0], region, board_range, limit)], limit)

        async def count_above(scores: Sequence[int]) -> tuple[int, list[int]]:
            return sum_counts(await asyncio.gather(*(queries.count_above(shard, region, scores) for shard in shards)))

        by_score = await as_score_range(board_range, count_above)
        parts = await asyncio.gather(*(queries.read_page(shard, region, by_score, limit) for shard in shards))
        return first_page(parts, limit)

    async def ranks(self, region: str, user_ids: Sequence[str]) -> ListRanks:
        """Rank those of `user_ids` that are on the board of `region`. Raises WarmingUp or Unavailable.

        A board that spans shards takes a second round trip: each shard counts above the scores of the others' players.
        """
        shards = self._map.shards_of_board(region)
        found = await asyncio.gather(*(queries.read_ranks(shard, region, user_ids) for shard in shards))
        rows = [row for _, own, _ in found for row in own]
        scores = {row.score for row in rows}

        async def count(shard: Shard, known: dict[int, int]) -> None:
            unknown = sorted(scores - known.keys())
            if unknown:
                _, above = await queries.count_above(shard, region, unknown)
                known.update(zip(unknown, above, strict=True))

        await asyncio.gather(*(count(shard, known) for shard, (_, _, known) in zip(shards, found, strict=True)))
        total = sum(players for players, _, _ in found)
        return ListRanks(total, list_ranks(ranked(rows, [known for _, _, known in found]), total))

    async def rank(self, region: str, user_id: str) -> RankEntry:
        """Rank `user_id` on the board of `region`. Raises UserNotFound, WarmingUp or Unavailable."""
        shards = self._map.shards_of_board(region)
        _, answer = await self._read_home_shard(
            region, user_id, lambda shard: queries.read_rank(shard, region, user_id)
        )
        total, above, score, name, home_region = answer
        if len(shards) > 1:
            total, above = await self._counts_of(region).above(score)
        return RankEntry(total, RankedRow(above + 1, user_id, name, home_region, score))

    async def around(self, region: str, user_id: str, reach: int) -> Neighbourhood:
        """Read up to `reach` rows above and below a player. Raises UserNotFound, WarmingUp or Unavailable."""
        shards = self._map.shards_of_board(region)
        home, part = await self._read_home_shard(
            region, user_id, lambda shard: queries.read_around(shard, region, user_id, reach)
        )
        parts = [part]
        if len(shards) > 1:
            score = part.scores[part.user_ids.index(user_id)]
            parts += await asyncio.gather(
                *(queries.read_next_to(shard, region, user_id, reach, score) for shard in shards if shard is not home)
            )
        own, above, below = neighbours(merge(parts), user_id, reach)
        return Neighbourhood(sum(part.total for part in parts), own, above + below)

    def _counts_of(self, region: str) -> SharedCounts:
        counts = self._counts.get(region)
        if counts is None:
            shards = self._map.shards_of_board(region)

            async def count(scores: Sequence[int]) -> tuple[int, list[int]]:
                parts = await asyncio.gather(*(queries.count_above(shard, region, scores) for shard in shards))
                return sum_counts(parts)

            counts = self._counts[region] = SharedCounts(count)
        return counts

    async def _read_home_shard(self, region: str, user_id: str, read: Any) -> tuple[Shard, Any]:
        """Read from the shard that holds the player; from all where it may be when that is not known yet."""
        shards = self._map.shards_of_player(user_id, region)
        if len(shards) == 1:
            answer = await read(shards[0])
            if answer is None:
                raise UserNotFound(found=False)
            return shards[0], answer
        known = self._home_shards.get(user_id)
        if known in shards and (answer := await read(known)) is not None:
            return known, answer
        for shard, answer in zip(shards, await asyncio.gather(*map(read, shards)), strict=True):
            if answer is not None:
                self._remember(user_id, shard)
                return shard, answer
        raise UserNotFound(found=False)

    def _remember(self, user_id: str, shard: Shard) -> None:
        self._home_shards[user_id] = shard
        if len(self._home_shards) > _CACHED_HOME_SHARDS:
            self._home_shards.popitem(last=False)
