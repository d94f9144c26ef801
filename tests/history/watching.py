"""Watch the stores during a run: a canary in Redis, and the rows in Postgres."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import redis.asyncio as redis
from redis.exceptions import BusyLoadingError

from tests.faults.system import REGIONS, STORE_ERRORS, SystemUnderTest
from tests.history.durability import Life, Snapshot

_BEAT_SECONDS, _SNAPSHOT_SECONDS = 0.005, 0.25
_ANSWER_SECONDS = 30.0
"""Longer than any pause of Redis: what is under way then is answered, or its connection breaks."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)
_MICROSECOND = timedelta(microseconds=1)


class Canary:
    """Write one number after the other to Redis, and note which one each of its lives began with."""

    def __init__(self, system: SystemUnderTest, now: Callable[[], int]) -> None:
        self._url = system.cluster.state["redis_url"]
        self._now = now
        self._key = f"history:canary:{secrets.token_hex(6)}"  # another run's number is not ours
        self._numbers = itertools.count(1)
        self._run_id, self._pid = "", 0
        self._life = ("", "")
        self._stopped = False
        self.lives: list[Life] = []

    def stop(self) -> None:
        """Write no more."""
        self._stopped = True

    async def run(self) -> None:
        """Write until stopped."""
        while not self._stopped:
            client = redis.Redis.from_url(
                self._url, decode_responses=True, socket_timeout=_ANSWER_SECONDS, single_connection_client=True
            )
            started = self._now()
            try:
                await self._look(client)
                while not self._stopped:
                    await self._beat(client)
                    await asyncio.sleep(_BEAT_SECONDS)
            except (redis.RedisError, OSError, TimeoutError) as error:
                if self.lives and _proves_that_nobody_serves(error):
                    self.lives[-1].down.append(started)
            finally:
                with suppress(redis.RedisError, OSError):
                    await client.aclose()
            await asyncio.sleep(_BEAT_SECONDS)

    async def _look(self, client: redis.Redis) -> None:
        """Note a new life. Raises ReadOnlyError from a replica."""
        async with client.pipeline(transaction=True) as pipe:
            pipe.info("server")
            pipe.info("replication")
            pipe.get(self._key)
            server, replication, found = await pipe.execute()
        if replication["role"] != "master":
            raise redis.ReadOnlyError("a replica")
        self._run_id, self._pid = server["run_id"], server["process_id"]
        self._saw(replication, found)

    def _saw(self, replication: dict[str, Any], found: str | None) -> None:
        """Note a new life if it is one: of another process, or of one that was a replica and is promoted."""
        # Not master_replid, which the first replica ever changes: its promotion keeps the earlier one as the second.
        life = self._run_id, str(replication["master_replid2"])
        if life != self._life:
            self._life = life
            self.lives.append(Life(self._pid, int(found or 0), self._now()))

    async def _beat(self, client: redis.Redis) -> None:
        number, start = next(self._numbers), self._now()
        end = None
        try:
            async with client.pipeline(transaction=True) as pipe:
                pipe.set(self._key, number, get=True)
                pipe.info("replication")
                found, replication = await pipe.execute()
            end = self._now()
            self._saw(replication, found)
        finally:
            self.lives[-1].note(number, start, end)


def _proves_that_nobody_serves(error: Exception) -> bool:
    """Tell whether the error shows that no process executed commands when the attempt was made."""
    return isinstance(error, BusyLoadingError) or isinstance(
        error.__cause__ or error.__context__, ConnectionRefusedError
    )


class Snapshots:
    """Read again and again which write of each player Postgres has."""

    def __init__(self, system: SystemUnderTest, now: Callable[[], int], players: Sequence[str]) -> None:
        self._system = system
        self._now = now
        self._players = list(players)
        self._stopped = False
        self.taken: list[Snapshot] = []

    def stop(self) -> None:
        """Read no more."""
        self._stopped = True

    async def run(self) -> None:
        """Read until stopped; while Postgres is away there are no snapshots."""
        while not self._stopped:
            with suppress(*STORE_ERRORS):
                async with asyncio.timeout(10):
                    await self._take()
            await asyncio.sleep(_SNAPSHOT_SECONDS)

    async def _take(self) -> None:
        rows: dict[str, int] = {}
        for region in REGIONS:
            async with self._system.postgres(region) as connection:
                found = await connection.fetch(
                    "SELECT user_id, updated_at FROM leaderboard WHERE user_id = ANY($1)", self._players
                )
            for user_id, updated_at in found:
                rows[user_id] = (updated_at - _EPOCH) // _MICROSECOND
        self.taken.append(Snapshot(self._now(), rows))
