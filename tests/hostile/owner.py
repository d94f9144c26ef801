"""A player of the attacked system: how long a login with a password and a score take meanwhile."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx

_PAUSE_SECONDS = 0.02
_SCORES_BETWEEN_LOGINS = 50


@dataclass
class Times:
    """Seconds of each call that was done, and the statuses of those that were refused."""

    logins: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)

    def summary(self) -> str:
        found = f"scores p99 {_quantile(self.scores, 0.99) * 1e3:.0f} ms of {len(self.scores)}"
        found += f", logins worst {max(self.logins, default=0):.2f} s of {len(self.logins)}"
        return found + (f", refused {dict(self.refused)}" if self.refused else "")


class Owner:
    """A player with a password, in whose name scores are sent and logins are made at `url`."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=30)
        self._user_id = f"owner-{secrets.token_hex(4)}"
        self._password = secrets.token_hex(16)
        self._token = ""

    async def register(self) -> None:
        body = {"user_id": self._user_id, "name": "Owner", "region": "EU", "password": self._password}
        response = await self._http.post("/auth/register", json=body)
        response.raise_for_status()
        self._token = response.json()["token"]

    async def play(self, until: asyncio.Event) -> Times:
        """Play until the event is set."""
        times = Times()
        while not until.is_set():
            await self._timed(
                times.logins, times, "/auth/login", {"user_id": self._user_id, "password": self._password}
            )
            for _ in range(_SCORES_BETWEEN_LOGINS):
                await self._timed(times.scores, times, "/score/add", {"user_id": self._user_id, "delta": 1})
                await asyncio.sleep(_PAUSE_SECONDS)
        return times

    async def _timed(self, seconds: list[float], times: Times, path: str, body: dict[str, object]) -> None:
        begun = time.perf_counter()
        response = await self._http.post(path, json=body, headers={"Authorization": f"Bearer {self._token}"})
        if response.is_success:
            seconds.append(time.perf_counter() - begun)
        else:
            times.refused[f"{path} {response.status_code}"] += 1

    async def close(self) -> None:
        await self._http.aclose()


def _quantile(seconds: list[float], share: float) -> float:
    return sorted(seconds)[int(share * (len(seconds) - 1))] if seconds else 0.0
