"""Writes batches: the scores of a region in chunks, with one script call for each chunk."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from leaderboard_core.boards import MAIN
from leaderboard_core.errors import InvalidPayload, LeaderboardError
from leaderboard_core.http.exception_handlers import fields_of
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL, ShardMap
from leaderboard_core.settings import LimitSettings
from leaderboard_core.tokens import Identity
from leaderboard_service.definitions.known import TRIES
from leaderboard_service.idempotency import Idempotency
from leaderboard_service.regions import Regions
from leaderboard_service.scores.refusals import ClaimNeeded, stale_definition
from leaderboard_service.scores.schemas import BatchItem
from leaderboard_service.scores.service import (
    ScoreWriter,
    Write,
    Written,
    event_start,
    key_hash,
    problems_of_new,
    read_result,
)

CHUNK = 50
"""Scores in one script call, which blocks Redis for a few milliseconds on a large board."""

Outcome = Written | LeaderboardError


def write_of(
    fields: dict[str, Any], caller: Identity, regions: Regions, request_id: str, idempotency: Idempotency | None
) -> Write:
    """Build the write of one item of a batch. Raises InvalidPayload or UnknownRegion."""
    try:
        item = BatchItem.model_validate(fields)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        raise InvalidPayload(
            fields=fields_of([{**problem, "loc": ("body", *problem["loc"])} for problem in problems])
        ) from None
    return Write(
        operation="add" if item.score is None else "set",
        user_id=item.user_id,
        region=regions.resolve(item.region),
        amount=item.amount,
        name=item.name or "",
        request_id=request_id,
        subject=caller.user_id,
        idempotency=idempotency,
        user_bucket=False,
        may_create=True,
    )


class BatchWriter:
    """Writes the scores of a server's batch; each is accepted or refused on its own."""

    def __init__(self, shard_map: ShardMap, limits: LimitSettings, writer: ScoreWriter) -> None:
        self._map = shard_map
        self._limits = limits
        self._writer = writer

    async def write(self, writes: Sequence[Write]) -> list[Outcome]:
        """Do all writes and return the outcome of each; those of one player are done in their order.

        All have the operation set or add, make missing players, take no token of a player's bucket, and have
        keys of one Idempotency-Key or none.
        """
        outcomes: dict[int, Outcome] = {}
        groups, single = self._groups(writes)
        await asyncio.gather(
            *(self._write_group(group, writes, outcomes) for group in groups),
            self._write_singly(single, writes, outcomes),
        )
        return [outcomes[index] for index in range(len(writes))]

    def _groups(self, writes: Sequence[Write]) -> tuple[list[list[int]], list[int]]:
        """Split writes, by index, into groups that share script calls and run concurrently, and single ones.

        A player that is named with several regions lives in one of them at most: the first write decides. One whose
        user_id or name is only good for a player who is there is looked for first.
        """
        regions: dict[str, str] = {}
        mixed = {write.user_id for write in writes if regions.setdefault(write.user_id, write.region) != write.region}
        mixed |= {write.user_id for write in writes if problems_of_new(write)}
        groups: dict[tuple[Shard, str], list[int]] = {}
        single: list[int] = []
        for index, write in enumerate(writes):
            if write.user_id in mixed:
                single.append(index)
            else:
                shard = self._map.shard_of(write.region, write.user_id)
                groups.setdefault((shard, write.region), []).append(index)
        return list(groups.values()), single

    async def _write_group(self, indexes: list[int], writes: Sequence[Write], outcomes: dict[int, Outcome]) -> None:
        # One chunk after the other keeps the order of a player's writes, and lets Redis serve others in between.
        for start in range(0, len(indexes), CHUNK):
            unclaimed = await self._write_chunk(indexes[start : start + CHUNK], writes, outcomes)
            await self._write_singly(unclaimed, writes, outcomes)

    async def _write_singly(self, indexes: list[int], writes: Sequence[Write], outcomes: dict[int, Outcome]) -> None:
        for index in indexes:
            outcomes[index] = await self._write_single(writes[index])

    async def _write_single(self, write: Write) -> Outcome:
        try:
            return await self._writer.write(write)
        except LeaderboardError as error:
            return error

    async def _write_chunk(self, chunk: list[int], writes: Sequence[Write], outcomes: dict[int, Outcome]) -> list[int]:
        """Do the writes of `chunk`, all of one shard and region; return those that were not done and need a claim."""
        try:
            results = await self._call([writes[index] for index in chunk])
        except LeaderboardError as error:
            outcomes.update(dict.fromkeys(chunk, error))
            return []
        unclaimed = []
        for index, result in zip(chunk, results, strict=True):
            try:
                if result[1] == "incomplete":
                    await self._map.shard_of(writes[index].region, writes[index].user_id).report_incomplete(
                        writes[index].user_id
                    )
                outcomes[index] = read_result(writes[index], result)
            except ClaimNeeded:
                unclaimed.append(index)
            except LeaderboardError as error:
                outcomes[index] = error
        return unclaimed

    async def _call(self, writes: Sequence[Write]) -> list[list[Any]]:
        shard = self._map.shard_of(writes[0].region, writes[0].user_id)
        for _ in range(TRIES):
            results = await self._call_once(shard, writes)
            if results[0] != "stale_definition":
                return results
            await self._writer.boards.read_again(shard, MAIN.name)
        raise stale_definition()

    async def _call_once(self, shard: Shard, writes: Sequence[Write]) -> list[Any]:
        first, limits, rules = writes[0], self._limits, self._writer.boards.heeded(shard, MAIN)
        keys = shard.keys
        keys_argument = [
            keys.admission,
            keys.board(first.region),
            keys.board(GLOBAL),
            keys.queue(first.region),
            keys.region_bucket(first.region),
            keys.definition(MAIN.name),
        ]
        arguments: list[str | int] = [
            first.region,
            shard.partition.share_of(limits.queue_reject_length),
            shard.partition.share_of(limits.region_rate_limit_per_sec),
            limits.idempotency_ttl_seconds if first.idempotency else 0,
            first.idempotency.fingerprint if first.idempotency else "",
            self._writer.unclaimed.period,
            keys.tombstone(""),
            rules.for_write(players_own=False),
            rules.state,
        ]
        for write in writes:
            kept = keys.idempotency(write.subject, write.idempotency.key if write.idempotency else "")
            keys_argument += (keys.user(write.user_id), kept, keys.claim(write.user_id))
            arguments += (write.operation, write.user_id, write.name, write.amount, event_start(write), key_hash(write))
        results: list[Any] = await shard.run("write_scores", keys_argument, arguments)
        return results
