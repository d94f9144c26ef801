"""Registers players and logs them in, with or without a password."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from leaderboard_core.errors import (
    InvalidCredentials,
    InvalidPayload,
    LeaderboardError,
    RegionMismatch,
    Unavailable,
    UserExists,
    UserNotFound,
)
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.settings import AuthSettings
from leaderboard_service.accounts.hashing import IsGone, PasswordHashing
from leaderboard_service.players.service import Players, StoredPlayer
from leaderboard_service.scores.service import ScoreWriter, Write, Written

log = logging.getLogger(__name__)

_PASSWORD_STORE = "Passwords are kept in Postgres, which"  # noqa: S105 - words of a message


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who registers or logs in: the client's address ('' if unknown), and whether it has left."""

    address: str
    is_gone: IsGone


class Accounts:
    """Registration and login; passwords are argon2id hashes in the home region's Postgres and nowhere else."""

    def __init__(
        self,
        writer: ScoreWriter,
        players: Players,
        databases: RegionDatabases,
        hashing: PasswordHashing,
        settings: AuthSettings,
    ) -> None:
        self._writer = writer
        self._players = players
        self._databases = databases
        self._settings = settings
        self._hashing = hashing

    async def register(self, write: Write, password: str | None, visitor: Visitor) -> Written:
        """Make a player. Raises UserExists, RateLimited, or Unavailable when a password cannot be saved.

        A password is saved before the player exists, so that the account can never be entered without it; the
        claim keeps other requests off the user_id meanwhile.
        """
        if password is None:
            self._refuse_without_password()
        elif await self._players.find(write.user_id) is not None:
            raise UserExists  # before its password costs anything
        await self._players.count_registration(visitor.address, password=password is not None)
        if password is None:
            return await self._writer.write(write)
        password_hash = await self._hashing.hash(password, visitor.is_gone)
        async with self._players.claim(write.user_id, write.region, new=True) as claim:
            saved = await self._execute(write.region, "save_account", write.user_id, password_hash, claim.taken_at)
            if not saved:
                raise UserExists("This user_id is being registered by another request.")
            try:
                return await self._writer.write_claimed(write._replace(protected=True), claim)
            except Unavailable:
                raise  # the player may exist now: its password must stay
            except LeaderboardError:
                await self._execute(write.region, "delete_account", write.user_id, password_hash)
                raise

    async def login(
        self, user_id: str, name: str, region: str | None, password: str | None, visitor: Visitor
    ) -> StoredPlayer:
        """Return the player that these credentials are of.

        Raises UserNotFound, InvalidCredentials, RegionMismatch, or RateLimited after too many failed attempts on the
        account or passwords from the address.
        """
        if password is None:
            self._refuse_without_password()
        player = await self._players.find(user_id)
        if player is None:
            raise UserNotFound
        await self._players.count_login_attempt(user_id, visitor.address)
        if player.name != name or not await self._password_fits(player, password, visitor):
            raise InvalidCredentials
        await self._players.reset_login_attempts(user_id, visitor.address)
        if region is not None and region != player.region:
            raise RegionMismatch(region=player.region)
        return player

    def _refuse_without_password(self) -> None:
        if self._settings.auth_require_password:
            raise InvalidPayload(
                "This server takes accounts with a password only.",
                fields=[{"field": "password", "message": "is required"}],
            )

    async def _password_fits(self, player: StoredPlayer, password: str | None, visitor: Visitor) -> bool:
        if not player.protected:
            return password is None and not self._settings.auth_require_password
        if password is None:
            return False
        await self._players.count_password(visitor.address)
        async with self._databases.answering(_PASSWORD_STORE):
            password_hash = await self._databases[player.region].fetchval(sql.load("password_hash_of"), player.user_id)
        if password_hash is None:
            log.error("a protected account has no password in Postgres", extra={"user_id": player.user_id})
            return False
        return await self._hashing.verify(password_hash, password, visitor.is_gone)

    async def _execute(self, region: str, statement: str, *args: str | int) -> int:
        """Run a statement; return the number of rows that it changed."""
        async with self._databases.answering(_PASSWORD_STORE):
            done = await self._databases[region].execute(sql.load(statement), *args)
        return int(done.rpartition(" ")[2])
