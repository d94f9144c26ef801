"""Bring together the cluster, its load and its faults, with the conditions that injections wait for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.faults.chaos import Chaos
from tests.faults.load import LoadGenerator
from tests.faults.records import Violation
from tests.faults.system import STORE_ERRORS, SystemUnderTest

_POLL_SECONDS = 0.03
_SAVED_EVERY_SECONDS = 0.5


@dataclass(frozen=True)
class Harness:
    """A cluster under load, as the injections get it."""

    system: SystemUnderTest
    chaos: Chaos
    load: LoadGenerator

    async def until(self, condition: Callable[[], Awaitable[Any]], what: str, *, seconds: float = 90) -> Any:
        """Wait until `condition` is true, and return its value; a store error counts as false. Raises Violation."""
        loop = asyncio.get_running_loop()
        deadline, last = loop.time() + seconds, None
        while True:
            try:
                async with asyncio.timeout(max(0.1, deadline - loop.time())):
                    last = await condition()
            except STORE_ERRORS as error:
                last = error
            else:
                if last:
                    return last
            if loop.time() > deadline:
                raise Violation(f"{what} did not come about within {seconds:.0f} s; last seen: {last!r}")
            await asyncio.sleep(_POLL_SECONDS)

    async def more_writes(self, count: int, *, seconds: float = 3.0) -> None:
        """Wait for that many more acknowledged writes, or `seconds`: while a store is unavailable there may be none."""
        target = self.system.ledger.acknowledged + count
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.system.ledger.acknowledged < target:
                    await asyncio.sleep(_POLL_SECONDS)

    async def drained(self) -> None:
        """Wait until every event is in Postgres."""

        async def empty() -> bool:
            waiting = await self.system.waiting()
            if dead := [name for name in waiting if name.endswith(":dead")]:
                raise Violation(f"there are dead letters: {dead}")
            return not any(waiting.values())

        await self.until(empty, "an empty queue")

    @asynccontextmanager
    async def everything_saved(self) -> AsyncIterator[None]:
        """Hold writes back while none is in flight and Postgres has all of them; reads go on."""
        async with self.load.writes_paused():
            await self.drained()
            self.system.ledger.all_is_saved()
            yield

    async def healthy(self, *names: str) -> None:
        """Wait until these processes run and report that they are healthy."""

        async with httpx.AsyncClient(timeout=10) as http:  # one for all looks: a new one costs as much as an answer

            async def all_healthy() -> bool:
                urls = self.system.cluster.state["urls"]
                for name in names:
                    if self.chaos.pid(name) is None:
                        return False
                    try:
                        if name in urls and not (await http.get(f"{urls[name]}/health")).json()["ok"]:
                            return False
                    except (httpx.HTTPError, ValueError, KeyError):
                        return False
                return True

            await self.until(all_healthy, f"the health of {', '.join(names)}")

    async def watch_saved(self) -> None:
        """Record in the ledger, until cancelled, how many players Postgres has."""
        while True:
            with suppress(*STORE_ERRORS):
                async with asyncio.timeout(10):
                    self.system.ledger.see_saved(await self.system.saved_players())
            await asyncio.sleep(_SAVED_EVERY_SECONDS)

    @property
    def saved_tables(self) -> tuple[str, ...]:
        """Return the tables that batches are saved in."""
        return ("leaderboard", "entries") if self.system.ledger.boards else ("leaderboard",)

    @property
    def append_only_folder(self) -> Path:
        """Return the folder of Redis' append-only files."""
        (found,) = self.system.cluster.data_dir.glob("*/appendonlydir")
        return found
