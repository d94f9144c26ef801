"""Find many players at once on whichever Redis they are, and claim the user_ids of those who are to be made."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple, TypeVar

from leaderboard_core.errors import Unavailable, WarmingUp
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL, ShardMap

log = logging.getLogger(__name__)

CLAIM_SECONDS = 10
PLAYERS_PER_CALL = 250
_CLAIM_POLL_SECONDS = 0.05

Result = TypeVar("Result")


class Known(NamedTuple):
    """A player as Redis has it; `region` is "" of one who is not there.

    `deleted_at` is when a player of that user_id was deleted, `updated_at` when the card was written (µs, 0 when that
    is unknown).
    """

    region: str
    deleted_at: int
    updated_at: int
    name: str
    protected: bool
    credential: str
    score: int
    submits: int
    metadata: str


_NOBODY = Known("", 0, 0, "", protected=False, credential="", score=0, submits=0, metadata="")


class Claimed(Exception):
    """Somebody else is making a player of one of the user_ids, for longer than that should take."""


async def all_of(tasks: Iterable[Awaitable[Result]]) -> list[Result]:
    """Wait for all of them, also when one fails; raises what the first one that failed has raised."""
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


async def find(shard_map: ShardMap, user_ids: Sequence[str]) -> dict[str, Known]:
    """Find players by user_id alone, with the latest deletion that any Redis knows of. Raises Unavailable."""
    calls: dict[Shard, list[str]] = {}
    for user_id in user_ids:
        for shard in shard_map.shards_of_player(user_id):
            calls.setdefault(shard, []).append(user_id)
    found: dict[str, Known] = {}
    answers = await all_of(_find_on(shard, part) for shard, ids in calls.items() for part in _parts(ids))
    for user_id, player in (pair for answer in answers for pair in answer):
        other = found.get(user_id)
        if other is not None:
            deleted_at = max(player.deleted_at, other.deleted_at)
            player = (other if other.region else player)._replace(deleted_at=deleted_at)
        found[user_id] = player
    return found


@asynccontextmanager
async def claimed(shard_map: ShardMap, user_ids: Sequence[str]) -> AsyncIterator[float]:
    """Hold user_ids while their players are made, so that nobody makes one elsewhere (docs/decisions/0003).

    Yields until when (loop time) they are held for certain. Raises Claimed, and Unavailable.
    """
    nonce, claims = secrets.token_hex(8), dict[Shard, list[str]]()
    for user_id in user_ids:
        claims.setdefault(shard_map.claim_shard_of(user_id), []).append(user_id)
    until = asyncio.get_running_loop().time() + CLAIM_SECONDS / 2
    try:
        await all_of(_claim(*one, nonce, until) for one in claims.items())
        yield until
    finally:
        try:
            await all_of(
                shard.run("release_claims", [shard.keys.claim(one) for one in part], (nonce,))
                for shard, ids in claims.items()
                for part in _parts(ids)
            )
        except Unavailable:
            log.warning("claims could not be given back and end by themselves")


async def _claim(shard: Shard, user_ids: Sequence[str], nonce: str, until: float) -> None:
    left = list(user_ids)
    while left:
        refused: list[str] = []
        for part in _parts(left):
            keys = (shard.keys.admission, *(shard.keys.claim(one) for one in part))
            answer: list[int] = await shard.run("claim_users", keys, (nonce, CLAIM_SECONDS * 1000))
            refused += [user_id for user_id, ours in zip(part, answer, strict=True) if not ours]
        left = refused
        if left:
            if asyncio.get_running_loop().time() > until:
                raise Claimed(f"somebody else is making {left[0]}")
            await asyncio.sleep(_CLAIM_POLL_SECONDS)


async def _find_on(shard: Shard, user_ids: Sequence[str]) -> list[tuple[str, Known]]:
    keys = shard.keys
    written = (key for user_id in user_ids for key in (keys.user(user_id), keys.tombstone(user_id)))
    answer: list[str] = await shard.run("find_users", (keys.admission, keys.board(GLOBAL), *written), (keys.user(""),))
    found = []
    for at, user_id in enumerate(user_ids):
        region, deleted_at, updated_at, name, protected, credential, *of_score = answer[9 * at : 9 * at + 9]
        if region == "-":
            await shard.report_incomplete(user_id)
            raise WarmingUp(f"{user_id} is on a board without a card, which a worker mends.")
        if region:
            score, submits, metadata = of_score
            times, numbers = (int(deleted_at), int(updated_at)), (int(score), int(submits))
            player = Known(region, *times, name, protected == "1", credential, *numbers, metadata)
        else:
            player = _NOBODY if deleted_at == "0" else _NOBODY._replace(deleted_at=int(deleted_at))
        found.append((user_id, player))
    return found


def _parts(user_ids: Sequence[str]) -> list[Sequence[str]]:
    return [user_ids[first : first + PLAYERS_PER_CALL] for first in range(0, len(user_ids), PLAYERS_PER_CALL)]
