"""Reads boards from Redis, in one round trip per shard and few more where a board spans several."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from leaderboard_core.boards import Place
from leaderboard_core.errors import NoEntry, UserNotFound
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL, ShardMap
from leaderboard_service.boards import redis_queries as queries
from leaderboard_service.boards import selection
from leaderboard_service.boards.count_sharing import Counted, SharedCounts
from leaderboard_service.boards.ranges import BoardRange, Point, as_key_range
from leaderboard_service.boards.ranking import (
    Counts,
    PagePart,
    Row,
    all_metadata,
    list_ranks,
    merge,
    neighbours,
    ranked,
    sum_counts,
)
from leaderboard_service.boards.redis_queries import Missing
from leaderboard_service.boards.results import ListRanks, Neighbourhood, Page, RankEntry, first_page

_CACHED_HOME_SHARDS = 100_000
_SHARED_COUNTS = 4096
"""Of so many rankings in parts; who counts in one that is left out goes on by itself."""


class RedisBoards:
    """Reads boards; caches each player's home shard, which never changes, where boards span shards."""

    def __init__(self, shard_map: ShardMap) -> None:
        self._map = shard_map
        self._home_shards: OrderedDict[str, Shard] = OrderedDict()
        self._counts: OrderedDict[Place, SharedCounts] = OrderedDict()

    async def top(self, place: Place, limit: int, offset: int, *, metadata: bool = False) -> Page:
        """Read `limit` rows of a ranking after the first `offset`, with their metadata where that is wanted.

        A board that spans shards is searched for the beginning of a deep page. Raises WarmingUp or Unavailable, and
        Redefined when a shard has a later definition of the board; so do all of these reads.
        """
        shards = self._map.shards_of_board(place.region)
        if len(shards) == 1:
            part = await queries.read_top(shards[0], place, offset, limit, metadata=metadata)
            return Page(part.total, merge([part]), offset + len(part.keys) < part.total, part.metadata)
        if selection.reads_from_top(offset, limit):
            depth = offset + limit
            parts = await asyncio.gather(
                *(queries.read_top(shard, place, 0, depth, metadata=metadata) for shard in shards)
            )
            total = sum(part.total for part in parts)
            return Page(total, merge(parts, depth)[offset:], depth < total, all_metadata(parts))

        async def sample(after: Point, up_to: Point) -> Sequence[selection.Sample]:
            return await asyncio.gather(*(queries.read_samples(shard, place, after, up_to) for shard in shards))

        async def read(after: Point, rows: int) -> Sequence[PagePart]:
            following = BoardRange(after=after)
            return await asyncio.gather(
                *(queries.read_page(shard, place, following, rows, metadata=metadata) for shard in shards)
            )

        return await selection.read_page(offset, limit, sample, read)

    async def page(self, place: Place, board_range: BoardRange, limit: int, *, metadata: bool = False) -> Page:
        """Read the first `limit` rows of a range of a ranking. Raises WarmingUp or Unavailable."""
        shards = self._map.shards_of_board(place.region)
        if len(shards) == 1:
            part = await queries.read_page(shards[0], place, board_range, limit, metadata=metadata)
            return first_page([part], limit)

        async def count_above(board_keys: Sequence[int]) -> tuple[int, list[int]]:
            return sum_counts(
                await asyncio.gather(*(queries.count_above(shard, place, board_keys) for shard in shards))
            )

        by_key = await as_key_range(board_range, count_above)
        parts = await asyncio.gather(
            *(queries.read_page(shard, place, by_key, limit, metadata=metadata) for shard in shards)
        )
        return first_page(parts, limit)

    async def ranks(self, place: Place, user_ids: Sequence[str], *, metadata: bool = False) -> ListRanks:
        """Rank those of `user_ids` that are in a ranking. Raises WarmingUp or Unavailable.

        A board that spans shards takes a second round trip: each shard counts before the others' players.
        """
        shards = self._map.shards_of_board(place.region)
        found = await asyncio.gather(
            *(queries.read_ranks(shard, place, user_ids, metadata=metadata) for shard in shards)
        )
        counts: dict[Row, list[Counts]] = {row: [own] for _, here, _ in found for row, own in here}

        async def count(shard: Shard, here: set[Row]) -> None:
            others = [row for row in counts if row not in here]
            if others:
                points = [Point(row.key, row.member) for row in others]
                _, counted = await queries.count_before(shard, place, points)
                for row, one in zip(others, counted, strict=True):
                    counts[row].append(one)

        if len(shards) > 1:
            parts = zip(shards, ({row for row, _ in here} for _, here, _ in found), strict=True)
            await asyncio.gather(*(count(shard, here) for shard, here in parts))
        total = sum(players for players, _, _ in found)
        all_of_them = {member: text for _, _, texts in found for member, text in texts.items()}
        return ListRanks(total, list_ranks([ranked(row, each) for row, each in counts.items()], total), all_of_them)

    async def rank(self, place: Place, user_id: str, *, metadata: bool = False) -> RankEntry:
        """Rank `user_id`. Raises UserNotFound, NoEntry, WarmingUp or Unavailable."""
        shards = self._map.shards_of_board(place.region)
        if len(shards) == 1:  # as _read_home_shard, without a turn through it: the read that is asked for most
            found = await queries.read_rank(shards[0], place, user_id, metadata=metadata)
            if isinstance(found, Missing):
                raise await self._missing(place, user_id, (found,))
        else:
            _, found = await self._read_home_shard(
                place, user_id, lambda shard: queries.read_rank(shard, place, user_id, metadata=metadata)
            )
        total, row, counts, texts = found
        if len(shards) > 1:
            total, counts = await self._counts_of(place).at(Point(row.key, row.member))
        return RankEntry(total, ranked(row, (counts,)), texts)

    async def around(self, place: Place, user_id: str, reach: int, *, metadata: bool = False) -> Neighbourhood:
        """Read up to `reach` rows above and below a player. Raises as `rank`."""
        shards = self._map.shards_of_board(place.region)
        home, (part, member) = await self._read_home_shard(
            place, user_id, lambda shard: queries.read_around(shard, place, user_id, reach, metadata=metadata)
        )
        parts = [part]
        if len(shards) > 1:
            own = Point(part.keys[part.members.index(member)], member)
            parts += await asyncio.gather(
                *(
                    queries.read_next_to(shard, place, reach, own, metadata=metadata)
                    for shard in shards
                    if shard is not home
                )
            )
        row, above, below = neighbours(merge(parts), member, reach)
        return Neighbourhood(sum(part.total for part in parts), row, above + below, all_metadata(parts))

    def _counts_of(self, place: Place) -> SharedCounts:
        shared = self._counts.get(place)
        if shared is None:
            shards = self._map.shards_of_board(place.region)

            async def count(points: Sequence[Point]) -> Counted:
                found = await asyncio.gather(*(queries.count_before(shard, place, points) for shard in shards))
                summed = [
                    Counts(sum(one.above for one in parts), sum(one.before for one in parts))
                    for parts in zip(*(counts for _, counts in found), strict=True)
                ]
                return sum(total for total, _ in found), summed

            shared = self._counts[place] = SharedCounts(count)
            if len(self._counts) > _SHARED_COUNTS:
                self._counts.popitem(last=False)
        return shared

    async def _read_home_shard(self, place: Place, user_id: str, read: Any) -> tuple[Shard, Any]:
        """Read from the shard that holds the player; from all where it may be when that is not known yet."""
        shards = self._map.shards_of_player(user_id, place.region)
        if len(shards) == 1:
            answer = await read(shards[0])
            if isinstance(answer, Missing):
                raise await self._missing(place, user_id, (answer,))
            return shards[0], answer
        known = self._home_shards.get(user_id)
        if known in shards and not isinstance(answer := await read(known), Missing):
            return known, answer
        answers = await asyncio.gather(*map(read, shards))
        for shard, answer in zip(shards, answers, strict=True):
            if not isinstance(answer, Missing):
                self._remember(user_id, shard)
                return shard, answer
        raise await self._missing(place, user_id, answers)

    async def _missing(self, place: Place, user_id: str, answers: Sequence[Missing]) -> UserNotFound:
        """Return what to raise for a player who is not on the board, by what the shards answered that could have it.

        On the main board, which every player is on, that is the same.
        """
        if place.is_default:
            return UserNotFound(found=False)
        known = any(one.known for one in answers)
        elsewhere = set(self._map.shards_of_player(user_id)) - set(self._map.shards_of_player(user_id, place.region))
        if not known and elsewhere:
            everywhere = place.in_region(GLOBAL)
            others = await asyncio.gather(*(queries.read_rank(shard, everywhere, user_id) for shard in elsewhere))
            known = any(not isinstance(one, Missing) or one.known for one in others)
        if not known:
            return UserNotFound(found=False)
        shards = self._map.shards_of_board(place.region)
        if len(shards) == 1:
            return NoEntry(found=False, total=answers[0].total)
        counted = await asyncio.gather(*(queries.count_above(shard, place, ()) for shard in shards))
        return NoEntry(found=False, total=sum(total for total, _ in counted))

    def _remember(self, user_id: str, shard: Shard) -> None:
        self._home_shards[user_id] = shard
        if len(self._home_shards) > _CACHED_HOME_SHARDS:
            self._home_shards.popitem(last=False)
