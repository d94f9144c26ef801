"""Registers players and logs them in, with or without a password."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import NamedTuple

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
from leaderboard_core.tokens import NAME, PASSWORD, SECRET
from leaderboard_service.accounts.hashing import IsGone, PasswordHashing
from leaderboard_service.players.credentials import SELF, hash_of, new_secret
from leaderboard_service.players.service import Players, StoredPlayer
from leaderboard_service.scores.service import ScoreWriter, Write, Written

log = logging.getLogger(__name__)

_PASSWORD_STORE = "Passwords are kept in Postgres, which"  # noqa: S105 - words of a message


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who registers or logs in: the client's address ('' if unknown), and whether it has left."""

    address: str
    is_gone: IsGone


class Proof(NamedTuple):
    """What a login rests on: a password, else a secret, else the name."""

    name: str | None = None
    password: str | None = None
    secret: str | None = None


class Entered(NamedTuple):
    """A player that registered or logged in: how (tokens.METHODS), and from when (µs) its token is to be."""

    player: Written | StoredPlayer
    issued_at: int
    method: str
    secret: str | None = None


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

    async def register(self, write: Write, password: str | None, visitor: Visitor) -> Entered:
        """Make a player; one without a password gets a secret.

        Raises UserExists, RateLimited, or Unavailable when a password cannot be saved.
        A password is saved before the player exists, so that the account can never be entered without it; the
        claim keeps other requests off the user_id meanwhile.
        """
        if password is None:
            self._refuse_without_password()
        elif await self._players.find(write.user_id) is not None:
            raise UserExists  # before its password costs anything
        await self._players.count_registration(visitor.address, password=password is not None)
        if password is None:
            secret = new_secret()
            made = await self._writer.write(write._replace(credential=f"{SELF} {hash_of(secret)}"))
            return Entered(made, made.updated_at, SECRET, secret)
        password_hash = await self._hashing.hash(password, visitor.is_gone)
        async with self._players.claim(write.user_id, write.region, new=True) as claim:
            saved = await self._execute(write.region, "save_account", write.user_id, password_hash, claim.taken_at)
            if not saved:
                raise UserExists("This user_id is being registered by another request.")
            try:
                made = await self._writer.write_claimed(write._replace(protected=True, credential=SELF), claim)
                return Entered(made, made.updated_at, PASSWORD)
            except Unavailable:
                raise  # the player may exist now: its password must stay
            except LeaderboardError:
                await self._execute(write.region, "delete_account", write.user_id, password_hash)
                raise

    async def login(self, user_id: str, region: str | None, proof: Proof, visitor: Visitor) -> Entered:
        """Return the player that these credentials are of.

        Raises UserNotFound, InvalidCredentials, InvalidPayload, RegionMismatch, or RateLimited after too many failed
        attempts on the account or passwords from the address.
        """
        self._check(proof)
        player = await self._players.find(user_id)
        if player is None:
            raise UserNotFound
        await self._players.count_login_attempt(user_id, visitor.address)
        if proof.password is not None:
            method, fits = PASSWORD, await self._password_fits(player, proof.password, visitor)
        elif proof.secret is not None:
            method, fits = SECRET, player.credential.fits(proof.secret)
        else:
            method, fits = NAME, player.name == proof.name and not player.protected
            if fits and player.credential.made_by_server:
                raise InvalidCredentials("A game server made this player; its name alone enters nobody.")
        if not fits:
            raise InvalidCredentials
        await self._players.reset_login_attempts(user_id, visitor.address)
        if region is not None and region != player.region:
            raise RegionMismatch(region=player.region)
        # Later than any deletion before this player was made, also when the clock has stepped back since.
        return Entered(player, max(player.read_at, player.updated_at), method)

    def _check(self, proof: Proof) -> None:
        """Refuse what this server does not take for a login. Raises InvalidPayload."""
        if proof.password is not None and proof.secret is not None:
            raise InvalidPayload(fields=[{"field": "secret", "message": "is sent beside a password; send one"}])
        if proof.password is None:
            self._refuse_without_password()
        if proof.password is not None or proof.secret is not None:
            return
        if not self._settings.auth_name_login:
            raise InvalidPayload(
                "This server takes logins with a password or a secret only.",
                fields=[{"field": "password", "message": "is required, or secret"}],
            )
        if proof.name is None:
            raise InvalidPayload(fields=[{"field": "name", "message": "is required without a password or a secret"}])

    def _refuse_without_password(self) -> None:
        if self._settings.auth_require_password:
            raise InvalidPayload(
                "This server takes accounts with a password only.",
                fields=[{"field": "password", "message": "is required"}],
            )

    async def _password_fits(self, player: StoredPlayer, password: str, visitor: Visitor) -> bool:
        if not player.protected:
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
