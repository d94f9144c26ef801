"""The clients: many short-lived players that write and read, and enter in the ledger what they were told."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from leaderboard_core.tokens import Tokens
from tests.faults import answers
from tests.faults.answers import Answer, Expectation
from tests.faults.ledger import MOST_WRITES, Fate, Ledger, Player, Violation

REQUEST_SECONDS = 40.0
"""Longer than any time-out on the way: whoever waits so long gets an answer, or the connection broke."""
IMPATIENT_SECONDS = 1.0
SETTLE_SECONDS = 90.0
_PASSWORD = "correct horse battery staple"
_PASSWORD_SHARE, _GIVE_UP_SHARE, _READ_SHARE = 0.01, 0.02, 0.4


@dataclass(frozen=True, slots=True)
class Repeatable:
    """An acknowledged write with an Idempotency-Key, to be sent once more at the end."""

    path: str
    body: dict[str, Any]
    token: str
    key: str
    answer: dict[str, Any]


class Swarm:
    """`clients` coroutines; each makes a player, writes a few times, reads in between, and takes the next player."""

    def __init__(self, url: str, ledger: Ledger, tokens: Tokens, rng: random.Random, *, clients: int = 12) -> None:
        self._ledger = ledger
        self._tokens = tokens
        self._rng = rng
        self._clients = clients
        self._url = url
        self._stop = asyncio.Event()
        self._writing_allowed = asyncio.Event()
        self._writing_allowed.set()
        self._writes_in_hand = 0
        self._server = tokens.issue("server-1", "Game server", "GLOBAL", role="server")
        self.repeatable: list[Repeatable] = []
        # A connection for each client and one to spare: the pool must not be what a request waits for.
        self._limits = httpx.Limits(max_connections=clients * 6, max_keepalive_connections=clients * 2)

    async def run(self) -> None:
        """Write and read until `stop()`; what is in hand then is repeated until it is acknowledged."""
        async with httpx.AsyncClient(base_url=self._url, timeout=REQUEST_SECONDS, limits=self._limits) as http:
            self._http = http
            async with asyncio.TaskGroup() as group:
                for number in range(self._clients):
                    region = self._ledger.regions[number % len(self._ledger.regions)]
                    group.create_task(self._client(region))

    def stop(self) -> None:
        """Begin nothing new."""
        self._stop.set()
        self._writing_allowed.set()

    @asynccontextmanager
    async def quiet(self) -> AsyncIterator[None]:
        """No write is in hand inside this block; reads go on."""
        self._writing_allowed.clear()
        try:
            try:
                async with asyncio.timeout(SETTLE_SECONDS):
                    while self._writes_in_hand:
                        await asyncio.sleep(0.02)
            except TimeoutError:
                in_hand = self._writes_in_hand
                raise Violation(f"{in_hand} writes were not acknowledged in {SETTLE_SECONDS:.0f} s") from None
            yield
        finally:
            self._writing_allowed.set()

    async def repeat_some(self, count: int) -> None:
        """Send acknowledged writes again with their keys: each must be given its first answer. Raises Violation."""
        chosen = self._rng.sample(self.repeatable, min(count, len(self.repeatable)))
        async with httpx.AsyncClient(base_url=self._url, timeout=REQUEST_SECONDS) as http:
            for one in chosen:
                headers = {"Authorization": f"Bearer {one.token}", "Idempotency-Key": one.key}
                response = await http.post(one.path, json=one.body, headers=headers)
                if response.json() != one.answer:
                    raise Violation(f"a repeated key got {response.text}, first {one.answer}")

    async def make_player(self, region: str) -> None:
        """Make a player that will never write again, also while all is quiet. Raises Violation."""
        user_id = f"once-{secrets.token_hex(6)}"
        await self._submit(self._ledger.new_player(user_id, f"Name of {user_id}", region, adds=False), 0)

    async def _client(self, region: str) -> None:
        while not self._stop.is_set():
            try:
                player = await self._create(region)
                if player is not None:
                    await self._play(player)
            except Violation as error:
                self._ledger.report(str(error))
                return

    # Making players

    async def _create(self, region: str) -> Player | None:
        rng = self._rng
        user_id = f"{rng.choice('abcxyz')}-{secrets.token_hex(6)}"
        kind = rng.random()
        if not await self._may_write():
            return None
        self._writes_in_hand += 1
        try:
            player = self._ledger.new_player(user_id, f"Name of {user_id}", region, adds=kind < 0.6)
            player.token = self._tokens.issue(user_id, player.name, region)
            if kind > 0.85:
                await self._submit(player, 0)
            else:
                await self._register(player)
            return player
        finally:
            self._writes_in_hand -= 1

    async def _register(self, player: Player) -> None:
        body = {"user_id": player.user_id, "name": player.name, "region": player.region}
        who = {"user_id": player.user_id, "name": player.name}
        if self._rng.random() < _PASSWORD_SHARE:
            who["password"] = body["password"] = _PASSWORD
        unsure = False

        async def once() -> bool:
            nonlocal unsure
            answer = await self._send("POST", "/auth/register", json=body)
            if answer is not None and answer.status == 409:
                if not unsure:
                    raise Violation(f"{player.user_id} is new, and registering it once said {answer.body}")
                answer = await self._send("POST", "/auth/login", json=who)
            unsure = unsure or answer is None or not answer.changed_nothing
            return answer is not None and answer.ok

        await self._until(once, f"the registration of {player.user_id}")
        self._ledger.created(player)

    # Writing

    async def _play(self, player: Player) -> None:
        rng = self._rng
        writes = min(MOST_WRITES - 1, int(rng.expovariate(1 / 5)))
        by_server, keyed = not player.adds and rng.random() < 0.3, rng.random() < 0.6
        while writes > 0 and not self._stop.is_set():
            together = min(writes, rng.choice((1, 1, 3))) if player.adds else 1
            writes -= together
            if not await self._may_write():
                return
            self._writes_in_hand += together
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(together):
                        group.create_task(self._guarded(self._write(player, keyed=keyed, by_server=by_server)))
            finally:
                self._writes_in_hand -= together
            if rng.random() < _READ_SHARE:
                await self._read(player)

    async def _guarded(self, write: Any) -> None:
        try:
            await write
        except Violation as error:
            self._ledger.report(str(error))

    async def _write(self, player: Player, *, keyed: bool, by_server: bool) -> None:
        number = player.begin()
        amount = player.amount(number)
        if by_server:
            await self._submit(player, number, keyed=keyed)
        elif player.adds:
            await self._post(player, number, "/score/add", {"delta": amount}, player.token, keyed=keyed)
        else:
            await self._post(player, number, "/score/update", {"score": amount}, player.token, keyed=keyed)

    async def _submit(self, player: Player, number: int, *, keyed: bool = True) -> None:
        """A server sets a score; number 0 makes the player, with certainty."""
        body = {"user_id": player.user_id, "region": player.region, "score": number, "name": player.name}
        await self._post(player, number, "/score", body, self._server, keyed=keyed, must=number == 0)
        if number == 0:
            self._ledger.created(player)

    async def _post(
        self,
        player: Player,
        number: int,
        path: str,
        body: dict[str, Any],
        token: str,
        *,
        keyed: bool,
        must: bool = False,
    ) -> None:
        """Send a write: once without a key; with one until it is acknowledged, or now and then until patience ends."""
        ledger, headers = self._ledger, {"Authorization": f"Bearer {token}"}
        key = secrets.token_hex(8)
        if keyed:
            headers["Idempotency-Key"] = key
        unsure = False

        async def once() -> bool:
            nonlocal unsure
            patience = IMPATIENT_SECONDS if keyed and self._rng.random() < 0.2 else REQUEST_SECONDS
            answer = await self._send("POST", path, json=body, headers=headers, timeout=patience)
            if answer is not None and answer.ok:
                if number not in player.applied(answer.body["score"]):
                    raise Violation(f"{player.user_id}: write {number} was answered with {answer.body}")
                if must:
                    return True
                ledger.settle(player, number, Fate.DONE)
                if keyed:
                    self.repeatable.append(Repeatable(path, body, token, key, answer.body))
                return True
            if answer is not None and answer.status in (404, 409):
                raise Violation(f"{player.user_id} exists, and {path} said {answer.body}")
            unsure = unsure or answer is None or not answer.changed_nothing
            if not keyed:
                ledger.settle(player, number, Fate.OPEN if unsure else Fate.REFUSED)
                return True
            return unsure and not must and self._rng.random() < _GIVE_UP_SHARE

        await self._until(once, f"write {number} of {player.user_id} with key {key}")

    async def _may_write(self) -> bool:
        await self._writing_allowed.wait()
        return not self._stop.is_set()

    async def _until(self, once: Callable[[], Any], what: str) -> None:
        loop = asyncio.get_running_loop()
        stopped_at: float | None = None
        pause = 0.02
        while not await once():
            if self._stop.is_set():
                stopped_at = stopped_at or loop.time()
                if loop.time() - stopped_at > SETTLE_SECONDS:
                    raise Violation(f"{what} was not acknowledged {SETTLE_SECONDS:.0f} s after the last fault")
            await asyncio.sleep(pause * self._rng.uniform(0.5, 1.0))
            pause = min(pause * 2, 0.5)

    # Reading

    async def _read(self, player: Player) -> None:
        ledger, rng = self._ledger, self._rng
        board = rng.choice((player.region, "GLOBAL"))
        kind = rng.choice(("rank", "rank", "top", "around"))
        limit = rng.choice((5, 50))
        expected = Expectation.now(ledger, board)
        if kind == "top":
            answer = await self._send("GET", "/top", params={"region": board, "limit": limit})
        else:
            answer = await self._send("GET", f"/{kind}/{player.user_id}", params={"region": board})
        if answer is None or (not answer.ok and answer.status != 404):
            return
        if kind == "top":
            answers.check_top(expected, answer)
        elif kind == "rank":
            answers.check_rank(expected, answer, player.user_id)
        else:
            answers.check_around(expected, answer, player.user_id)

    async def _send(self, method: str, path: str, **options: Any) -> Answer | None:
        """One request; None when its connection broke or nobody answered. Raises Violation."""
        try:
            response = await self._http.request(method, path, **options)
        except httpx.TransportError as error:
            self._ledger.answers[f"{method} {type(error).__name__}"] += 1
            return None
        answer = answers.read_answer(f"{method} {path}", response)
        label = answer.code or (answer.source if method == "GET" else "done")
        self._ledger.answers[f"{method} {answer.status} {label}"] += 1
        return answer
