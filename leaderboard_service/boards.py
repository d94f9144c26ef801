"""Reads of boards from Redis: top, rank and around, each one round trip per shard."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import Any

from leaderboard_core.errors import InvalidPayload, UserNotFound, WarmingUp
from leaderboard_core.shards import Shard, ShardMap
from leaderboard_service.ranking import RankedRow, Row, Window, merge, neighbours

MERGED_DEPTH = 10_000
"""How deep a page of a board that spans shards may reach: each shard must send all rows before it."""
_KNOWN_HOMES = 100_000
_new_row = partial(tuple.__new__, Row)  # as Row._make, at a third of the time


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of a board from an offset; `total` players are on the whole board."""

    total: int
    rows: list[RankedRow]


@dataclass(frozen=True, slots=True)
class Place:
    """One player's place on a board."""

    total: int
    row: RankedRow


@dataclass(frozen=True, slots=True)
class Surroundings:
    """One player's row and its neighbours in board order, without itself."""

    total: int
    row: RankedRow
    around: list[RankedRow]


class BoardReader:
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
            window = await _read_top(shards[0], region, offset, limit)
            return Page(window.total, merge([window]))
        depth = offset + limit
        if depth > MERGED_DEPTH:
            raise InvalidPayload(
                f"This board spans several servers; offset + limit may be at most {MERGED_DEPTH}.",
                fields=[{"field": "offset", "message": f"offset + limit is {depth}"}],
            )
        windows = await asyncio.gather(*(_read_top(shard, region, 0, depth) for shard in shards))
        return Page(sum(window.total for window in windows), merge(windows)[offset:depth])

    async def rank(self, region: str, user_id: str) -> Place:
        """The place of `user_id` on the board of `region`. Raises UserNotFound, WarmingUp, Unavailable."""
        shards = self._map.shards_of_board(region)
        home, answer = await self._ask_home(shards, user_id, lambda shard: _read_rank(shard, region, user_id))
        total, above, score, name, home_region = answer
        if len(shards) > 1:
            others = await asyncio.gather(
                *(_count_above(shard, region, score) for shard in shards if shard is not home)
            )
            total += sum(other[0] for other in others)
            above += sum(other[1] for other in others)
        return Place(total, RankedRow(above + 1, user_id, name, home_region, score))

    async def around(self, region: str, user_id: str, reach: int) -> Surroundings:
        """Up to `reach` rows above and below a player. Raises UserNotFound, WarmingUp, Unavailable."""
        shards = self._map.shards_of_board(region)
        home, window = await self._ask_home(shards, user_id, lambda shard: _read_around(shard, region, user_id, reach))
        windows = [window]
        if len(shards) > 1:
            score = next(row.score for row in window.rows if row.user_id == user_id)
            windows += await asyncio.gather(
                *(_read_next_to(shard, region, user_id, reach, score) for shard in shards if shard is not home)
            )
        own, above, below = neighbours(merge(windows), user_id, reach)
        return Surroundings(sum(part.total for part in windows), own, above + below)

    async def _ask_home(self, shards: tuple[Shard, ...], user_id: str, ask: Any) -> tuple[Shard, Any]:
        """Ask the shard that holds the player; all of them when that is not known yet."""
        if len(shards) == 1:
            answer = await ask(shards[0])
            if answer is None:
                raise UserNotFound(found=False)
            return shards[0], answer
        known = self._homes.get(user_id)
        if known in shards and (answer := await ask(known)) is not None:
            return known, answer
        for shard, answer in zip(shards, await asyncio.gather(*map(ask, shards)), strict=True):
            if answer is not None:
                self._remember(user_id, shard)
                return shard, answer
        raise UserNotFound(found=False)

    def _remember(self, user_id: str, shard: Shard) -> None:
        self._homes[user_id] = shard
        if len(self._homes) > _KNOWN_HOMES:
            self._homes.popitem(last=False)


def _warm(answer: list[str]) -> list[str]:
    if answer[0] == "cold":
        raise WarmingUp
    return answer


def _window(answer: list[str]) -> Window:
    _, total, start, above, *flat = answer
    rows = list(map(_new_row, zip(flat[::4], map(int, flat[1::4]), flat[2::4], flat[3::4], strict=True)))
    return Window(int(total), int(start), int(above), rows)


async def _read_top(shard: Shard, region: str, offset: int, limit: int) -> Window:
    keys = shard.keys
    answer = await shard.run("read_top", (keys.ready, keys.board(region)), (keys.user(""), offset, limit))
    return _window(_warm(answer))


async def _read_rank(shard: Shard, region: str, user_id: str) -> tuple[int, int, int, str, str] | None:
    keys = shard.keys
    answer = _warm(await shard.run("read_rank", (keys.ready, keys.board(region), keys.user(user_id)), (user_id,)))
    if answer[0] == "missing":
        return None
    _, total, above, score, name, home_region = answer
    return int(total), int(above), int(score), name, home_region


async def _count_above(shard: Shard, region: str, score: int) -> tuple[int, int]:
    keys = shard.keys
    _, total, above = _warm(await shard.run("count_above", (keys.ready, keys.board(region)), (score,)))
    return int(total), int(above)


async def _read_around(shard: Shard, region: str, user_id: str, reach: int, score: int | None = None) -> Window | None:
    keys = shard.keys
    answer = _warm(
        await shard.run(
            "read_around",
            (keys.ready, keys.board(region)),
            (keys.user(""), user_id, reach, "" if score is None else score),
        )
    )
    return None if answer[0] == "missing" else _window(answer)


async def _read_next_to(shard: Shard, region: str, user_id: str, reach: int, score: int) -> Window:
    window = await _read_around(shard, region, user_id, reach, score)
    if window is None:
        raise RuntimeError("read_around reports a missing player only when no score is given")
    return window
