"""Writes scores, each with one script call on the player's shard."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal, NamedTuple

import orjson

from leaderboard_core.boards import MAIN
from leaderboard_core.errors import (
    Forbidden,
    IdempotencyKeyInUse,
    InvalidPayload,
    QueueFull,
    RateLimited,
    RegionRateLimited,
    ScoreOutOfRange,
    Unavailable,
    WarmingUp,
)
from leaderboard_core.names import why_no_new_name, why_no_new_user_id
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL, ShardMap
from leaderboard_core.settings import LimitSettings
from leaderboard_core.telemetry import tracing
from leaderboard_core.telemetry.exposition import count_from_zero
from leaderboard_core.telemetry.metrics import SCORE_WRITES
from leaderboard_core.tokens import Identity
from leaderboard_service.definitions.known import TRIES, KnownBoards
from leaderboard_service.idempotency import Idempotency
from leaderboard_service.players.credentials import SERVER
from leaderboard_service.players.service import Claim, Players
from leaderboard_service.scores.refusals import ClaimNeeded, refusal_of

log = logging.getLogger(__name__)


Operation = Literal["register", "create", "set", "add", "secret", "password"]


class Write(NamedTuple):
    """One write of a player. `amount` is the score, or the delta for "add"; an empty `name` keeps the stored one.

    "secret" and "password" keep the score: they give the player the secret whose hash is `credential`, or say that it
    has a password. Else `credential` is that of a player whom the write makes: a server, if it does not register.
    `issued_at` is when the player's token was issued (µs); None for a server's, and where there is none.
    """

    operation: Operation
    user_id: str
    region: str
    amount: int
    request_id: str
    name: str = ""
    subject: str = ""
    idempotency: Idempotency | None = None
    user_bucket: bool = True
    may_create: bool = False
    protected: bool = False
    issued_at: int | None = None
    credential: str = SERVER


def player_write(
    operation: Operation,
    caller: Identity,
    amount: int,
    request_id: str,
    idempotency: Idempotency | None,
    name: str = "",
) -> Write:
    """Build a write of a player with its own token."""
    return Write(
        operation=operation,
        user_id=caller.user_id,
        region=caller.region,
        amount=amount,
        name=name,
        request_id=request_id,
        subject=caller.user_id,
        idempotency=idempotency,
        issued_at=caller.issued_at,
    )


def problems_of_new(write: Write) -> dict[str, str]:
    """Say by field what keeps a write from making a player, or from giving it that name; mostly nothing."""
    problems = {}
    if write.may_create or write.operation == "create":
        problem = why_no_new_user_id(write.user_id)
        if problem is not None:
            problems["user_id"] = problem
    if write.name and (problem := why_no_new_name(write.name)) is not None:
        problems["name"] = problem
    return problems


def is_players_own(write: Write) -> bool:
    """Whether a score that is not the 0 of a beginning comes from the player itself."""
    match write.operation:
        case "register":
            return write.amount != 0
        case "create":
            return write.amount != 0 and write.issued_at is not None
        case "set" | "add":
            return write.issued_at is not None
    return False


class Written(NamedTuple):
    """The player's state after a write; `updated_at` is µs since the epoch.

    `previous` is the score before: None when the write made the player, or when a repeat of it no longer knows.
    """

    user_id: str
    region: str
    name: str
    score: int
    updated_at: int
    created: bool
    previous: int | None = None

    @property
    def improved(self) -> bool | None:
        """Whether the score is a better one than before; None when that is not known."""
        if self.previous is None:
            return True if self.created else None
        return self.score > self.previous


class ScoreWriter:
    """Does score writes.

    `unclaimed` stands for the claim of a caller that holds none. Where a user_id can be on one Redis only, the script
    alone decides whether it is free; else it asks for a claim before it makes a player. `boards` are those
    that it knows.
    """

    def __init__(self, shard_map: ShardMap, limits: LimitSettings, players: Players, boards: KnownBoards) -> None:
        self._map = shard_map
        self._limits = limits
        self._players = players
        self.boards = boards
        self.unclaimed = Claim() if shard_map.one_shard_decides else Claim(deadline=1)

    async def write(self, write: Write) -> Written:
        """Do one write. Raises the error of the refusal; a refused write has changed nothing."""
        if not self._limits.player_writes and is_players_own(write):
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
            answer = await self._call(shard, write, claim)
            if answer[1] != "stale_definition":
                break
            await self.boards.read_again(shard, MAIN.name)
        if answer[1] == "incomplete":
            await shard.report_incomplete(write.user_id)
        return read_result(write, answer)

    async def _call(self, shard: Shard, write: Write, claim: Claim) -> Sequence[str]:
        keys, limits, idempotency, rules = shard.keys, self._limits, write.idempotency, self.boards.heeded(shard, MAIN)
        answer: Sequence[str] = await shard.run(
            "write_score",
            (
                keys.admission,
                keys.user(write.user_id),
                keys.board(write.region),
                keys.board(GLOBAL),
                keys.queue(write.region),
                keys.user_bucket(write.user_id),
                keys.region_bucket(write.region),
                keys.idempotency(write.subject or write.user_id, idempotency.key if idempotency else ""),
                keys.claim(write.user_id),
                keys.definition(MAIN.name),
            ),
            (
                write.operation,
                write.user_id,
                write.region,
                write.name,
                write.amount,
                event_start(write),
                shard.partition.share_of(limits.queue_reject_length),
                limits.user_rate_limit_count if write.user_bucket else 0,
                limits.user_rate_limit_window * 1_000_000,
                shard.partition.share_of(limits.region_rate_limit_per_sec),
                limits.idempotency_ttl_seconds if idempotency else 0,
                idempotency.fingerprint if idempotency else "",
                "1" if write.may_create else "0",
                claim.nonce,
                claim.period,
                "1" if write.protected else "0",
                keys.tombstone(""),
                "" if write.issued_at is None else write.issued_at,
                key_hash(write),
                write.credential,
                rules.for_write(players_own=is_players_own(write)),
                rules.state,
            ),
        )
        return answer


def read_result(write: Write, answer: Sequence[str]) -> Written:
    """Read the script's answer to a write. Raises the error of its refusal, or ClaimNeeded."""
    if answer[0] == "refused":
        _counter(answer[1]).inc()
        raise refusal_of(answer[1], answer[2:])
    _counter(answer[0]).inc()
    if answer[0] == "replay":
        if write.idempotency is None or answer[1] != write.idempotency.fingerprint:
            raise IdempotencyKeyInUse
        answer = answer[2:]
    _, region, name, score, updated_at, beginning = answer
    created, _, previous = beginning.partition(" ")
    before = int(previous) if previous else None
    return Written(write.user_id, region, name, int(score), int(updated_at), created == "1", before)


@cache
def _counter(outcome: str) -> Any:
    return SCORE_WRITES.labels(outcome)


_REFUSALS = (RateLimited, RegionRateLimited, QueueFull, ScoreOutOfRange, WarmingUp)
count_from_zero(SCORE_WRITES, ("ok", "unchanged", "replay", *(error.code for error in _REFUSALS)))


def event_start(write: Write) -> str:
    """Encode the beginning of a write's event, which the script completes."""
    fields = {"user_id": write.user_id, "region": write.region, "request_id": write.request_id}
    if (tracer := tracing.active()) is not None:
        fields |= tracer.event_fields(write.region)
    return orjson.dumps(fields)[:-1].decode()


def key_hash(write: Write) -> str:
    """Hash a write's subject and Idempotency-Key, as its row keeps them; '' when it has no key."""
    if write.idempotency is None:
        return ""
    named = f"{write.subject or write.user_id}/{write.idempotency.key}"
    return hashlib.blake2b(named.encode(), digest_size=16).hexdigest()
