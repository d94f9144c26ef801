"""What the acts of a schedule have in hand, and the conditions that they wait for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.faults.chaos import Chaos
from tests.faults.ledger import Violation
from tests.faults.swarm import Swarm
from tests.faults.world import STORE_ERRORS, World

DEADLINE_SECONDS = 90.0
_POLL_SECONDS = 0.03
_SAVED_EVERY_SECONDS = 0.5


@dataclass(frozen=True)
class Stage:
    """A cluster under load."""

    world: World
    chaos: Chaos
    swarm: Swarm

    async def until(self, look: Callable[[], Awaitable[Any]], what: str, *, seconds: float = DEADLINE_SECONDS) -> Any:
        """The first true answer of `look`, whose failures to reach a store count as false. Raises Violation."""
        loop = asyncio.get_running_loop()
        deadline, last = loop.time() + seconds, None
        while True:
            try:
                async with asyncio.timeout(max(0.1, deadline - loop.time())):
                    last = await look()
            except STORE_ERRORS as error:
                last = error
            else:
                if last:
                    return last
            if loop.time() > deadline:
                raise Violation(f"{what} did not come about within {seconds:.0f} s; last seen: {last!r}")
            await asyncio.sleep(_POLL_SECONDS)

    async def more_writes(self, count: int, *, seconds: float = 3.0) -> None:
        """Go on when that many more writes were acknowledged, or soon, for there may be none while a store is away."""
        target = self.world.ledger.acknowledged + count
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.world.ledger.acknowledged < target:
                    await asyncio.sleep(_POLL_SECONDS)

    async def drained(self) -> None:
        """Wait until every event is in Postgres."""

        async def empty() -> bool:
            waiting = await self.world.waiting()
            if dead := [name for name in waiting if name.endswith(":dead")]:
                raise Violation(f"there are dead letters: {dead}")
            return not any(waiting.values())

        await self.until(empty, "an empty queue")

    @asynccontextmanager
    async def everything_saved(self) -> AsyncIterator[None]:
        """No write is in hand, and Postgres has all of them; reads go on."""
        async with self.swarm.quiet():
            await self.drained()
            self.world.ledger.all_is_saved()
            yield

    async def healthy(self, *names: str) -> None:
        """Wait until these processes run and say that they are well."""

        async def well() -> bool:
            urls = self.world.cluster.state["urls"]
            async with httpx.AsyncClient(timeout=10) as http:
                for name in names:
                    if self.chaos.pid(name) is None:
                        return False
                    try:
                        if name in urls and not (await http.get(f"{urls[name]}/health")).json()["ok"]:
                            return False
                    except (httpx.HTTPError, ValueError, KeyError):
                        return False
            return True

        await self.until(well, f"the health of {', '.join(names)}")

    async def watch_saved(self) -> None:
        """Enter in the ledger, for ever, how many players Postgres has."""
        while True:
            with suppress(*STORE_ERRORS):
                async with asyncio.timeout(10):
                    self.world.ledger.see_saved(await self.world.saved_players())
            await asyncio.sleep(_SAVED_EVERY_SECONDS)

    @property
    def append_only_folder(self) -> Path:
        """Where Redis keeps its append-only files."""
        (found,) = self.world.cluster.data_dir.glob("*/appendonlydir")
        return found
