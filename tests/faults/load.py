"""Generate load: short-lived players write and read, and record each answer in the ledger."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from leaderboard_core.tokens import Tokens
from tests.faults import answers
from tests.faults.answers import Answer, Expectation
from tests.faults.gate import Gate
from tests.faults.ledger import MOST_WRITES, NEVER, Ledger, Outcome, Player, Violation

REQUEST_TIMEOUT_SECONDS = 40.0
"""Longer than any time-out on the way: within it comes an answer, or the connection breaks."""
SHORT_TIMEOUT_SECONDS = 1.0
SETTLE_SECONDS = 90.0
_PASSWORD = "correct horse battery staple"
_PASSWORD_SHARE, _GIVE_UP_SHARE, _READ_SHARE = 0.01, 0.02, 0.4
_FORGOTTEN = ("previous", "improved")


def repeats(first: Mapping[str, Any], again: Mapping[str, Any]) -> bool:
    """Whether an answer is that of a repeat: another version may say more, and a rebuild forgets what the score was."""
    both = first.keys() & again.keys()
    forgotten = {name for name in _FORGOTTEN if again.get(name) is None}
    return len(both) > 2 and all(first[name] == again[name] for name in both - forgotten)


@dataclass(frozen=True, slots=True)
class Repeatable:
    """An acknowledged write with an Idempotency-Key, repeated at the end."""

    path: str
    body: dict[str, Any]
    token: str
    key: str
    answer: dict[str, Any]


class LoadGenerator:
    """Run `clients` coroutines; each creates a player, writes a few times, reads in between, and starts over.

    `pause_seconds` is how long each waits before the next player.
    """

    def __init__(
        self,
        url: str,
        ledger: Ledger,
        tokens: Tokens,
        rng: random.Random,
        *,
        clients: int = 12,
        pause_seconds: float = 0.0,
    ) -> None:
        self._ledger = ledger
        self._tokens = tokens
        self._rng = rng
        self._clients = clients
        self._pause_seconds = pause_seconds
        self._url = url
        self._stop = asyncio.Event()
        self._writes, self._reads = Gate("writes", SETTLE_SECONDS), Gate("reads", SETTLE_SECONDS)
        self._server = tokens.issue("server-1", "Game server", "GLOBAL", role="server")
        self.repeatable: list[Repeatable] = []
        # A connection for each client and one to spare: the pool must not be what a request waits for.
        self._limits = httpx.Limits(max_connections=clients * 6, max_keepalive_connections=clients * 2)

    async def run(self) -> None:
        """Write and read until `stop()`; writes in flight are then repeated until they are acknowledged."""
        async with httpx.AsyncClient(base_url=self._url, timeout=REQUEST_TIMEOUT_SECONDS, limits=self._limits) as http:
            self._http = http
            async with asyncio.TaskGroup() as group:
                for number in range(self._clients):
                    region = self._ledger.regions[number % len(self._ledger.regions)]
                    group.create_task(self._client(region))

    def stop(self) -> None:
        """Begin no new request."""
        self._stop.set()
        self._writes.let_go()
        self._reads.let_go()

    @asynccontextmanager
    async def writes_paused(self) -> AsyncIterator[None]:
        """Let no write be in flight inside this block, of which there may be several at once; reads go on."""
        async with self._writes.closed():
            yield

    @asynccontextmanager
    async def reads_paused(self) -> AsyncIterator[None]:
        """Let no read be in flight inside this block, of which there may be several at once."""
        async with self._reads.closed():
            yield

    @asynccontextmanager
    async def _one_read(self) -> AsyncIterator[None]:
        """Wait until reading is allowed, and count as in flight inside this block."""
        await self._reads.opened()
        with self._reads.inside():
            yield

    async def repeat_some(self, count: int, among: Sequence[Repeatable] | None = None) -> None:
        """Repeat acknowledged writes (all, or those named) with their keys: each must get its first answer.

        Raises Violation.
        """
        answered = self.repeatable if among is None else among
        chosen = self._rng.sample(answered, min(count, len(answered)))
        async with httpx.AsyncClient(base_url=self._url, timeout=REQUEST_TIMEOUT_SECONDS) as http:
            for one in chosen:
                headers = {"Authorization": f"Bearer {one.token}", "Idempotency-Key": one.key}
                response = await http.post(one.path, json=one.body, headers=headers)
                if not repeats(one.answer, response.json()):
                    raise Violation(f"a repeated key got {response.text}, first {one.answer}")

    async def read_some(self, count: int) -> None:
        """Read that many random players beside what the clients do. Raises Violation."""
        created = [player for player in self._ledger.players.values() if player.created_at != NEVER]
        for player in self._rng.choices(created, k=count):
            async with self._one_read():
                await self._read(player)

    async def make_player(self, region: str) -> None:
        """Create a player that never writes again, also while writes are paused. Raises Violation."""
        user_id = f"once-{secrets.token_hex(6)}"
        await self._submit(self._ledger.new_player(user_id, f"Name of {user_id}", region, adds=False), 0)

    async def make_adding_player(self, region: str, adds: int) -> Player:
        """Create a player with that many acknowledged adds, also while writes are paused. Raises Violation."""
        user_id = f"once-{secrets.token_hex(6)}"
        player = self._ledger.new_player(user_id, f"Name of {user_id}", region, adds=True)
        player.token = self._tokens.issue(user_id, player.name, region)
        await self._register(player)
        async with asyncio.TaskGroup() as group:
            for _ in range(adds):
                group.create_task(self._write(player, keyed=True, by_server=False, must=True))
        return player

    async def _client(self, region: str) -> None:
        while not self._stop.is_set():
            try:
                player = await self._create(region)
                if player is not None:
                    await self._play(player)
                await asyncio.sleep(self._pause_seconds)
            except Violation as error:
                self._ledger.report(str(error))
                if self._ledger.violations:
                    return

    # Creating players

    async def _create(self, region: str) -> Player | None:
        rng = self._rng
        user_id = f"{rng.choice('abcxyz')}-{secrets.token_hex(6)}"
        kind = rng.random()
        if not await self._write_allowed():
            return None
        with self._writes.inside():
            player = self._ledger.new_player(user_id, f"Name of {user_id}", region, adds=kind < 0.6)
            player.token = self._tokens.issue(user_id, player.name, region)
            if kind > 0.85:
                await self._submit(player, 0)
            else:
                await self._register(player)
            return player

    async def _register(self, player: Player) -> None:
        body = {"user_id": player.user_id, "name": player.name, "region": player.region}
        who = {"user_id": player.user_id, "name": player.name}
        if self._rng.random() < _PASSWORD_SHARE:
            who["password"] = body["password"] = _PASSWORD
        unsure = False

        async def once() -> bool:
            nonlocal unsure
            answer = await self._send("POST", "/auth/register", json=body)
            if answer is not None and answer.ok:
                player.secret = str(answer.body.get("secret", ""))
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
            if not await self._write_allowed():
                return
            with self._writes.inside(together):
                async with asyncio.TaskGroup() as group:
                    for _ in range(together):
                        group.create_task(self._guarded(self._write(player, keyed=keyed, by_server=by_server)))
            if rng.random() < _READ_SHARE:
                async with self._one_read():
                    await self._read(player)

    async def _guarded(self, write: Any) -> None:
        try:
            await write
        except Violation as error:
            self._ledger.report(str(error))

    async def _write(self, player: Player, *, keyed: bool, by_server: bool, must: bool = False) -> None:
        number = player.begin()
        amount = player.amount(number)
        if by_server:
            await self._submit(player, number, keyed=keyed)
        elif player.adds:
            await self._post(player, number, "/score/add", {"delta": amount}, player.token, keyed=keyed, must=must)
        else:
            await self._post(player, number, "/score/update", {"score": amount}, player.token, keyed=keyed)

    async def _submit(self, player: Player, number: int, *, keyed: bool = True) -> None:
        """Set a score as a server; number 0 creates the player and is repeated until acknowledged."""
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
        """Send a write: once without a key; with a key until acknowledged, a few of them given up at random."""
        ledger, headers = self._ledger, {"Authorization": f"Bearer {token}"}
        key = secrets.token_hex(8)
        if keyed:
            headers["Idempotency-Key"] = key
        unsure = False

        async def once() -> bool:
            nonlocal unsure
            timeout = SHORT_TIMEOUT_SECONDS if keyed and self._rng.random() < 0.2 else REQUEST_TIMEOUT_SECONDS
            answer = await self._send("POST", path, json=body, headers=headers, timeout=timeout)
            if answer is not None and answer.ok:
                if number not in player.applied(answer.body["score"]):
                    raise Violation(f"{player.user_id}: write {number} was answered with {answer.body}")
                if number == 0 and not player.adds:
                    return True  # its creation, which whoever sent it records
                ledger.settle(player, number, Outcome.ACKNOWLEDGED)
                if keyed:
                    self.repeatable.append(Repeatable(path, body, token, key, answer.body))
                return True
            if answer is not None and answer.status in (404, 409):
                raise Violation(f"{player.user_id} exists, and {path} said {answer.body}")
            unsure = unsure or answer is None or not answer.changed_nothing
            if not keyed:
                ledger.settle(player, number, Outcome.UNKNOWN if unsure else Outcome.REFUSED)
                return True
            return unsure and not must and self._rng.random() < _GIVE_UP_SHARE

        await self._until(once, f"write {number} of {player.user_id} with key {key}")

    async def _write_allowed(self) -> bool:
        await self._writes.opened()
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
        """Send one request; None when the connection broke or timed out. Raises Violation."""
        try:
            response = await self._http.request(method, path, **options)
        except httpx.TransportError as error:
            self._ledger.answers[f"{method} {type(error).__name__}"] += 1
            return None
        answer = answers.read_answer(f"{method} {path}", response)
        label = answer.code or (answer.source if method == "GET" else "done")
        self._ledger.answers[f"{method} {answer.status} {label}"] += 1
        return answer
