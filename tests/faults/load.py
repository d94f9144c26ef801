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

from leaderboard_core.tokens import SECRET, Tokens
from tests.faults import answers
from tests.faults.answers import Answer, Expectation
from tests.faults.gate import Gate
from tests.faults.ledger import Ledger
from tests.faults.records import MAIN, MOST_WRITES, NEVER, Kind, Outcome, Player, Record, Violation

REQUEST_TIMEOUT_SECONDS = 40.0
"""Longer than any time-out on the way: within it comes an answer, or the connection breaks."""
SHORT_TIMEOUT_SECONDS = 1.0
SETTLE_SECONDS = 90.0
_PASSWORD = "correct horse battery staple"
_PASSWORD_SHARE, _GIVE_UP_SHARE, _READ_SHARE = 0.01, 0.02, 0.4
_BOARD_SHARE, _BOARD_READ_SHARE, _ENTRIES_READ_SHARE, _BY_SERVER_SHARE = 0.5, 0.4, 0.15, 0.3
_FORCE_SHARE, _REMOVAL_SHARE, _LEAVE_SHARE, _RETURN_SHARE, _MADE_ON_BOARD_SHARE = 0.15, 0.06, 0.08, 0.6, 0.3
_LAPS = 3
_FORGOTTEN = ("previous", "improved")


def repeats(first: Mapping[str, Any], again: Mapping[str, Any]) -> bool:
    """Whether an answer is that of a repeat: another version may say more, and a rebuild forgets what the score was."""
    if "results" in first:
        of_each = zip(first["results"], again.get("results", ()), strict=False)
        return len(first["results"]) == len(again.get("results", ())) and all(repeats(*pair) for pair in of_each)
    both = first.keys() & again.keys()
    forgotten = {name for name in _FORGOTTEN if again.get(name) is None}
    return len(both) > 2 and all(first[name] == again[name] for name in both - forgotten)


@dataclass(slots=True)
class Sent:
    """A write of a call, until its outcome is known; `at` is the ledger's clock when it was begun."""

    record: Record
    number: int
    at: int
    unsure: bool = False
    answer: dict[str, Any] | None = None

    @property
    def is_creation(self) -> bool:
        """Whether it is what makes a setting player, which whoever sent it records."""
        return self.number == 0 and self.record.board == MAIN and not self.record.adds


@dataclass(frozen=True, slots=True)
class Repeatable:
    """An acknowledged write with an Idempotency-Key, repeated at the end."""

    user_id: str
    path: str
    body: dict[str, Any]
    token: str
    key: str
    answer: dict[str, Any]


class LoadGenerator:
    """Run `clients` coroutines; each creates a player, writes a few times, reads in between, and starts over.

    `pause_seconds` is how long each waits before the next player. Where the ledger knows of boards besides `main`, they
    write there too, entries are removed now and then, and some players are deleted and come back.
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
        await self._make(self._ledger.new_player(user_id, f"Name of {user_id}", region, adds=False))

    async def make_adding_player(self, region: str) -> Player:
        """Create a player, also while writes are paused. Raises Violation."""
        user_id = f"once-{secrets.token_hex(6)}"
        player = self._ledger.new_player(user_id, f"Name of {user_id}", region, adds=True)
        player.token = self._tokens.issue(user_id, player.name, region)
        await self._register(player)
        return player

    async def add(self, player: Player, adds: int) -> None:
        """Add so often, and write to all boards once, until all is acknowledged. Raises Violation."""
        async with asyncio.TaskGroup() as group:
            for _ in range(adds):
                group.create_task(self._write(player, keyed=True, by_server=False, must=True))
            if self._ledger.boards:
                group.create_task(self._write_to_boards(player, tuple(self._ledger.boards), must=True))

    async def make_racer(self, region: str) -> Player:
        """Create a player with a few entries in the ranking of the best, whose next one is better. Raises Violation."""
        player = self._ledger.new_player(f"once-{secrets.token_hex(6)}", "Racer", region, adds=False)
        await self._submit(player, 0)
        for _ in range(_LAPS):
            await self.race(player)
        return player

    async def race(self, player: Player, *, sees_all: bool = True) -> None:
        """Write once to each board that keeps the best, until that is acknowledged. Raises Violation.

        Its answer may lack what was acknowledged before unless it `sees_all`.
        """
        for name, rules in self._ledger.boards.items():
            if rules.operator == "best":
                write = self._begin(self._ledger.entry(player, name))
                write.at = write.at if sees_all else 0
                await self._post(
                    player,
                    [write],
                    "/score",
                    self._submitted(player, write, "score"),
                    self._server,
                    keyed=True,
                    must=True,
                )

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
        rng, ledger = self._rng, self._ledger
        user_id = f"{rng.choice('abcxyz')}-{secrets.token_hex(6)}"
        kind = rng.random()
        if not await self._write_allowed():
            return None
        with self._writes.inside():
            leaves = bool(ledger.boards) and rng.random() < _LEAVE_SHARE
            player = ledger.new_player(user_id, f"Name of {user_id}", region, adds=kind < 0.6, leaves=leaves)
            player.token = self._tokens.issue(user_id, player.name, region)
            if kind > 0.85:
                await self._make(player)
            else:
                await self._register(player)
            return player

    async def _make(self, player: Player) -> None:
        """Create a player as a server, by its score on `main`, or by one on another board; it has 0 on `main` then."""
        boards = tuple(self._ledger.boards)
        if boards and (player.adds or (not player.kept_from and self._rng.random() < _MADE_ON_BOARD_SHARE)):
            player.expect()
            free = [name for name in boards if self._takes(player, name)]
            record = self._ledger.entry(player, self._rng.choice(free)) if free else player
            await self._write_one(player, record, keyed=True, by_server=True, must=True)
            self._ledger.created(player)
        else:
            await self._submit(player, player.begin() if player.kept_from else 0)

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
        writes = min(MOST_WRITES - 1 - len(player.outcomes), int(rng.expovariate(1 / 5)))
        by_server = not player.adds and rng.random() < _BY_SERVER_SHARE
        # Without a key a write may come after the deletion, and make a player that nobody knows of.
        keyed = rng.random() < 0.6 or player.leaves
        while writes > 0 and not self._stop.is_set():
            together = min(writes, rng.choice((1, 1, 3))) if player.adds else 1
            writes -= together
            on_boards = bool(self._ledger.boards) and rng.random() < _BOARD_SHARE
            if not await self._write_allowed():
                return
            with self._writes.inside(together):
                if on_boards:
                    await self._guarded(self._turn(player, keyed=keyed))
                else:
                    async with asyncio.TaskGroup() as group:
                        for _ in range(together):
                            group.create_task(self._guarded(self._write(player, keyed=keyed, by_server=by_server)))
            if rng.random() < _READ_SHARE:
                async with self._one_read():
                    await self._read(player)
        if player.leaves and player.token and await self._write_allowed():
            with self._writes.inside():
                await self._leave(player)
                returns = rng.random() < _RETURN_SHARE
                if returns:
                    await self._make(player)
            if returns:
                await self._play(player)

    async def _guarded(self, write: Any) -> None:
        try:
            await write
        except Violation as error:
            self._ledger.report(str(error))

    async def _turn(self, player: Player, *, keyed: bool) -> None:
        """Write to one board, or to several by one call, or take an entry off."""
        rng, boards = self._rng, tuple(self._ledger.boards)
        there = [entry for entry in player.entries.values() if entry.created_at != NEVER and not entry.closed]
        if there and rng.random() < _REMOVAL_SHARE:
            await self._remove(rng.choice(there))
        elif rng.random() < 0.5:
            names = (MAIN, *boards)
            await self._write_to_boards(player, rng.sample(names, rng.randint(2, len(names))), keyed=keyed)
        elif free := [name for name in boards if self._takes(player, name)]:
            entry = self._ledger.entry(player, rng.choice(free))
            await self._write_one(player, entry, keyed=keyed, by_server=rng.random() < _BY_SERVER_SHARE)

    def _takes(self, player: Player, board: str) -> bool:
        """Whether more may be written to a player's record on a board."""
        record = player if board == MAIN else player.entries.get(board)
        return record is None or not record.full

    async def _write_to_boards(
        self, player: Player, boards: Sequence[str], *, keyed: bool = True, must: bool = False
    ) -> None:
        """Write to several boards by one call, as a player's own or a server."""
        records = [
            player if name == MAIN else self._ledger.entry(player, name) for name in boards if self._takes(player, name)
        ]
        writes = [self._begin(record) for record in records]
        body = {"scores": [self._item(player, write) for write in writes]}
        by_server = not player.token or self._rng.random() < _BY_SERVER_SHARE
        token = self._server if by_server else player.token
        if writes:
            await self._post(player, writes, "/scores", body, token, keyed=keyed, must=must)

    def _begin(self, record: Record) -> Sent:
        at = self._ledger.clock
        return Sent(record, record.begin(), at)

    def _item(self, player: Player, write: Sent) -> dict[str, Any]:
        """Return a score as /scores takes it: an add, where that is none, or a score that the board adds."""
        record = write.record
        adds = record.adds and (not self._sums(record) or self._rng.random() < 0.5)
        return self._submitted(player, write, "delta" if adds else "score")

    def _submitted(self, player: Player, write: Sent, field: str) -> dict[str, Any]:
        who = {"user_id": player.user_id, "region": player.region, "name": player.name}
        return who | self._score(write, field)

    @staticmethod
    def _score(write: Sent, field: str) -> dict[str, Any]:
        """Return what says a score: where that is the best, with the write's number beside it."""
        record = write.record
        score: dict[str, Any] = {field: record.amount(write.number)}
        if record.board != MAIN:
            score["board"] = record.board
        if record.kind is Kind.BEST:
            score["metadata"] = {"write": write.number}
        return score

    def _sums(self, record: Record) -> bool:
        return record.board != MAIN and self._ledger.boards[record.board].operator == "sum"

    async def _write(self, player: Player, *, keyed: bool, by_server: bool, must: bool = False) -> None:
        await self._write_one(player, player, keyed=keyed, by_server=by_server, must=must)

    async def _write_one(
        self, player: Player, record: Record, *, keyed: bool, by_server: bool, must: bool = False
    ) -> None:
        """Write to one board, by whichever call does that."""
        write = self._begin(record)
        by_server = by_server or not player.token
        token = self._server if by_server else player.token
        submits = not record.adds or self._sums(record)
        path = "/score/add" if record.adds else "/score/update"
        body = self._score(write, "delta" if record.adds else "score")
        if submits and (by_server or (record.board != MAIN and self._rng.random() < _BY_SERVER_SHARE)):
            path, body = "/score", self._submitted(player, write, "score")
            corrected = record.correction(write.number)
            if corrected is not None and token == self._server and self._rng.random() < _FORCE_SHARE:
                record.corrections.add(write.number)
                body |= {"score": corrected, "force": True}
                if record.kind is not Kind.SETS:
                    keyed = must = True  # one that came late would undo what was written since
        elif by_server:
            path, body = "/scores", {"scores": [self._item(player, write)]}
        await self._post(player, [write], path, body, token, keyed=keyed, must=must)

    async def _submit(self, player: Player, number: int, *, keyed: bool = True) -> None:
        """Create a player as a server by setting its score, repeated until acknowledged."""
        write = Sent(player, number, self._ledger.clock)
        body = self._submitted(player, write, "score")
        await self._post(player, [write], "/score", body, self._server, keyed=keyed, must=True)
        self._ledger.created(player)

    async def _post(
        self,
        player: Player,
        writes: Sequence[Sent],
        path: str,
        body: dict[str, Any],
        token: str,
        *,
        keyed: bool,
        must: bool = False,
    ) -> None:
        """Send writes by one call: once without a key; with a key until acknowledged, a few of them given up at random.

        None of a player who is to be deleted is given up: it could come later than that.
        """
        ledger, headers, must = self._ledger, {"Authorization": f"Bearer {token}"}, must or player.leaves
        key = secrets.token_hex(8)
        if keyed:
            headers["Idempotency-Key"] = key

        async def once() -> bool:
            timeout = SHORT_TIMEOUT_SECONDS if keyed and self._rng.random() < 0.2 else REQUEST_TIMEOUT_SECONDS
            answer = await self._send("POST", path, json=body, headers=headers, timeout=timeout)
            if answer is not None and not answer.ok and answer.status in (404, 409):
                raise Violation(f"{player.user_id} exists, and {path} said {answer.body}")
            results = [answer] * len(writes) if path != "/scores" or answer is None else answer.results(len(writes))
            for write, result in zip(writes, results, strict=True):
                self._heed(write, result)
            if all(write.answer is not None for write in writes):
                if keyed and answer is not None and not writes[0].is_creation:
                    self.repeatable.append(Repeatable(player.user_id, path, body, token, key, answer.body))
                return True
            open_ones = [write for write in writes if write.answer is None]
            if not keyed:
                for write in open_ones:
                    ledger.settle(write.record, write.number, Outcome.UNKNOWN if write.unsure else Outcome.REFUSED)
                return True
            unsure = any(write.unsure for write in open_ones)
            return unsure and not must and self._rng.random() < _GIVE_UP_SHARE

        what = ", ".join(f"write {write.number} of {write.record}" for write in writes)
        await self._until(once, f"{what} with key {key}")

    def _heed(self, write: Sent, answer: Answer | None) -> None:
        """Record what an attempt has told of a write. Raises Violation."""
        if answer is None or not answer.ok:
            write.unsure = write.unsure or answer is None or not answer.changed_nothing
            return
        if write.answer is not None:
            if not repeats(write.answer, answer.body):
                raise Violation(
                    f"{write.record}: write {write.number} was answered {answer.body}, first {write.answer}"
                )
            return
        write.record.check_answer(write.number, write.at, answer.body)
        write.answer = answer.body
        if not write.is_creation:
            self._ledger.settle(write.record, write.number, Outcome.ACKNOWLEDGED)

    # Taking away

    async def _remove(self, entry: Record) -> None:
        """Take an entry off its board; one that may be taken off later again is left alone from then on."""
        exists, unsure = entry.created_at != NEVER, False
        self._ledger.begin_removal(entry)
        path, headers = f"/boards/{entry.board}/entries/{entry.user_id}", {"Authorization": f"Bearer {self._server}"}

        async def once() -> bool:
            nonlocal unsure
            answer = await self._send("DELETE", path, headers=headers)
            if answer is not None and answer.ok:
                if exists and not unsure and not answer.body["removed"]:
                    raise Violation(f"{entry} exists, and its removal said {answer.body}")
                return True
            if answer is not None and answer.status in (404, 409):
                raise Violation(f"{entry} exists, and its removal said {answer.body}")
            unsure = unsure or answer is None or not answer.changed_nothing
            return False

        await self._until(once, f"the removal of {entry}")
        self._ledger.removed(entry)
        entry.closed = unsure

    async def _leave(self, player: Player) -> None:
        """Delete a player with all its entries, by its own token or a server's."""
        own = player.token and self._rng.random() < 0.5
        token = self._tokens.issue(player.user_id, player.name, player.region, method=SECRET) if own else self._server
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": secrets.token_hex(8)}
        self._ledger.begin_removal(*player.records)

        async def once() -> bool:
            answer = await self._send("DELETE", f"/users/{player.user_id}", headers=headers)
            if answer is not None and answer.status in (404, 409):
                raise Violation(f"{player} exists, and its deletion said {answer.body}")
            return answer is not None and answer.ok

        await self._until(once, f"the deletion of {player}")
        self._ledger.removed(*player.records)
        player.token = player.secret = ""
        # What it was answered is no answer for its successor.
        self.repeatable[:] = [one for one in self.repeatable if one.user_id != player.user_id]

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
        drawn = rng.random() if ledger.boards else 1.0
        if drawn < _ENTRIES_READ_SHARE:
            await self._read_entries(player)
            return
        board = rng.choice(tuple(ledger.boards)) if drawn < _ENTRIES_READ_SHARE + _BOARD_READ_SHARE else MAIN
        region = rng.choice((player.region, "GLOBAL"))
        params: dict[str, Any] = {}
        if board != MAIN:
            rules = ledger.boards[board]
            region = region if rules.regions else "GLOBAL"
            params = {"board": board, "metadata": "true"} if rules.metadata_bytes else {"board": board}
        kind = rng.choice(("rank", "rank", "top", "around"))
        limit = rng.choice((5, 50))
        expected = Expectation.now(ledger, region, board)
        if kind == "top":
            answer = await self._send("GET", "/top", params={"region": region, "limit": limit, **params})
        else:
            answer = await self._send("GET", f"/{kind}/{player.user_id}", params={"region": region, **params})
        if answer is None or (not answer.ok and answer.status != 404):
            return
        if kind == "top":
            answers.check_top(expected, answer)
        elif kind == "rank":
            answers.check_rank(expected, answer, player.user_id)
        else:
            answers.check_around(expected, answer, player.user_id)

    async def _read_entries(self, player: Player) -> None:
        expected = answers.expect_entries(self._ledger, player)
        answer = await self._send("GET", f"/users/{player.user_id}/entries")
        if answer is not None and (answer.ok or answer.status == 404):
            answers.check_entries(expected, answer, player.user_id)

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
