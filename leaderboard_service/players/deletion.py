"""Deletes a player for good: from Redis in one script, and from Postgres before the answer."""

from __future__ import annotations

import asyncio
import logging

import orjson

from leaderboard_core.errors import (
    IdempotencyKeyInUse,
    LeaderboardError,
    QueueFull,
    RegionMismatch,
    Unavailable,
    UserNotFound,
    WarmingUp,
)
from leaderboard_core.events import Deletion
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.postgres.deletions import MIN_TOMBSTONE_SECONDS, delete_players
from leaderboard_core.postgres.fencing import Fence, Fenced
from leaderboard_core.redis.deletions import DeletedPlayer, last_entries_of, restore_deletions, sets_of
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL, ShardMap
from leaderboard_core.settings import AuthSettings, LimitSettings
from leaderboard_core.tokens import Identity, revoked_token
from leaderboard_service.idempotency import Idempotency
from leaderboard_service.players.export import check_age_of_proof, check_owner, check_proof
from leaderboard_service.players.service import Players, StoredPlayer

log = logging.getLogger(__name__)

_MAX_ATTEMPTS = 3


class PlayerDeleter:
    """Deletes players; docs/decisions/0011 says what keeps them deleted."""

    def __init__(
        self,
        shard_map: ShardMap,
        databases: RegionDatabases,
        players: Players,
        auth: AuthSettings,
        limits: LimitSettings,
    ) -> None:
        self._map = shard_map
        self._databases = databases
        self._players = players
        self._limits = limits
        self._tombstone_seconds = max(auth.jwt_ttl_seconds, MIN_TOMBSTONE_SECONDS)

    async def delete(self, user_id: str, caller: Identity, request_id: str, idempotency: Idempotency | None) -> int:
        """Delete a player; return when that was, in µs since the epoch.

        Postgres has done its part when this returns; while it is unavailable, the queued event does it later.
        Raises Forbidden, InvalidToken, RegionMismatch, UserNotFound, IdempotencyKeyInUse, QueueFull, WarmingUp
        or Unavailable.
        """
        check_owner(user_id, caller)
        deleted_at = None
        for _ in range(_MAX_ATTEMPTS):
            player = await self._players.find(user_id)
            if player is None:
                return deleted_at or await self._answered_before(caller, idempotency)
            if not caller.is_server and caller.region != player.region:
                raise RegionMismatch(region=player.region)
            check_proof(player, caller)
            try:
                return await self._delete(player, caller, request_id, idempotency)
            except ConcurrentModification:
                continue
            except AdmittedAnew as error:
                deleted_at = error.deleted_at
        raise Unavailable("This player is being made and deleted by other requests; try again shortly.")

    async def _delete(
        self, player: StoredPlayer, caller: Identity, request_id: str, idempotency: Idempotency | None
    ) -> int:
        user_id, region = player.user_id, player.region
        shard, at_least, postgres_answers = self._map.shard_of(region, user_id), 0, True
        if not caller.is_server:
            at_least = caller.issued_at
        if player.protected:
            try:
                async with self._databases.answering():
                    saved_at = await self._databases[region].fetchval(sql.load("account_saved_at"), user_id)
            except Unavailable:
                if not caller.is_server and not caller.method:
                    raise  # whether the token is younger than the password is not known
                postgres_answers = False
            else:
                check_age_of_proof(caller, saved_at)
                at_least = max(at_least, saved_at or 0)
        answer = await self._run(shard, player, caller, request_id, idempotency, at_least)
        if answer[0] == "replay":
            return _replayed(answer[1:], idempotency)
        deletion = Deletion(user_id, region, int(answer[1]), request_id, self._tombstone_seconds)
        if postgres_answers:
            await self._delete_in_postgres(shard, deletion, nonce=answer[2])
        try:
            await self._players.reset_login_attempts(user_id)
        except Unavailable:
            log.warning("a bucket of login attempts could not be deleted and expires by itself")
        return deletion.timestamp

    async def _run(
        self,
        shard: Shard,
        player: StoredPlayer,
        caller: Identity,
        request_id: str,
        idempotency: Idempotency | None,
        at_least: int,
    ) -> list[str]:
        keys, user_id, region = shard.keys, player.user_id, player.region
        event = orjson.dumps({"user_id": user_id, "region": region, "request_id": request_id})
        fields: list[str] = []
        for _ in range(_MAX_ATTEMPTS):
            answer: list[str] = await shard.run(
                "delete_player",
                (
                    keys.admission,
                    keys.user(user_id),
                    keys.board(region),
                    keys.board(GLOBAL),
                    keys.queue(region),
                    keys.user_bucket(user_id),
                    keys.idempotency(caller.user_id, idempotency.key if idempotency else ""),
                    keys.tombstone(user_id),
                    keys.any_tombstone,
                    keys.entries(user_id),
                    *sets_of(shard, region, fields),
                ),
                (
                    user_id,
                    region,
                    event[:-1].decode(),
                    shard.partition.share_of(self._limits.queue_reject_length),
                    "" if caller.is_server else caller.issued_at,
                    at_least,
                    self._tombstone_seconds,
                    self._limits.idempotency_ttl_seconds if idempotency else 0,
                    idempotency.fingerprint if idempotency else "",
                    *fields,
                ),
            )
            if answer[:2] != ["refused", "entries"]:
                break
            fields = await last_entries_of(shard, region, user_id)
        if answer[0] == "refused":
            if answer[1] == "incomplete":
                await shard.report_incomplete(user_id)
            raise _refusal(answer[1], answer[2:])
        return answer

    async def _delete_in_postgres(self, shard: Shard, deletion: Deletion, nonce: str) -> None:
        region = deletion.region
        try:
            async with self._databases.answering():
                await delete_players(self._databases[region], [deletion], Fence(shard.partition.name(region), nonce))
        except Fenced as error:
            raise AdmittedAnew(deletion.timestamp) from error
        except Unavailable:
            log.warning("a deletion waits in the queue for postgres", extra={"region": region})
            return
        # Between the script and this commit Redis may have lost its data, and been given the row again.
        gone = DeletedPlayer(deletion.user_id, deletion.timestamp, deletion.tokens_until)
        try:
            await restore_deletions(shard, region, [gone])
        except Unavailable:
            log.warning("redis became unavailable after a deletion", extra={"region": region})

    async def _answered_before(self, caller: Identity, idempotency: Idempotency | None) -> int:
        """Return the kept answer of the same request, from whichever Redis the player lived on. Raises UserNotFound."""
        if idempotency is not None:
            kept = await asyncio.gather(
                *(
                    shard.run("kept_answer", (shard.keys.idempotency(caller.user_id, idempotency.key),))
                    for shard in self._map.shards
                )
            )
            for answer in filter(None, kept):
                return _replayed(answer.split("\n"), idempotency)
        raise UserNotFound


class ConcurrentModification(Exception):
    """Another request has deleted the player, made it in another region, or made entries, since it was read."""


class AdmittedAnew(Exception):
    """The player's Redis was admitted anew before Postgres had the deletion: it may have lost that, with its event."""

    def __init__(self, deleted_at: int) -> None:
        self.deleted_at = deleted_at
        super().__init__(deleted_at)


def _replayed(answer: list[str], idempotency: Idempotency | None) -> int:
    fingerprint, *rest = answer
    if idempotency is None or fingerprint != idempotency.fingerprint:
        raise IdempotencyKeyInUse
    return int(rest[1])


def _refusal(code: str, detail: list[str]) -> LeaderboardError | ConcurrentModification:
    match code:
        case "incomplete":
            return WarmingUp()
        case "user_not_found" | "region_mismatch" | "entries":
            return ConcurrentModification()
        case "invalid_token":
            return revoked_token()
        case "queue_full":
            return QueueFull(retry_after=1, queue_length=int(detail[0]))
    raise ValueError(f"delete_player refused with an unknown code: {code}")
