"""Score writes: one script call on the player's shard, and the claim that keeps a user_id unique."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import orjson

from leaderboard_core.errors import (
    IdempotencyKeyInUse,
    LeaderboardError,
    QueueFull,
    RateLimited,
    RegionMismatch,
    RegionRateLimited,
    ScoreOutOfRange,
    Unavailable,
    UserExists,
    UserNotFound,
    WarmingUp,
)
from leaderboard_core.metrics import SCORE_WRITES
from leaderboard_core.settings import LimitSettings
from leaderboard_core.shards import Shard, ShardMap

log = logging.getLogger(__name__)

CLAIM_SECONDS = 10
_CLAIM_POLL_SECONDS = 0.02

Operation = Literal["register", "create", "set", "add"]


@dataclass(frozen=True, slots=True)
class Idempotency:
    """An Idempotency-Key and the fingerprint of the request that it stands for."""

    key: str
    fingerprint: str

    def of_item(self, place: int) -> Idempotency:
        """The key of one score in a batch; no client's own key has a blank in it."""
        return Idempotency(f"{self.key} {place}", self.fingerprint)


@dataclass(frozen=True, slots=True)
class Write:
    """One score write. `amount` is the score, or the delta for "add"; an empty `name` keeps the stored one."""

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


@dataclass(frozen=True, slots=True)
class Written:
    """The player's state after a write; `updated_at` is µs since the epoch."""

    user_id: str
    region: str
    name: str
    score: int
    updated_at: int
    created: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """A lease on a user_id: its nonce, when it was taken, and where it is not on the player's own shard, a deadline.

    Both times are in µs: `taken_at` on the clock of the shard that has the claim, so that it orders the
    claims of one user_id, and `deadline` on the clock of the player's shard.
    """

    nonce: str = ""
    taken_at: int = 0
    deadline: int = 0


@dataclass(frozen=True, slots=True)
class StoredPlayer:
    """A player as found by user_id alone."""

    user_id: str
    region: str
    name: str
    score: int
    protected: bool


_NO_CLAIM = Claim()
_ENDED_CLAIM = Claim(deadline=1)


class ScoreWriter:
    """Runs score writes and looks players up."""

    def __init__(self, shard_map: ShardMap, limits: LimitSettings) -> None:
        self._map = shard_map
        self._limits = limits

    async def write(self, write: Write) -> Written:
        """Do one write. Raises the error of the refusal; a refused write has changed nothing.

        On one Redis the script alone decides whether the user_id is free. Where there are several, a
        player that is not on its shard yet is made under a claim.
        """
        if len(self._map.shards) == 1:
            return await self._run(write, _NO_CLAIM)
        try:
            return await self._run(write, _ENDED_CLAIM)
        except _ClaimNeeded:
            async with self.claim(write) as claim:
                return await self.write_claimed(write, claim)

    async def write_claimed(self, write: Write, claim: Claim) -> Written:
        """Do one write that makes a player, under a claim that the caller holds."""
        try:
            return await self._run(write, claim)
        except _ClaimNeeded as error:
            raise Unavailable("Making the player took too long, and nothing was changed; try again.") from error

    @asynccontextmanager
    async def claim(self, write: Write) -> AsyncIterator[Claim]:
        """Hold the user_id of `write` while a player is made; see docs/decisions for the protocol.

        Raises UserExists or RegionMismatch when the player exists already.
        """
        shard = self._map.claim_shard_of(write.user_id)
        key, nonce = shard.keys.claim(write.user_id), secrets.token_hex(8)
        loop = asyncio.get_running_loop()
        started, taken_at = await self._take_claim(shard, key, nonce, wait=write.operation != "register")
        settled = True
        try:
            home = self._map.shard_of(write.region, write.user_id)
            found = await self._look_everywhere(write.user_id)
            for _, player in found.values():
                if player is not None and write.operation == "register":
                    raise UserExists
                if player is not None and player.region != write.region:
                    raise RegionMismatch(region=player.region)
            deadline = 0
            if home is not shard:
                # Counted on the home shard's own clock, from before the lease began: no two clocks are compared.
                left = CLAIM_SECONDS - (loop.time() - started)
                deadline = found[home][0] + max(0, int(left * 1_000_000))
            settled = False
            yield Claim(nonce, taken_at, deadline)
            settled = True
        except LeaderboardError as error:
            settled = settled or not isinstance(error, Unavailable)
            raise
        finally:
            # A write without an answer may still be on its way: the lease must outlive it.
            if settled:
                await self._release_claim(shard, key, nonce)

    async def find(self, user_id: str) -> StoredPlayer | None:
        """The player of that user_id, wherever it lives. Raises WarmingUp or Unavailable."""
        return next((player for _, player in (await self._look_everywhere(user_id)).values() if player), None)

    async def try_login(self, user_id: str) -> None:
        """Count a login try against the account. Raises RateLimited when there were too many."""
        shard = self._map.claim_shard_of(user_id)
        limits = self._limits
        wait = await shard.run(
            "try_login",
            (shard.keys.login_bucket(user_id),),
            (limits.login_rate_limit_count, limits.login_rate_limit_window * 1_000_000),
        )
        if wait:
            raise RateLimited(
                "Too many login tries for this account; wait 'retry_after' seconds.", retry_after=wait / 1e6
            )

    async def forgive_login_tries(self, user_id: str) -> None:
        """A login succeeded: the tries before it count no more."""
        shard = self._map.claim_shard_of(user_id)
        await shard.command("DEL", shard.keys.login_bucket(user_id))

    async def _release_claim(self, shard: Shard, key: str, nonce: str) -> None:
        try:
            await shard.run("release_claim", (key,), (nonce,))
        except Unavailable:
            log.warning("a claim could not be given back and ends by itself", extra={"claim": key})

    async def _take_claim(self, shard: Shard, key: str, nonce: str, *, wait: bool) -> tuple[float, int]:
        """Take the lease; returns this process's clock from before it (s) and the shard's clock (µs)."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + CLAIM_SECONDS / 2
        while True:
            started = loop.time()
            answer = await shard.run("claim_user", (key, shard.keys.ready), (nonce, CLAIM_SECONDS * 1000))
            if answer[0] == "ok":
                return started, int(answer[1])
            if answer[0] == "cold":
                raise WarmingUp
            if not wait:
                raise UserExists("This user_id is being registered by another request.")
            if loop.time() > give_up:
                raise Unavailable("This player is being created by another request; try again shortly.")
            await asyncio.sleep(_CLAIM_POLL_SECONDS)

    async def _look_everywhere(self, user_id: str) -> dict[Shard, tuple[int, StoredPlayer | None]]:
        answers = await asyncio.gather(
            *(shard.run("find_user", (shard.keys.ready, shard.keys.user(user_id))) for shard in self._map.shards)
        )
        found: dict[Shard, tuple[int, StoredPlayer | None]] = {}
        for shard, answer in zip(self._map.shards, answers, strict=True):
            if answer[0] == "cold":
                raise WarmingUp
            player = None
            if answer[0] == "ok":
                _, _, region, name, score, protected = answer
                player = StoredPlayer(user_id, region, name, int(score), protected == "1")
            found[shard] = int(answer[1]), player
        return found

    async def _run(self, write: Write, claim: Claim) -> Written:
        shard = self._map.shard_of(write.region, write.user_id)
        keys, limits, idempotency = shard.keys, self._limits, write.idempotency
        answer = await shard.run(
            "write_score",
            (
                keys.ready,
                keys.user(write.user_id),
                keys.board(write.region),
                keys.board("GLOBAL"),
                keys.queue(write.region),
                keys.user_bucket(write.user_id),
                keys.region_bucket(write.region),
                keys.idempotency(write.subject or write.user_id, idempotency.key if idempotency else ""),
                keys.claim(write.user_id),
            ),
            (
                write.operation,
                write.user_id,
                write.region,
                write.name,
                write.amount,
                _event_start(write),
                limits.queue_reject_length,
                limits.user_rate_limit_count if write.user_bucket else 0,
                limits.user_rate_limit_window * 1_000_000,
                limits.region_rate_limit_per_sec,
                limits.idempotency_ttl_seconds if idempotency else 0,
                idempotency.fingerprint if idempotency else "",
                "1" if write.may_create else "0",
                claim.nonce,
                claim.deadline,
                "1" if write.protected else "0",
            ),
        )
        if answer[0] == "refused":
            SCORE_WRITES.labels(answer[1]).inc()
            raise _refusal(answer[1], answer[2:])
        SCORE_WRITES.labels(answer[0]).inc()
        if answer[0] == "replay":
            if idempotency is None or answer[1] != idempotency.fingerprint:
                raise IdempotencyKeyInUse
            answer = answer[2:]
        _, region, name, score, updated_at, created = answer
        return Written(write.user_id, region, name, int(score), int(updated_at), created == "1")


def _event_start(write: Write) -> str:
    fields = {"user_id": write.user_id, "region": write.region, "request_id": write.request_id}
    return orjson.dumps(fields)[:-1].decode()


class _ClaimNeeded(Exception):
    """The player is not on its shard, and the caller holds no claim on the user_id."""


def _refusal(code: str, detail: list[str]) -> LeaderboardError | _ClaimNeeded:
    match code:
        case "cold":
            return WarmingUp()
        case "queue_full":
            return QueueFull(retry_after=1, queue_length=int(detail[0]))
        case "rate_limited":
            return RateLimited(retry_after=int(detail[0]) / 1_000_000)
        case "region_rate_limited":
            return RegionRateLimited(retry_after=int(detail[0]) / 1_000_000)
        case "user_exists":
            return UserExists()
        case "claimed":
            return UserExists("This user_id is being registered by another request.")
        case "claim_lost":
            return _ClaimNeeded()
        case "user_not_found":
            return UserNotFound("This player has no card yet; POST /score/create or /auth/register makes one.")
        case "region_mismatch":
            return RegionMismatch(region=detail[0])
        case "score_out_of_range":
            return ScoreOutOfRange()
    raise ValueError(f"write_score refused with an unknown code: {code}")
