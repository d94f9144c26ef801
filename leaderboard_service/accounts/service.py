"""Registers players and logs them in, with or without a password."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from leaderboard_core.errors import (
    Forbidden,
    InvalidCredentials,
    InvalidPayload,
    RegionMismatch,
    UserExists,
    UserNotFound,
)
from leaderboard_core.settings import AuthSettings
from leaderboard_core.tokens import NAME, PASSWORD, SECRET
from leaderboard_service.accounts.hashing import IsGone
from leaderboard_service.accounts.passwords import PasswordStore
from leaderboard_service.players.credentials import SELF, hash_of, new_secret
from leaderboard_service.players.service import Players, StoredPlayer
from leaderboard_service.scores.service import ScoreWriter
from leaderboard_service.scores.writes import Write, Written


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

    @property
    def method(self) -> str:
        """How who has proven this got in, as tokens say it."""
        if self.password is not None:
            return PASSWORD
        return NAME if self.secret is None else SECRET


class Entered(NamedTuple):
    """A player that registered or logged in: how (tokens.METHODS), and from when (µs) its token is to be."""

    player: Written | StoredPlayer
    issued_at: int
    method: str
    secret: str | None = None


class Accounts:
    """Registration and login."""

    def __init__(self, writer: ScoreWriter, players: Players, passwords: PasswordStore, settings: AuthSettings) -> None:
        self._writer = writer
        self._players = players
        self._passwords = passwords
        self._settings = settings

    async def register(self, write: Write, password: str | None, visitor: Visitor) -> Entered:
        """Make a player; one without a password gets a secret.

        Raises UserExists, RateLimited, or Unavailable when a password cannot be saved.
        A password is saved before the player exists, so that the account can never be entered without it; the
        claim keeps other requests off the user_id meanwhile.
        """
        if self._settings.registration == "closed":
            raise Forbidden("The game's servers make the players here (REGISTRATION=closed).")
        if password is None:
            self._refuse_without_password()
        elif await self._players.find(write.user_id) is not None:
            raise UserExists  # before its password costs anything
        await self._players.count_registration(visitor.address, password=password is not None)
        if password is None:
            secret = new_secret()
            made = await self._writer.write(write._replace(credential=f"{SELF} {hash_of(secret)}"))
            return Entered(made, made.updated_at, SECRET, secret)
        password_hash = await self._passwords.hash(password, visitor.is_gone)
        async with self._players.claim(write.user_id, write.region, new=True) as claim:
            if not await self._passwords.save(write.user_id, write.region, password_hash, claim.taken_at):
                raise UserExists("This user_id is being registered by another request.")
            async with self._passwords.deleted_if_refused(write.user_id, write.region, password_hash):
                made = await self._writer.write_claimed(write._replace(protected=True, credential=SELF), claim)
            return Entered(made, made.updated_at, PASSWORD)

    async def login(self, user_id: str, region: str | None, proof: Proof, visitor: Visitor) -> Entered:
        """Return the player that these credentials are of.

        Raises UserNotFound, InvalidCredentials, InvalidPayload, RegionMismatch, or RateLimited after too many failed
        attempts on the account or passwords from the address.
        """
        self._check(proof)
        player = await self._players.find(user_id)
        if player is None:
            raise UserNotFound
        if not await self.proves(player, proof, visitor):
            raise InvalidCredentials
        if region is not None and region != player.region:
            raise RegionMismatch(region=player.region)
        # Later than any deletion before this player was made, also when the clock has stepped back since.
        return Entered(player, max(player.read_at, player.updated_at), proof.method)

    async def proves(self, player: StoredPlayer, proof: Proof, visitor: Visitor) -> bool:
        """Whether these credentials are the player's; counts the attempt, and forgets it if so. Raises RateLimited."""
        await self._players.count_login_attempt(player.user_id, visitor.address)
        if proof.password is not None:
            fits = player.protected and await self._password_fits(player, proof.password, visitor)
        elif proof.secret is not None:
            fits = player.credential.fits(proof.secret)
        else:
            fits = player.name == proof.name and not player.protected
            if fits and player.credential.made_by_server:
                raise InvalidCredentials("A game server made this player; its name alone enters nobody.")
        if fits:
            await self._players.reset_login_attempts(player.user_id, visitor.address)
        return fits

    async def _password_fits(self, player: StoredPlayer, password: str, visitor: Visitor) -> bool:
        await self._players.count_password(visitor.address)
        return await self._passwords.verify(player.user_id, player.region, password, visitor.is_gone)

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
