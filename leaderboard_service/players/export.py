"""Gathers all that is kept of one player, for its export."""

from __future__ import annotations

from dataclasses import dataclass

from leaderboard_core.boards import Place
from leaderboard_core.errors import Forbidden, RegionMismatch, Unavailable, UserNotFound, WarmingUp
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import Pool, RegionDatabases
from leaderboard_core.redis.shard_map import GLOBAL
from leaderboard_core.tokens import NAME, Identity, revoked_token
from leaderboard_service.boards.results import RankEntry
from leaderboard_service.boards.service import BoardReads
from leaderboard_service.boards.source_header import Source
from leaderboard_service.players.credentials import Credential
from leaderboard_service.players.entries import PlayerEntries
from leaderboard_service.players.service import Players, StoredPlayer
from leaderboard_service.players.standings import PlayerEntry


@dataclass(frozen=True, slots=True)
class Saved:
    """A player's row in Postgres; `updated_at` is µs since the epoch."""

    name: str
    region: str
    score: int
    updated_at: int
    protected: bool
    credential: str
    submits: int
    metadata: str


@dataclass(frozen=True, slots=True)
class ExportedPlayer:
    """A player, its ranks and entries, when its password was saved (µs, if it has one) and its row (once written).

    The ranks are those on the main board, by region.
    """

    player: StoredPlayer
    ranks: dict[str, RankEntry]
    entries: list[PlayerEntry]
    account_saved_at: int | None
    saved: Saved | None


class PlayerExporter:
    """Exports players from Redis and Postgres, for their own token or a server's."""

    def __init__(self, players: Players, databases: RegionDatabases, reads: BoardReads, entries: PlayerEntries) -> None:
        self._players = players
        self._databases = databases
        self._reads = reads
        self._entries = entries

    async def export(self, user_id: str, caller: Identity) -> tuple[ExportedPlayer, Source]:
        """Gather everything about a player, from Postgres alone when Redis is unavailable for any part of it.

        Raises Forbidden, InvalidToken, RegionMismatch, UserNotFound, or Unavailable when Postgres is.
        """
        check_owner(user_id, caller)
        source: Source = "redis"
        try:
            player = _checked(await self._players.find(user_id), caller, source)
            ranks, source = await self._reads.standings(_places_of(player), user_id)
            if source == "redis":
                entries, source = await self._entries.all(user_id, from_postgres=False)
        except (WarmingUp, Unavailable):
            source = "postgres"
        if source == "postgres":
            player = _checked(await self._find_saved(user_id), caller, source)
            ranks, _ = await self._reads.standings(_places_of(player), user_id, from_postgres=True)
            entries, _ = await self._entries.all(user_id, from_postgres=True)
        pool, account_saved_at = self._databases[player.region], None
        async with self._databases.answering():
            saved = await _saved(pool, user_id)
            if player.protected:  # else a row in accounts is the leftover of a registration that died
                account_saved_at = await pool.fetchval(sql.load("account_saved_at"), user_id)
        check_age_of_proof(caller, account_saved_at)
        return ExportedPlayer(player, ranks, entries, account_saved_at, saved), source

    async def _find_saved(self, user_id: str) -> StoredPlayer | None:
        async with self._databases.answering():
            for region in self._databases.regions:
                pool = self._databases[region]
                saved = await _saved(pool, user_id)
                if saved is None or saved.region != region:
                    continue
                deletions = await pool.fetch(sql.load("deletions_by_id"), [user_id])
                return StoredPlayer(
                    user_id,
                    region,
                    saved.name,
                    saved.score,
                    saved.updated_at,
                    saved.protected,
                    Credential.parse(saved.credential),
                    read_at=saved.updated_at,
                    deleted_before=deletions[0]["micros"] if deletions else 0,
                    submits=saved.submits,
                    metadata=saved.metadata,
                )
        return None


def _checked(player: StoredPlayer | None, caller: Identity, source: Source) -> StoredPlayer:
    """Check that the player is there, and that the caller's token is for it as it is now."""
    if player is None:
        error = UserNotFound()
        error.source = source
        raise error
    check_current(player, caller)
    check_proof(player, caller)
    return player


def _places_of(player: StoredPlayer) -> tuple[Place, ...]:
    return tuple(map(Place.on_main, dict.fromkeys((player.region, GLOBAL))))


def check_owner(user_id: str, caller: Identity) -> None:
    """Raise Forbidden unless the token is the player's own or a server's."""
    if not caller.is_server and (caller.user_id != user_id or not caller.is_player):
        raise Forbidden("A player's token is for that player only; use a token with role 'server'.")


def check_current(player: StoredPlayer, caller: Identity) -> None:
    """Raise RegionMismatch or InvalidToken for a player's token of another region, or from before a deletion."""
    if caller.is_server:
        return
    if caller.region != player.region:
        raise RegionMismatch(region=player.region)
    if player.deleted_before and caller.issued_at <= player.deleted_before:
        raise revoked_token()


def check_proof(player: StoredPlayer, caller: Identity) -> None:
    """Raise Forbidden for a player's token that rests on a name only, which everybody can read on the boards.

    One that does not say what it rests on is from before tokens did, or from elsewhere: it counts where there is a
    password, and then check_age_of_proof.
    """
    proven = caller.is_server or (player.protected if not caller.method else caller.method != NAME)
    if not proven:
        raise Forbidden(
            "This token was got with a name alone. Log in with the player's secret or password, or use a token with "
            "role 'server'."
        )


def check_age_of_proof(caller: Identity, account_saved_at: int | None) -> None:
    """Raise Forbidden for a token that does not say what it rests on, and is not younger than the password."""
    if not caller.is_server and not caller.method and caller.issued_at <= (account_saved_at or caller.issued_at):
        raise Forbidden("This token is from before the player's password. Log in with it.")


async def _saved(pool: Pool, user_id: str) -> Saved | None:
    rows = await pool.fetch(sql.load("players_by_id"), [user_id])
    if not rows:
        return None
    _, name, region, score, micros, protected, _, credential, submits, metadata, _ = rows[0]
    return Saved(name, region, score, micros, protected, credential, submits, metadata)
