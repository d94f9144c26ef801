"""Generate load of its own kind: players that are deleted, and half of them made anew."""

from __future__ import annotations

import asyncio
import random
import secrets
from dataclasses import dataclass, field
from typing import Any

import httpx

from leaderboard_core.tokens import SECRET, Tokens
from tests.faults.answers import Answer, read_answer
from tests.faults.ledger import Ledger
from tests.faults.load import REQUEST_TIMEOUT_SECONDS, SETTLE_SECONDS
from tests.faults.records import Violation
from tests.faults.system import SystemUnderTest

_FIRST, _ADDED, _ANEW = 4**0, 4**1, 4**2
"""No sum of these is another sum, so that a score says which of the writes it has."""
_PAUSE_SECONDS = 0.05


@dataclass(frozen=True)
class Kept:
    """A deletion that was answered, to be repeated with its key."""

    user_id: str
    headers: dict[str, str]
    answer: dict[str, Any]


@dataclass
class Departures:
    """Make players, delete them, and remember what must be left of each."""

    url: str
    ledger: Ledger
    tokens: Tokens
    rng: random.Random
    pause_seconds: float
    left: dict[str, tuple[str, int | None]] = field(default_factory=dict)
    """Region, and score in Postgres at the end (None: no row), of each player whose story is over."""
    kept: list[Kept] = field(default_factory=list)
    between: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a player's story runs: who holds it knows that none is under way."""
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Make and delete players until `stop()`; the stories that were begun are brought to their end."""
        server = {"Authorization": f"Bearer {self.tokens.issue('server-2', 'Game server', 'GLOBAL', role='server')}"}
        async with httpx.AsyncClient(base_url=self.url, timeout=REQUEST_TIMEOUT_SECONDS) as http:
            while not self._stop.is_set():
                try:
                    async with self.between:
                        await self._story(http, server)
                except Violation as error:
                    self.ledger.report(str(error))
                    return
                await asyncio.sleep(self.pause_seconds)

    def stop(self) -> None:
        """Begin no new player."""
        self._stop.set()

    async def check(self, system: SystemUnderTest) -> None:
        """Compare with Postgres once the queues are empty, and repeat some deletions. Raises Violation."""
        rows: dict[str, int] = {}
        for region in self.ledger.regions:
            async with system.postgres(region) as connection:
                found = await connection.fetch("SELECT user_id, score FROM leaderboard WHERE user_id LIKE 'leaving-%'")
                rows |= {row["user_id"]: row["score"] for row in found}
        wrong = [
            f"{user_id} of {region} has {rows.get(user_id)} in Postgres, not {score}"
            for user_id, (region, score) in self.left.items()
            if rows.get(user_id) != score
        ]
        if wrong:
            raise Violation("\n".join(wrong[:10]))
        async with httpx.AsyncClient(base_url=self.url, timeout=REQUEST_TIMEOUT_SECONDS) as http:
            for kept in self.kept:
                answer = await self._until_done(http, "DELETE", f"/users/{kept.user_id}", headers=kept.headers)
                if answer.body != kept.answer:
                    raise Violation(f"a repeated deletion got {answer.body}, first {kept.answer}")

    async def _story(self, http: httpx.AsyncClient, server: dict[str, str]) -> None:
        region = self.rng.choice(self.ledger.regions)
        player = self.ledger.new_player(f"leaving-{secrets.token_hex(6)}", "Leaving", region, adds=True, leaves=True)
        user_id = player.user_id
        for _ in (_FIRST, _ADDED, _ANEW):
            player.begin()
        body = {"user_id": user_id, "region": region, "name": player.name}
        await self._until_done(http, "POST", "/score", json={**body, "score": _FIRST}, headers=keyed(server))
        own = {"Authorization": f"Bearer {self.tokens.issue(user_id, player.name, region, method=SECRET)}"}
        if self.rng.random() < 0.5:
            await self._until_done(http, "POST", "/score/add", json={"delta": _ADDED}, headers=keyed(own))
        headers = keyed(own)
        answer = await self._until_done(http, "DELETE", f"/users/{user_id}", headers=headers)
        gone = await self._send(http, "GET", f"/rank/{user_id}", params={"region": region})
        if gone is not None and gone.ok and gone.source == "redis":
            raise Violation(f"{user_id} was deleted, and redis said {gone.body}")
        if self.rng.random() < 0.5:
            await self._until_done(http, "POST", "/score", json={**body, "score": _ANEW}, headers=keyed(server))
            self.left[user_id] = region, _ANEW
        else:
            self.left[user_id] = region, None
            self.kept.append(Kept(user_id, headers, answer.body))

    async def _until_done(self, http: httpx.AsyncClient, method: str, path: str, **options: Any) -> Answer:
        """Repeat a request with its key until it is done. Raises Violation."""
        deadline = asyncio.get_running_loop().time() + SETTLE_SECONDS
        while True:
            answer = await self._send(http, method, path, **options)
            if answer is not None and answer.ok:
                return answer
            if answer is not None and answer.status in (404, 409):
                raise Violation(f"{method} {path} {options} got {answer.status} {answer.body}")
            if asyncio.get_running_loop().time() > deadline:
                raise Violation(f"{method} {path} was not done within {SETTLE_SECONDS:.0f} s; last: {answer}")
            await asyncio.sleep(self.rng.uniform(_PAUSE_SECONDS, 4 * _PAUSE_SECONDS))

    async def _send(self, http: httpx.AsyncClient, method: str, path: str, **options: Any) -> Answer | None:
        try:
            response = await http.request(method, path, **options)
        except httpx.TransportError as error:
            self.ledger.answers[f"{method} {type(error).__name__}"] += 1
            return None
        answer = read_answer(f"{method} {path}", response)
        self.ledger.answers[f"{method} {answer.status} {answer.code or 'done'}"] += 1
        return answer


def keyed(headers: dict[str, str]) -> dict[str, str]:
    """Return the headers with a new Idempotency-Key."""
    return {**headers, "Idempotency-Key": secrets.token_hex(8)}
