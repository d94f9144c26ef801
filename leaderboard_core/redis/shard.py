"""Run scripts and commands on one Redis, behind its readiness gate and with the errors that callers see."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import redis.asyncio as redis
from redis.exceptions import MovedError, NoScriptError, ReadOnlyError, RedisError, ResponseError

from leaderboard_core.errors import Unavailable, WarmingUp, describe
from leaderboard_core.redis import lua
from leaderboard_core.redis.admission import Ask, ServerState, look, look_keys, read_look
from leaderboard_core.redis.breaker import CircuitBreaker
from leaderboard_core.redis.closed_transports import closed_transports
from leaderboard_core.redis.error_codes import UNKNOWN, explain, meaning_of, refused, unreachable
from leaderboard_core.redis.keys import Keys
from leaderboard_core.redis.partition import WHOLE, Partition
from leaderboard_core.redis.pipelining import Pipeliner
from leaderboard_core.redis.pooling import leave_connections
from leaderboard_core.redis.replies import ColdError

log = logging.getLogger(__name__)

LEAVE_SECONDS = 0.25
"""How often all connections are left at most: new ones may reach the same server, for as long as a name leads there."""
CONNECTION_ERRORS = (RedisError, OSError, asyncio.TimeoutError)
"""What the driver raises when a Redis is unavailable."""

_UNGATED = {name: script for name, script in lua.all_scripts().items() if not script.gated}


@dataclass(slots=True, eq=False)
class Shard:
    """One Redis: its client, its key prefix, and the regions whose players, or which part of them, it holds.

    The readiness gate: a script that trusts the boards holds the admission of the shard in its text, and runs only
    while `shard:admission` is that. It is loaded only after a look at the server has found the admission to be for
    its present life, and a new connection, or a server that says that it is a replica, is a reason to look again. Such
    a server may have a successor behind the same name, or a proxy, so all connections to it are left as well. A
    Redis that came back empty or older, or was a replica meanwhile, is thus neither read nor written before a worker
    has compared it with Postgres (docs/decisions/0016).
    """

    name: str
    variable: str
    client: redis.Redis
    keys: Keys
    regions: tuple[str, ...]
    pipeliner: Pipeliner
    writer: Pipeliner
    """For the scripts that answers rest on: `pipeliner` itself, or one that waits for replicas."""
    partition: Partition = WHOLE
    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    _usable: dict[str, lua.Script] = field(default_factory=lambda: dict(_UNGATED))
    _loading: dict[str, asyncio.Task[lua.Script]] = field(default_factory=dict)
    away_because: str = ""
    """What was wrong when a call last failed."""
    _doubts: int = 0
    _left_at: float = -LEAVE_SECONDS
    _leaving: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.pipeliner.greet = self.writer.greet = self._greet

    @property
    def scope(self) -> str:
        """Which players an admission of this shard is for."""
        return self.partition.encode_scope(self.regions)

    @property
    def database(self) -> int:
        """The number of its database on the server."""
        return int(self.client.connection_pool.connection_kwargs.get("db") or 0)

    async def run(self, script: str, keys: Sequence[str], args: Sequence[str | int] = ()) -> Any:
        """Run a script of `leaderboard_core/redis/lua` in one round trip (more, once, after a restart of Redis).

        Raises Unavailable when Redis does not answer (a write may then have been done or not), and
        WarmingUp when the script trusts the boards and they are not known to be complete.
        """
        loaded = self._usable.get(script)
        if loaded is None:
            loaded = await self._load(script)
        try:
            return await self._pipelined(loaded, ("EVALSHA", loaded.sha, len(keys), *keys, *args))
        except (NoScriptError, ColdError):
            self._forget(loaded)
        except Unavailable as problem:
            if not isinstance(problem.__cause__, MovedError):  # which has done nothing; a new connection looks again
                raise
        loaded = await self._load(script)
        try:
            return await self._pipelined(loaded, ("EVALSHA", loaded.sha, len(keys), *keys, *args))
        except ColdError as error:
            raise WarmingUp from error
        except NoScriptError as error:
            # Restarted again just now; or the load went to another server than this connection leads to.
            self.leave_connections()
            raise unreachable(error) from error

    async def _pipelined(self, script: lua.Script, words: Sequence[str | int]) -> Any:
        # As `_guarded`, without its generator: every call of a request comes through here.
        breaker = self.breaker
        permit = breaker.permit()
        if permit is None:
            raise unreachable(None)
        try:
            answer = await (self.writer if script.acknowledged else self.pipeliner).execute(words)
        except BaseException as error:  # noqa: BLE001 - raised again, as itself or as what it means
            self._raise(error, permit)
        breaker.succeeded(permit)
        return answer

    async def command(self, *words: str | int | float) -> Any:
        """Run one Redis command. Raises Unavailable when Redis does not answer."""
        with self._guarded():
            return await self.client.execute_command(*words)  # type: ignore[no-untyped-call]

    async def pipeline(self, commands: Iterable[Sequence[str | int]]) -> list[Any]:
        """Run commands in one round trip and one transaction. Raises Unavailable."""
        with self._guarded():
            async with self.client.pipeline(transaction=True) as pipe:
                for words in commands:
                    pipe.execute_command(*words)
                return await pipe.execute()

    async def look(self) -> ServerState:
        """Look at the server; an admission of another life of it is closed by that. Raises Unavailable.

        What is not open is not served by this process any more, and a replica is left.
        """
        words = (self.scope,)
        state = read_look(await self.run("look_at_server", look_keys(self.keys), words))
        if state.state == "replica":
            self.leave_connections()
        elif not state.is_open:
            self._forget_gated()
        return state

    def leave_connections(self) -> None:
        """Make new connections for what is asked from now on, to whichever server they then reach.

        What is in flight gets its own answer. Before anything that trusts the boards is run again, the server is
        looked at.
        """
        self._forget_gated()  # once it is written to again, it may have missed what another took
        now = time.monotonic()
        if now - self._left_at >= LEAVE_SECONDS:
            self._left_at = now
            self.pipeliner.renew()
            self.writer.renew()
            self._leaving = asyncio.create_task(leave_connections(self.client.connection_pool))

    async def is_ready(self) -> bool:
        """Whether this life of the server is known to hold all its data. Raises Unavailable."""
        return (await self.look()).is_open

    async def now(self) -> int:
        """Read this Redis' clock: µs since the epoch. Raises Unavailable."""
        seconds, micros = await self.command("TIME")
        return int(seconds) * 1_000_000 + int(micros)

    async def report_incomplete(self, user_id: str) -> None:
        """Let a worker restore a player who is on a board without a hash. Raises Unavailable."""
        log.error("a player's hash is gone from redis", extra={"shard": self.name, "user_id": user_id})
        await self.command("ZADD", self.keys.incomplete, "NX", await self.now(), user_id)

    async def reachable(self) -> str | None:
        """Ping Redis: None when it answers, else what is wrong and what to do."""
        try:
            with closed_transports():
                await self.client.ping()
        except CONNECTION_ERRORS as error:
            return explain(error) or f"{describe(error).rstrip('.')}. Start Redis, or set the variable to where it runs"
        return None

    async def configured(self, name: str) -> str | None:
        """Read a setting of the server; None on a managed one that does not show its own. Raises Unavailable."""
        with self._guarded():
            try:
                found = await self.client.config_get(name)
            except ResponseError:
                return None
        return found.get(name)

    async def configure(self, name: str, value: str) -> bool:
        """Change a setting of the server until its restart; False on one that does not allow it. Raises Unavailable."""
        with self._guarded():
            try:
                await self.client.config_set(name, value)
            except ResponseError:
                return False
        return True

    async def _greet(self, ask: Ask) -> None:
        """Look at the server behind a connection that is new, before anything is asked of it."""
        state = await look(ask, self.keys, self.scope)
        if not state.is_open:
            self._forget_gated()

    def _forget(self, script: lua.Script) -> None:
        """Use a script no longer as it was loaded, and if it is gated none of its admission."""
        if self._usable.get(script.name) is not script:
            return  # another caller has seen it too
        if script.gated_under:
            self._forget_gated()
        else:
            del self._usable[script.name]

    def _forget_gated(self) -> None:
        self._doubts += 1
        for name in [name for name, script in self._usable.items() if script.gated_under]:
            del self._usable[name]

    async def _load(self, name: str) -> lua.Script:
        """Load a script; callers that need it while it is being loaded share the load."""
        usable = self._usable.get(name)
        if usable is not None:
            return usable
        loading = self._loading.get(name)
        if loading is None:
            loading = self._loading[name] = asyncio.create_task(self._load_now(lua.load(name)))
            loading.add_done_callback(lambda _: self._loading.pop(name))
        return await asyncio.shield(loading)

    async def _load_now(self, script: lua.Script) -> lua.Script:
        # One connection, so that the server looked at is the one that loads.
        with self._guarded():
            async with self.client.client() as connection:
                doubts = self._doubts
                if script.gated:
                    state = await look(connection.execute_command, self.keys, self.scope)
                    if state.state == "replica":
                        raise ReadOnlyError("the server is a replica", status_code="READONLY")
                    if not state.is_open:
                        raise state.refusal
                    script = script.under(state.text)
                await connection.script_load(script.source)
        if not script.gated or doubts == self._doubts:
            self._usable[script.name] = script  # else something spoke against it since the look: once more next time
        return script

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        permit = self.breaker.permit()
        if permit is None:
            raise unreachable(None)
        try:
            with closed_transports():
                yield
        except BaseException as error:  # noqa: BLE001 - raised again, as itself or as what it means
            self._raise(error, permit)
        self.breaker.succeeded(permit)

    def _raise(self, error: BaseException, permit: int) -> NoReturn:
        """Report the outcome to the breaker, and raise what the caller is to see."""
        match error:
            case NoScriptError() | ColdError() | WarmingUp():
                self.breaker.succeeded(permit)
                raise error
            case RedisError() if (meaning := meaning_of(error)) is not None:
                if meaning.away:
                    self.away_because = meaning.health
                    self.breaker.failed(permit)
                else:
                    self.breaker.succeeded(permit)
                if meaning.drops:
                    self.leave_connections()
                raise refused(error, meaning, self.variable, self.name) from error
            case ResponseError():
                self.breaker.succeeded(permit)
                raise refused(error, UNKNOWN, self.variable, self.name) from error
            case _ if isinstance(error, CONNECTION_ERRORS):
                self.away_because = type(error).__name__
                self.breaker.failed(permit)
                problem = unreachable(error)
                problem.add_note(f"{self.variable}: {self.name}: {describe(error)}")  # for operators, never for clients
                raise problem from error
            case _:
                self.breaker.abandoned(permit)
                raise error
