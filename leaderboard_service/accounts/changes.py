"""Gives players another password or secret."""

from __future__ import annotations

from leaderboard_core.errors import (
    Forbidden,
    InvalidCredentials,
    MissingToken,
    UserNotFound,
)
from leaderboard_core.tokens import Identity
from leaderboard_service.accounts.passwords import PasswordStore
from leaderboard_service.accounts.service import Accounts, Proof, Visitor
from leaderboard_service.players.credentials import hash_of, new_secret
from leaderboard_service.players.export import check_current, check_owner, check_proof
from leaderboard_service.players.service import Players, StoredPlayer
from leaderboard_service.scores.service import ScoreWriter
from leaderboard_service.scores.writes import Operation, Write

_GONE = "This player was deleted meanwhile."


class CredentialChanges:
    """Changes passwords for players and servers, and secrets for servers."""

    def __init__(self, accounts: Accounts, passwords: PasswordStore, players: Players, writer: ScoreWriter) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._players = players
        self._writer = writer

    async def set_password(
        self, user_id: str, password: str, proof: Proof, caller: Identity | None, visitor: Visitor, request_id: str
    ) -> None:
        """Give a player its first password, or another one.

        A server may at any time, others with the old password; a first one may be given with the secret, or by a player
        who has none with a token that was not got by a name.

        Raises MissingToken, InvalidToken, Forbidden, InvalidCredentials, UserNotFound, RegionMismatch, RateLimited,
        QueueFull, WarmingUp or Unavailable.
        """
        by_server = caller is not None and caller.is_server
        if caller is None and proof == Proof():
            raise MissingToken("Send a token, or the old password or the secret.")
        player = await self._found(user_id)
        saved_at = await self._passwords.saved_at(user_id, player.region)
        await self._check(player, proof, caller, visitor)
        if not by_server:
            await self._players.count_password(visitor.address)
        password_hash = await self._passwords.hash(password, visitor.is_gone)
        async with self._players.claim(user_id, player.region) as claim:
            # While it is claimed nobody makes a player of that user_id: this is the one who was checked, or nobody.
            current, found_at = await self._found(user_id), await self._passwords.saved_at(user_id, player.region)
            if current.deleted_before != player.deleted_before:
                raise UserNotFound(_GONE)
            if not by_server and (current.credential, current.protected, found_at) != (
                player.credential,
                player.protected,
                saved_at,
            ):
                raise InvalidCredentials("The player's password or secret was changed meanwhile.")
            taken_at = max(claim.taken_at, found_at + 1)  # found_at is by the clock of whichever Redis had that claim
            if not await self._passwords.save(user_id, player.region, password_hash, taken_at):
                raise UserNotFound(_GONE)
            if current.protected:
                return
            async with self._passwords.deleted_if_refused(user_id, player.region, password_hash):
                await self._writer.write_claimed(_write("password", player, request_id), claim)

    async def new_secret(self, user_id: str, caller: Identity, request_id: str) -> str:
        """Give a player another secret, for a server; the one before is worth nothing from now on.

        Raises Forbidden, UserNotFound, QueueFull, RegionRateLimited, WarmingUp or Unavailable.
        """
        if not caller.is_server:
            raise Forbidden("Only a token with role 'server' asks for a player's secret.")
        player, secret = await self._found(user_id), new_secret()
        await self._writer.write(_write("secret", player, request_id)._replace(credential=hash_of(secret)))
        return secret

    async def _found(self, user_id: str) -> StoredPlayer:
        player = await self._players.find(user_id)
        if player is None:
            raise UserNotFound
        return player

    async def _check(self, player: StoredPlayer, proof: Proof, caller: Identity | None, visitor: Visitor) -> None:
        if caller is not None:
            check_owner(player.user_id, caller)
            if caller.is_server:
                return
            check_current(player, caller)
        if caller is not None and proof == Proof():
            if player.protected:
                raise Forbidden("This player has a password: send it as 'old_password'.")
            if player.credential.secret_hash:
                # Else a token got by a secret that was replaced since would take the player over.
                raise Forbidden("This player has a secret: send it beside the first password.")
            check_proof(player, caller)
        elif proof.password is None and player.protected:
            raise Forbidden("A secret sets the first password only: send the present one as 'old_password'.")
        elif not await self._accounts.proves(player, proof, visitor):
            raise InvalidCredentials("The old password or the secret is not this player's.")


def _write(operation: Operation, player: StoredPlayer, request_id: str) -> Write:
    return Write(
        operation=operation,
        user_id=player.user_id,
        region=player.region,
        amount=0,
        request_id=request_id,
        user_bucket=False,
        protected=operation == "password",
        # As a token of that moment: a player who was deleted and made anew since is another one.
        issued_at=player.read_at,
    )
