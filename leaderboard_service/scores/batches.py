"""Writes batches: the scores of a region in chunks, with one script call for each chunk."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from leaderboard_core.boards import Board
from leaderboard_core.errors import BoardNotFound, LeaderboardError, WrongOperator
from leaderboard_core.redis.lua import values_of
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_service.definitions.known import TRIES
from leaderboard_service.scores.refusals import ClaimNeeded, stale_definition
from leaderboard_service.scores.service import ScoreWriter
from leaderboard_service.scores.writes import (
    Write,
    Written,
    event_fields,
    event_start,
    is_players_own,
    key_hash,
    problems_of_new,
    read_result,
    wrong_operator,
)

CHUNK: Final = 50
"""Scores in one script call, which blocks Redis for a few milliseconds on a large board."""

Outcome = Written | LeaderboardError


class BatchWriter:
    """Writes the scores of a batch, on whichever boards; each is accepted or refused on its own."""

    def __init__(self, shard_map: ShardMap, writer: ScoreWriter) -> None:
        self._map = shard_map
        self._writer = writer

    async def write(self, writes: Sequence[Write]) -> list[Outcome]:
        """Do all writes and return the outcome of each; those of one player are done in their order.

        All have the operation set, add or force, are of one caller, and have keys of one Idempotency-Key or none.
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
        mixed = {
            write.user_id
            for write in writes
            if regions.setdefault(write.user_id, write.region) != write.region or problems_of_new(write)
        }
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
        taken: dict[int, Write] = {}
        refused: dict[tuple[str, bool], LeaderboardError] = {}
        for index in chunk:
            if not wrong_operator(writes[index]):
                taken[index] = writes[index]
                continue
            # Of what its board does not do one write is looked at, and answers for the others.
            kind = writes[index].board.name, writes[index].operation == "add"
            if kind in refused:
                outcomes[index] = refused[kind]
                continue
            try:
                taken[index] = await self._writer.fitting(writes[index])
            except LeaderboardError as error:
                outcomes[index] = refused[kind] = error
        if not taken:
            return []
        shard = self._map.shard_of(writes[chunk[0]].region, writes[chunk[0]].user_id)
        try:
            results = await self._call(shard, list(taken.values()))
        except LeaderboardError as error:
            outcomes.update(dict.fromkeys(taken, error))
            return []
        unclaimed = []
        for index, (write, answer) in zip(taken, results, strict=True):
            if isinstance(answer, LeaderboardError):
                outcomes[index] = answer
                continue
            try:
                result = values_of(answer)
                if result[1] == "incomplete":
                    await shard.report_incomplete(write.user_id)
                outcomes[index] = read_result(write, result, self._writer.counters)
            except ClaimNeeded:
                unclaimed.append(index)
            except LeaderboardError as error:
                outcomes[index] = error
        return unclaimed

    async def _call(self, shard: Shard, writes: Sequence[Write]) -> list[tuple[Write, Any]]:
        """Return each write as it was done, with the script's answer to it or the error of its board.

        Those to a board that is another one on this shard now are done to that one, as a single write is.
        """
        asked, done = dict(enumerate(writes)), dict[int, tuple[Write, Any]]()
        for _ in range(TRIES):
            boards = list({write.board.id: write.board for write in asked.values()}.values())
            results = await self._call_once(shard, list(asked.values()), boards) if asked else []
            if not results or results[0] != "stale_definition":
                done.update(zip(asked, zip(asked.values(), results, strict=True), strict=True))
                return [done[number] for number in range(len(writes))]
            for board in [boards[int(number) - 1] for number in results[1:]]:
                of_board = {number: write for number, write in asked.items() if write.board.id == board.id}
                try:
                    found = await self._writer.boards.read_again(shard, board.name)
                except BoardNotFound as error:
                    done.update({number: (asked.pop(number), error) for number in of_board})
                    continue
                for number, write in of_board.items():
                    asked[number] = write._replace(board=found)
                    if wrong_operator(asked[number]):
                        done[number] = asked.pop(number), WrongOperator(operator=found.rules.operator)
        raise stale_definition()

    async def _call_once(self, shard: Shard, writes: Sequence[Write], boards: Sequence[Board]) -> list[Any]:
        first, keys = writes[0], shard.keys
        limits, of_region = self._writer.limits[shard], keys.of_region(first.region)
        written = [
            keys.admission,
            of_region.board,
            of_region.global_board,
            of_region.queue,
            of_region.bucket,
            keys.user_bucket(first.user_id),
        ]
        words: list[str | int] = [
            first.region,
            limits.queue_length,
            limits.region_rate,
            limits.answer_seconds if first.idempotency else 0,
            first.idempotency.fingerprint if first.idempotency else "",
            self._writer.unclaimed.period,
            keys.tombstone(""),
            limits.user_count if first.user_bucket else 0,
            limits.user_window_us,
            "" if first.issued_at is None else first.issued_at,
            "1" if first.may_create else "0",
            len(boards),
        ]
        for board in boards:
            rules = self._writer.boards.heeded(shard, board)
            sets: tuple[str, str] = of_region[:2]
            if rules.field:
                sets = keys.sets_of_entry(rules.field, first.region, regions=board.rules.regions)
            written += (keys.definition(board.name), *sets)
            words += (rules.for_write(players_own=is_players_own(first)), rules.state, rules.field)
        numbers = {board.id: number for number, board in enumerate(boards, 1)}
        of_event = event_fields(first.region, first.request_id, len(writes))
        for write in writes:
            user, main = keys.user(write.user_id), write.board.is_main
            kept = keys.idempotency(write.subject, write.idempotency.key if write.idempotency else "")
            # The script asks a card's hash for nothing in the place of entries.
            written += (user, kept, keys.claim(write.user_id), user if main else keys.entries(write.user_id))
            words += (numbers[write.board.id], write.operation, write.user_id, write.name, write.amount)
            words += (event_start(write.user_id, of_event), key_hash(write), write.metadata)
        results: list[Any] = await shard.run("write_scores", written, words)
        return results
