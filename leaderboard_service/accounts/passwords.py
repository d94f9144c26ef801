"""Keeps passwords: argon2id hashes in the home region's Postgres, and nowhere else."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from leaderboard_core.errors import LeaderboardError, Unavailable
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_service.accounts.hashing import IsGone, PasswordHashing

log = logging.getLogger(__name__)

_STORE = "Passwords are kept in Postgres, which"


class PasswordStore:
    """Hashes, saves and verifies passwords. Each method but `hash` raises Unavailable while Postgres is."""

    def __init__(self, databases: RegionDatabases, hashing: PasswordHashing) -> None:
        self._databases = databases
        self._hashing = hashing

    async def hash(self, password: str, is_gone: IsGone) -> str:
        """Hash a password, when its turn comes. Raises what PasswordHashing.hash does."""
        return await self._hashing.hash(password, is_gone)

    async def save(self, user_id: str, region: str, password_hash: str, claimed_at: int) -> bool:
        """Save a hash under a claim taken at that time (µs); False when a later claim has saved, or a deletion came."""
        return await self._execute(region, "save_account", user_id, password_hash, claimed_at) > 0

    async def saved_at(self, user_id: str, region: str) -> int:
        """When a password was saved (µs), by its claim; 0 without one."""
        async with self._databases.answering(_STORE):
            found = await self._databases[region].fetchval(sql.load("account_saved_at"), user_id)
        return int(found or 0)

    @asynccontextmanager
    async def deleted_if_refused(self, user_id: str, region: str, password_hash: str) -> AsyncIterator[None]:
        """Delete what this caller saved when the player's write in this block is refused."""
        try:
            yield
        except Unavailable:
            raise  # it may have been done: the password must stay
        except LeaderboardError:
            await self._execute(region, "delete_account", user_id, password_hash)
            raise

    async def verify(self, user_id: str, region: str, password: str, is_gone: IsGone) -> bool:
        """Whether this is the password of a player who has one."""
        async with self._databases.answering(_STORE):
            password_hash = await self._databases[region].fetchval(sql.load("password_hash_of"), user_id)
        if password_hash is None:
            log.error("a protected account has no password in Postgres", extra={"user_id": user_id})
            return False
        return await self._hashing.verify(password_hash, password, is_gone)

    async def _execute(self, region: str, statement: str, *args: str | int) -> int:
        """Run a statement; return the number of rows that it changed."""
        async with self._databases.answering(_STORE):
            done = await self._databases[region].execute(sql.load(statement), *args)
        return int(done.rpartition(" ")[2])
