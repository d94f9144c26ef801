"""Generate a steady load of reads and of writes with Idempotency-Key, and record every failure."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType

import httpx

from tests.compose.commands import StepFailedError, say

PAUSE_SECONDS = 0.2  # well under the limit of 100 writes in 10 s per player
LIMIT_SECONDS = 300.0
REQUEST_SECONDS = 30.0
_MOST_FAILURES = 20


@dataclass
class Player:
    """A registered player and the score that the last acknowledged write must have made."""

    user_id: str
    region: str
    token: str = field(repr=False)
    score: int

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


def register(url: str, regions: tuple[str, ...], *, score: int) -> list[Player]:
    """Register a new player in each region. Raises StepFailedError."""
    players = []
    with httpx.Client(base_url=url, timeout=REQUEST_SECONDS) as client:
        for region in regions:
            user_id = f"compose-{region.lower()}-{uuid.uuid4().hex[:12]}"
            body = {"user_id": user_id, "name": f"Compose {region}", "region": region, "initialScore": score}
            try:
                answer = client.post("/auth/register", json=body)
            except httpx.HTTPError as error:
                raise StepFailedError(f"registering in {region}: {error!r}") from error
            if answer.status_code != 201:
                raise StepFailedError(f"registering in {region}: {answer.status_code} {answer.text}")
            players.append(Player(user_id, region, answer.json()["token"], score))
    return players


class Load:
    """Run load in a thread during the `with` block; every answer is checked.

    Each player adds 1, then reads its rank, and must find there exactly what was acknowledged.
    """

    def __init__(self, url: str, players: list[Player]) -> None:
        self.players = players
        self.requests = 0
        self.served: Counter[str] = Counter()
        self.failures: list[str] = []
        self.slowest_seconds = 0.0
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Load:
        say(f"load: {len(self.players)} players write and read")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        if kind is None or issubclass(kind, Exception):
            self._thread.join(REQUEST_SECONDS + 5)
        slowest = f"the slowest took {self.slowest_seconds:.2f} s"
        say(f"load: {self.requests} requests, {len(self.failures)} failed, {slowest}; served: {dict(self.served)}")

    def check(self) -> None:
        """Raise StepFailedError with all failures, or when there was too little load."""
        if self._thread.is_alive():
            raise StepFailedError("the load does not end")
        if self.failures:
            raise StepFailedError("requests failed under load:\n" + "\n".join(self.failures))
        if not self.requests:
            raise StepFailedError("the load made no request")

    async def _run(self) -> None:
        deadline = time.monotonic() + LIMIT_SECONDS
        async with httpx.AsyncClient(base_url=self._url, timeout=REQUEST_SECONDS) as client:
            try:
                async with asyncio.TaskGroup() as group:
                    for player in self.players:
                        group.create_task(self._play(client, player, deadline))
            except* (ValueError, KeyError) as problems:
                self.failures += [f"no answer of the API: {problem!r}" for problem in problems.exceptions]

    async def _play(self, client: httpx.AsyncClient, player: Player, deadline: float) -> None:
        while not self._stop.is_set() and time.monotonic() < deadline and len(self.failures) < _MOST_FAILURES:
            key = {"Idempotency-Key": uuid.uuid4().hex}
            wrote = await self._ask(client, "POST", "/score/add", json={"delta": 1}, headers={**player.headers, **key})
            if wrote is not None:
                player.score += 1
                self._compare("add", player, wrote["score"])
            read = await self._ask(client, "GET", f"/rank/{player.user_id}", params={"region": player.region})
            if read is not None:
                self._compare("rank", player, read["score"])
            await asyncio.sleep(PAUSE_SECONDS)

    def _compare(self, call: str, player: Player, score: int) -> None:
        if score != player.score:
            self.failures.append(f"{call}: {player.user_id} has {score}, acknowledged was {player.score}")

    async def _ask(self, client: httpx.AsyncClient, method: str, path: str, **options: object) -> dict[str, int] | None:
        started = time.monotonic()
        self.requests += 1
        try:
            answer = await client.request(method, path, **options)  # type: ignore[arg-type]
        except httpx.HTTPError as error:
            self.failures.append(f"{method} {path}: {error!r}")
            return None
        self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - started)
        if answer.status_code != 200:
            self.failures.append(f"{method} {path}: {answer.status_code} {answer.text}")
            return None
        self.served[answer.headers.get("X-Service-Addr", "?")] += 1
        body: dict[str, int] = answer.json()
        return body
