"""Generate load for a history: clients add to, set and read shared players through every door."""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from leaderboard_core.tokens import Tokens
from tests.faults.answers import Answer, read_answer
from tests.faults.ledger import Ledger
from tests.faults.load import REQUEST_TIMEOUT_SECONDS, LoadGenerator
from tests.faults.records import Player, Violation
from tests.history.operations import Attempt, History, Kind, Operation, Outcome

_AT_ONCE = 8
"""Players in use at a time: fewer than clients, so that operations on one player overlap."""
_MOST_OPERATIONS, _MOST_UNKNOWN = 120, 5
"""A player is replaced by a fresh one after so many: the checker's work grows with what may have been anywhere."""
_LARGEST_DELTA = 10**9
"""Deltas and scores are drawn from so many that a score tells which of them it is made of."""
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.01, 0.07
_READ_SHARE, _SET_SHARE, _KEYED_SHARE, _GIVE_UP_SHARE = 0.3, 0.15, 0.7, 0.02
_IMPATIENT_SHARE, _IMPATIENT_WITHOUT_KEY_SHARE, _SHORTEST_PATIENCE, _LONGEST_PATIENCE = 0.25, 0.02, 0.001, 0.015
"""An impatient client breaks its request off, mostly while it is under way, and repeats it if it has a key."""
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(slots=True, eq=False)
class _Seat:
    """A player in use, and how much was done with it."""

    player: Player
    operations: int = 0
    unknown: int = 0

    @property
    def used_up(self) -> bool:
        return self.operations >= _MOST_OPERATIONS or self.unknown >= _MOST_UNKNOWN


class HistoryLoad(LoadGenerator):
    """Run clients whose every call is in the history; every third one only reads."""

    def __init__(
        self,
        doors: Mapping[str, str],
        ledger: Ledger,
        tokens: Tokens,
        rng: random.Random,
        history: History,
        *,
        clients: int = 12,
    ) -> None:
        super().__init__(doors["nginx"], ledger, tokens, rng, clients=clients)
        self._doors = dict(doors)
        self._history = history
        self._numbers = itertools.count()
        self._fresh: Iterator[Player] = iter(())
        self._seats: list[_Seat] = []
        self._quiet: dict[asyncio.Task[Any] | None, int] = {}
        self.players: list[Player] = []

    async def make_players(self, count: int) -> None:
        """Create the players, before the history begins: each has score 0 and is known to exist. Raises Violation."""
        async with httpx.AsyncClient(base_url=self._url, timeout=REQUEST_TIMEOUT_SECONDS, limits=self._limits) as http:
            self._http = http
            async with asyncio.TaskGroup() as group:
                for number in range(count):
                    region = self._ledger.regions[number % len(self._ledger.regions)]
                    user_id = f"h{number}-{secrets.token_hex(6)}"
                    player = self._ledger.new_player(user_id, f"Name of {user_id}", region, adds=False)
                    player.token = self._tokens.issue(user_id, player.name, region)
                    group.create_task(self._submit(player, 0))
                    self.players.append(player)
        self._fresh = iter(self.players)
        self._seats = [_Seat(player) for player in itertools.islice(self._fresh, _AT_ONCE)]

    @asynccontextmanager
    async def writes_paused(self) -> AsyncIterator[None]:
        """Let no write be in flight inside this block, and note since when."""
        async with super().writes_paused():
            self._quiet[asyncio.current_task()] = self._history.now()
            yield

    def quiet_since(self) -> int:
        """Return when the present task saw that no write was in flight."""
        return self._quiet[asyncio.current_task()]

    async def read_some(self, count: int) -> None:
        """Read that many times beside what the clients do. Raises Violation."""
        for _ in range(count):
            async with self._one_read():
                await self._look(-1, self._rng)

    async def read_everything(self) -> None:
        """Read each player that was used once through every door, from Redis. Raises Violation."""
        used = {operation.player for operation in self._history.operations}
        async with httpx.AsyncClient(timeout=REQUEST_TIMEOUT_SECONDS, limits=self._limits) as http:
            self._http = http
            for player in self.players:
                if player.user_id in used:
                    async with asyncio.TaskGroup() as group:
                        for door in self._doors:
                            group.create_task(self._read_rank(-1, player, door, "GLOBAL"))

    # A client

    async def _client(self, region: str) -> None:
        number = next(self._numbers)
        rng = random.Random(f"{self._rng.random()} client {number}")
        only_reads = number % 3 == 2
        while not self._stop.is_set():
            try:
                if only_reads or rng.random() < _READ_SHARE:
                    async with self._one_read():
                        await self._look(number, rng)
                elif await self._write_allowed():
                    with self._writes.inside():
                        await self._change(number, rng)
            except Violation as error:
                self._ledger.report(str(error))
                return
            await asyncio.sleep(rng.uniform(_SHORTEST_PAUSE, _LONGEST_PAUSE))

    def _take_seat(self, rng: random.Random) -> _Seat:
        index = rng.randrange(len(self._seats))
        if self._seats[index].used_up and (player := next(self._fresh, None)) is not None:
            self._seats[index] = _Seat(player)
        return self._seats[index]

    # Writing

    async def _change(self, number: int, rng: random.Random) -> None:
        seat = self._take_seat(rng)
        seat.operations += 1
        player = seat.player
        argument = rng.randrange(1, _LARGEST_DELTA)
        kind: Kind = "set" if rng.random() < _SET_SHARE else "add"
        path, body = ("/score/update", {"score": argument}) if kind == "set" else ("/score/add", {"delta": argument})
        headers = {"Authorization": f"Bearer {player.token}"}
        key = secrets.token_hex(8) if rng.random() < _KEYED_SHARE else ""
        if key:
            headers["Idempotency-Key"] = key
        operation = self._history.begin(number, kind, player.user_id, argument, key)
        unsure = False

        async def once() -> bool:
            nonlocal unsure
            impatient = rng.random() < (_IMPATIENT_SHARE if key else _IMPATIENT_WITHOUT_KEY_SHARE)
            timeout = rng.uniform(_SHORTEST_PATIENCE, _LONGEST_PATIENCE) if impatient else REQUEST_TIMEOUT_SECONDS
            door = rng.choice(list(self._doors))
            answer = await self._try(operation, door, "POST", path, json=body, headers=headers, timeout=timeout)
            if answer is not None and answer.status in (404, 409):
                raise Violation(f"{player.user_id} exists, and {path} at {door} said {answer.body}")
            if answer is not None and answer.ok:
                operation.outcome, operation.source = "ok", answer.source
                operation.score, operation.updated_at = answer.body["score"], answer.body["updated_at"]
                self._ledger.acknowledged += 1
                return True
            unsure = unsure or operation.attempts[-1].outcome == "unknown"
            return not key or (unsure and rng.random() < _GIVE_UP_SHARE)

        await self._until(once, f"{kind} {argument} of {player.user_id} with key {key}")
        if operation.outcome != "ok":
            operation.outcome = "unknown" if unsure else "refused"
            seat.unknown += unsure

    # Reading

    async def _look(self, number: int, rng: random.Random) -> None:
        seat = self._take_seat(rng)
        seat.operations += 1
        player, door = seat.player, rng.choice(list(self._doors))
        board, kind = rng.choice((player.region, "GLOBAL")), rng.choice(("rank", "rank", "rank", "around", "top"))
        if kind == "top":
            await self._read_top(number, door, board)
        elif kind == "around":
            await self._read_around(number, player, door, board)
        else:
            await self._read_rank(number, player, door, board)

    async def _read_rank(self, number: int, player: Player, door: str, board: str) -> None:
        operation = self._history.begin(number, "read", player.user_id)
        answer = await self._try(operation, door, "GET", f"/rank/{player.user_id}", params={"region": board})
        _settle_read(operation, answer, answer.body.get("score") if answer else None)

    async def _read_around(self, number: int, player: Player, door: str, board: str) -> None:
        operation = self._history.begin(number, "read", player.user_id)
        params = {"region": board, "range": 1}
        answer = await self._try(operation, door, "GET", f"/around/{player.user_id}", params=params)
        _settle_read(operation, answer, answer.body.get("self", {}).get("score") if answer else None)

    async def _read_top(self, number: int, door: str, board: str) -> None:
        """Read a page: an operation for each row of a player in use."""
        probe = Operation(number, "read", "")
        answer = await self._try(probe, door, "GET", "/top", params={"region": board, "limit": 100})
        if answer is None or not answer.ok:
            return
        in_use = {seat.player.user_id for seat in self._seats}
        for row in answer.body["rows"]:
            if row["user_id"] in in_use:
                operation = self._history.begin(number, "read", row["user_id"])
                operation.attempts = probe.attempts
                _settle_read(operation, answer, row["score"])

    # Sending

    async def _try(self, operation: Operation, door: str, method: str, path: str, **options: Any) -> Answer | None:
        """Make one attempt at an operation and record it; None when no answer came. Raises Violation."""
        start = self._history.now()
        operation.attempts.append(Attempt(door, start, None, "unknown", ""))
        answer: Answer | None = None
        outcome: Outcome = "unknown"
        try:
            response = await self._http.request(method, self._doors[door] + path, **options)
            answer = read_answer(f"{method} {path} at {door}", response)
            said = f"{answer.status} {answer.code}".rstrip()
            outcome = "ok" if answer.ok else "refused" if answer.changed_nothing else "unknown"
        except httpx.TransportError as error:
            said = type(error).__name__
            outcome = "refused" if isinstance(error, _NOT_SENT) else "unknown"
        operation.attempts[-1] = Attempt(door, start, self._history.now(), outcome, said)
        self._ledger.answers[f"{method} {said}"] += 1
        return answer


def _settle_read(operation: Operation, answer: Answer | None, score: int | None) -> None:
    """Record what a read was answered: a score, or that there is no such player."""
    if answer is not None and (answer.ok or answer.status == 404):
        operation.outcome, operation.source, operation.score = "ok", answer.source, score
