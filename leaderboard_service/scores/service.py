"""Writes scores, each with one script call on the player's shard."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Final, NamedTuple, Self

from leaderboard_core.errors import Forbidden, InvalidPayload, Unavailable, WrongOperator
from leaderboard_core.redis.lua import values_of
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import LimitSettings
from leaderboard_core.telemetry.board_counters import BoardCounters
from leaderboard_service.definitions.known import TRIES, KnownBoards
from leaderboard_service.players.credentials import SERVER
from leaderboard_service.players.service import Claim, Players
from leaderboard_service.scores.refusals import ClaimNeeded, stale_definition
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

_NOTHING_MORE: Final = ("", "", "", "", "0", SERVER)
"""What the script takes its last words for, where they are absent."""


class WriteLimits(NamedTuple):
    """The limits of writes to one shard, as its scripts take them: its part of those of a region."""

    queue_length: int
    region_rate: int
    user_count: int
    user_window_us: int
    answer_seconds: int

    @classmethod
    def of(cls, limits: LimitSettings, shard: Shard) -> Self:
        return cls(
            shard.partition.share_of(limits.queue_reject_length),
            shard.partition.share_of(limits.region_rate_limit_per_sec),
            limits.user_rate_limit_count,
            limits.user_rate_limit_window * 1_000_000,
            limits.idempotency_ttl_seconds,
        )


class ScoreWriter:
    """Does score writes.

    `unclaimed` stands for the claim of a caller that holds none. Where a user_id can be on one Redis only, the script
    alone decides whether it is free; else it asks for a claim before it makes a player. `boards` are those
    that it knows.
    """

    def __init__(
        self,
        shard_map: ShardMap,
        limits: LimitSettings,
        players: Players,
        boards: KnownBoards,
        counters: BoardCounters,
    ) -> None:
        self._map = shard_map
        self._player_writes = limits.player_writes
        self._players = players
        self.limits = {shard: WriteLimits.of(limits, shard) for shard in shard_map.shards}
        self.boards = boards
        self.counters = counters
        self.unclaimed = Claim() if shard_map.one_shard_decides else Claim(deadline=1)

    async def write(self, write: Write) -> Written:
        """Do one write. Raises the error of the refusal; a refused write has changed nothing."""
        if not self._player_writes and write.board.is_main and is_players_own(write):
            raise Forbidden("Scores come from the game's servers here, and players begin with 0 (PLAYER_WRITES=false).")
        if problems := problems_of_new(write):
            write = await self._for_existing(write, problems)
        try:
            return await self._run(write, self.unclaimed)
        except ClaimNeeded:
            new = write.operation == "register"
            async with self._players.claim(write.user_id, write.region, new=new) as claim:
                return await self.write_claimed(write, claim)

    async def write_claimed(self, write: Write, claim: Claim) -> Written:
        """Do one write that makes a player, under a claim that the caller holds."""
        try:
            return await self._run(write, claim)
        except ClaimNeeded as error:
            raise Unavailable("Making the player took too long, and nothing was changed; try again.") from error

    async def _for_existing(self, write: Write, problems: Mapping[str, str]) -> Write:
        """Return the write as it is done to a player who is there, whose name stays. Raises InvalidPayload."""
        player = await self._players.find(write.user_id)
        renames = write.operation != "create" and player is not None and write.name not in ("", player.name)
        if player is None or (renames and "name" in problems):
            raise InvalidPayload(fields=[{"field": field, "message": text} for field, text in problems.items()])
        return write._replace(name=write.name if renames else "", may_create=False)

    async def _run(self, write: Write, claim: Claim) -> Written:
        shard = self._map.shard_of(write.region, write.user_id)
        for _ in range(TRIES):
            if wrong_operator(write):
                write = await self.fitting(write)
            answer = values_of(await self._call(shard, write, claim))
            if answer[1] != "stale_definition":
                break
            write = write._replace(board=await self.boards.read_again(shard, write.board.name))
        else:
            raise stale_definition()
        if answer[1] == "incomplete":
            await shard.report_incomplete(write.user_id)
        return read_result(write, answer, self.counters)

    async def fitting(self, write: Write) -> Write:
        """Return a write whose operation the board does not do, for the board as it is now. Raises WrongOperator."""
        write = write._replace(board=await self.boards.look_again(write.board.name))
        if wrong_operator(write):
            raise WrongOperator(operator=write.board.rules.operator)
        return write

    def _call(self, shard: Shard, write: Write, claim: Claim) -> Awaitable[str]:
        keys, limits, idempotency, board = shard.keys, self.limits[shard], write.idempotency, write.board
        rules, of_region = self.boards.heeded(shard, board), keys.of_region(write.region)
        written: tuple[str, ...] = (
            keys.admission,
            keys.user(write.user_id),
            of_region.board,
            of_region.global_board,
            of_region.queue,
            keys.user_bucket(write.user_id),
            of_region.bucket,
            keys.idempotency(write.subject or write.user_id, idempotency.key if idempotency else ""),
            keys.claim(write.user_id),
            keys.definition(board.name),
        )
        words: tuple[str | int, ...] = (
            write.operation,
            write.user_id,
            write.region,
            write.name,
            write.amount,
            event_start(write.user_id, event_fields(write.region, write.request_id)),
            limits.queue_length,
            limits.user_count if write.user_bucket else 0,
            limits.user_window_us,
            limits.region_rate,
            limits.answer_seconds if idempotency else 0,
            "1" if write.may_create else "0",
            claim.period,
            keys.tombstone(""),
            rules.for_write(players_own=is_players_own(write)),
            rules.state,
        )
        if rules.field:
            sets = keys.sets_of_entry(rules.field, write.region, regions=board.rules.regions)
            written += (keys.entries(write.user_id), *sets)
        more = (
            "" if write.issued_at is None else write.issued_at,
            idempotency.fingerprint if idempotency else "",
            key_hash(write),
            claim.nonce,
            "1" if write.protected else "0",
            write.credential,
        )
        # Each word costs Redis something, and most writes have nothing more to say.
        if more != _NOTHING_MORE:
            words += (rules.field, write.metadata, *more)
        elif rules.field or write.metadata:
            words += (rules.field, write.metadata)
        return shard.run("write_score", written, words)
