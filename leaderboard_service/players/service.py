"""Finds players by user_id alone, claims a user_id while its player is made, and counts login attempts."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

from leaderboard_core.errors import LeaderboardError, RateLimited, RegionMismatch, Unavailable, UserExists, WarmingUp
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL, ShardMap
from leaderboard_core.settings import LimitSettings
from leaderboard_service.players.credentials import Credential

log = logging.getLogger(__name__)

CLAIM_SECONDS = 10
_CLAIM_POLL_SECONDS = 0.02
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Claim:
    """A lease on a user_id: its nonce, when it was taken, and from when to when it holds elsewhere.

    All times are in µs: `taken_at` on the clock of the shard that has the claim, so that it orders the claims of one
    user_id, and after any deletion of it; `counted_from` and `deadline` on the clock of the player's shard, if that is
    another one. A clock that reads less than where the count began has stepped back, and ends the claim.
    """

    nonce: str = ""
    taken_at: int = 0
    counted_from: int = 0
    deadline: int = 0

    @property
    def period(self) -> str:
        """What the write scripts take for it; 0 when the claim is on the player's own shard."""
        return f"{self.counted_from} {self.deadline}" if self.deadline else "0"


@dataclass(frozen=True, slots=True)
class StoredPlayer:
    """A player as found by user_id alone.

    Times are in µs on the clock of its Redis: `read_at` is when it was read, and `deleted_before` when an earlier
    player of that user_id was deleted (0 if none is known of). `submits` and `metadata` (JSON, "" for none) are those
    of the score.
    """

    user_id: str
    region: str
    name: str
    score: int
    updated_at: int
    protected: bool
    credential: Credential
    read_at: int
    deleted_before: int
    submits: int = 0
    metadata: str = ""


class ShardLookup(NamedTuple):
    """One shard's entry of a user_id, by its own clock (µs); `deleted_at` is 0 when no deletion is known."""

    now: int
    deleted_at: int
    player: StoredPlayer | None


class Players:
    """Finds players on whichever shard they live, and keeps each user_id unique over all of them."""

    def __init__(self, shard_map: ShardMap, limits: LimitSettings) -> None:
        self._map = shard_map
        self._limits = limits

    @asynccontextmanager
    async def claim(self, user_id: str, region: str, *, new: bool = False) -> AsyncIterator[Claim]:
        """Hold a user_id while its player is made; see docs/decisions/0003 for the protocol.

        A claim for a `new` player raises UserExists when there is one already, and does not wait for
        another claim; else only a player of another region is refused, with RegionMismatch.
        """
        shard = self._map.claim_shard_of(user_id)
        key, nonce = shard.keys.claim(user_id), secrets.token_hex(8)
        loop = asyncio.get_running_loop()
        started, taken_at = await self._take_claim(shard, key, nonce, wait=not new)
        settled = True
        try:
            home = self._map.shard_of(region, user_id)
            found = await self._look_up(user_id)
            for _, deleted_at, player in found.values():
                if player is not None and new:
                    raise UserExists
                if player is not None and player.region != region:
                    raise RegionMismatch(region=player.region)
                taken_at = max(taken_at, deleted_at + 1)  # a deletion that is on its way must spare a new password
            counted_from = deadline = 0
            if home is not shard:
                # Counted on the home shard's own clock, from before the lease began: no two clocks are compared.
                left = CLAIM_SECONDS - (loop.time() - started)
                counted_from = found[home].now
                deadline = counted_from + max(0, int(left * 1_000_000))
            settled = False
            yield Claim(nonce, taken_at, counted_from, deadline)
            settled = True
        except LeaderboardError as error:
            settled = settled or not isinstance(error, Unavailable)
            raise
        finally:
            # A write without an answer may still be on its way: the lease must outlive it.
            if settled:
                await self._release_claim(shard, key, nonce)

    async def find(self, user_id: str) -> StoredPlayer | None:
        """Find the player of a user_id on each shard where it may be. Raises WarmingUp or Unavailable."""
        return next((lookup.player for lookup in (await self._look_up(user_id)).values() if lookup.player), None)

    async def count_login_attempt(self, user_id: str, address: str) -> None:
        """Count a login attempt against the account, and the account at this address. Raises RateLimited."""
        shard, limits = self._map.claim_shard_of(user_id), self._limits
        buckets = {
            shard.keys.login_bucket(user_id): (limits.login_account_rate_limit_count, limits.login_rate_limit_window),
            shard.keys.login_bucket(user_id, address): (limits.login_rate_limit_count, limits.login_rate_limit_window),
        }
        await _take_tokens(shard, buckets, "Too many login tries for this account; wait 'retry_after' seconds.")

    async def reset_login_attempts(self, user_id: str, address: str = "") -> None:
        """Forget the attempts before a login that succeeded."""
        shard = self._map.claim_shard_of(user_id)
        await shard.command("DEL", shard.keys.login_bucket(user_id), shard.keys.login_bucket(user_id, address))

    async def count_registration(self, address: str, *, password: bool) -> None:
        """Count a registration against its address. Raises RateLimited."""
        shard, limits = self._map.claim_shard_of(address), self._limits
        buckets = {shard.keys.registration_bucket(address): (limits.registration_rate_limit_count, _DAY_SECONDS)}
        if password:
            buckets |= self._password_bucket(shard, address)
        if address:
            await _take_tokens(shard, buckets, "Too many registrations from this address; wait 'retry_after' seconds.")

    async def count_password(self, address: str) -> None:
        """Count a password that is checked against the address that sent it. Raises RateLimited."""
        shard = self._map.claim_shard_of(address)
        if address:
            text = "Too many passwords from this address; wait 'retry_after' seconds."
            await _take_tokens(shard, self._password_bucket(shard, address), text)

    def _password_bucket(self, shard: Shard, address: str) -> dict[str, tuple[int, int]]:
        limits = self._limits
        bucket = (limits.password_rate_limit_count, limits.password_rate_limit_window)
        return {shard.keys.password_bucket(address): bucket}

    async def _release_claim(self, shard: Shard, key: str, nonce: str) -> None:
        try:
            await shard.run("release_claim", (key,), (nonce,))
        except Unavailable:
            log.warning("a claim could not be released and expires by itself", extra={"claim": key})

    async def _take_claim(self, shard: Shard, key: str, nonce: str, *, wait: bool) -> tuple[float, int]:
        """Take the lease; return this process's clock from before it (s) and the shard's clock (µs)."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + CLAIM_SECONDS / 2
        while True:
            started = loop.time()
            answer = await shard.run("claim_user", (shard.keys.admission, key), (nonce, CLAIM_SECONDS * 1000))
            if answer[0] == "ok":
                return started, int(answer[1])
            if not wait:
                raise UserExists("This user_id is being registered by another request.")
            if loop.time() > give_up:
                raise Unavailable("This player is being created by another request; try again shortly.")
            await asyncio.sleep(_CLAIM_POLL_SECONDS)

    async def _look_up(self, user_id: str) -> dict[Shard, ShardLookup]:
        shards = self._map.shards_of_player(user_id)
        lookups = await asyncio.gather(*(_look_up_on(shard, user_id) for shard in shards))
        return dict(zip(shards, lookups, strict=True))


async def _look_up_on(shard: Shard, user_id: str) -> ShardLookup:
    keys = shard.keys
    answer = await shard.run(
        "find_user",
        (keys.admission, keys.user(user_id), keys.tombstone(user_id), keys.board(GLOBAL)),
        (user_id,),
    )
    if answer[0] == "incomplete":
        await shard.report_incomplete(user_id)
        raise WarmingUp
    now, deleted_at, player = int(answer[1]), int(answer[2]), None
    if answer[0] == "ok":
        region, name, score, updated_at, protected, credential, submits, metadata = answer[3:]
        player = StoredPlayer(
            user_id,
            region,
            name,
            int(score),
            int(updated_at),
            protected == "1",
            Credential.parse(credential),
            read_at=now,
            deleted_before=deleted_at,
            submits=int(submits),
            metadata=metadata,
        )
    return ShardLookup(now, deleted_at, player)


async def _take_tokens(shard: Shard, buckets: Mapping[str, tuple[int, int]], refusal: str) -> None:
    """Take a token from each bucket, given by key with its tokens and its window in seconds. Raises RateLimited."""
    sizes = [number for count, seconds in buckets.values() for number in (count, seconds * 1_000_000)]
    _, wait = await shard.run("take_tokens", tuple(buckets), sizes)
    if wait:
        raise RateLimited(refusal, retry_after=wait / 1e6)
