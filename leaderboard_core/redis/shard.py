"""Run scripts and commands on one Redis, behind its readiness gate and with the errors that callers see."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import redis.asyncio as redis
from redis.exceptions import BusyLoadingError, NoScriptError, RedisError, ResponseError

from leaderboard_core.errors import Unavailable, WarmingUp, describe
from leaderboard_core.redis import lua
from leaderboard_core.redis.breaker import CircuitBreaker
from leaderboard_core.redis.keys import Keys
from leaderboard_core.redis.pipelining import Pipeliner

log = logging.getLogger(__name__)

NEARLY_FULL = 0.9
CONNECTION_ERRORS = (RedisError, OSError, asyncio.TimeoutError)
"""What the driver raises when a Redis is unavailable."""


_GATED = frozenset(
    {
        "write_score",
        "write_scores",
        "delete_player",
        "read_top",
        "read_page",
        "read_rank",
        "read_ranks",
        "read_around",
        "count_above",
        "find_user",
        "claim_user",
    }
)
"""Scripts that trust the boards. They are loaded into a Redis only when it is ready: known to hold all its data."""


@dataclass(slots=True, eq=False)
class Shard:
    """One Redis: its client, its key prefix, and the regions whose players it holds.

    Redis forgets loaded scripts when it restarts, so the first EVALSHA of every incarnation of the server
    (run_id) fails. That failure is the readiness gate: a script that trusts the boards is loaded only if
    `shard:ready` names the present run_id, which a worker writes after comparing the data with Postgres. A
    Redis that came back empty or older is thus never read or written before it is rebuilt (docs/decisions/0007).
    """

    name: str
    variable: str
    client: redis.Redis
    keys: Keys
    regions: tuple[str, ...]
    pipeliner: Pipeliner
    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    _gate_passed: bool = False
    _scripts: dict[str, lua.Script] = field(default_factory=lua.all_scripts)
    _loading: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def run(self, script: str, keys: Sequence[str], args: Sequence[str | int] = ()) -> Any:
        """Run a script of `leaderboard_core/redis/lua` in one round trip (more, once, after a restart of Redis).

        Raises Unavailable when Redis does not answer (a write may then have been done or not), and
        WarmingUp when the script trusts the boards and they are not known to be complete.
        """
        loaded = self._scripts[script]
        words = ("EVALSHA", loaded.sha, len(keys), *keys, *args)
        if not self._gate_passed and script in _GATED:
            await self._load(loaded)  # our own start: the marker may name other regions than ours
        try:
            return await self._pipelined(words)
        except NoScriptError:
            await self._load(loaded)
        try:
            return await self._pipelined(words)
        except NoScriptError as error:
            raise unreachable(error) from error  # restarted again just now

    async def _pipelined(self, words: Sequence[str | int]) -> Any:
        # As `_guarded`, without its generator: every call of a request comes through here.
        breaker = self.breaker
        permit = breaker.permit()
        if permit is None:
            raise unreachable(None)
        try:
            answer = await self.pipeliner.execute(words)
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

    async def run_id(self) -> str:
        """Read the run_id, which names this incarnation of the server. Raises Unavailable."""
        return str((await self.command("INFO", "server"))["run_id"])

    def ready_value(self, run_id: str) -> str:
        """Build what `shard:ready` holds when the server of that run_id has every player of this shard's regions."""
        return f"{run_id} {','.join(sorted(self.regions))}"

    async def is_ready(self) -> bool:
        """Whether this incarnation of the server is known to hold all its data. Raises Unavailable."""
        run_id, ready = await asyncio.gather(self.run_id(), self.command("GET", self.keys.ready))
        return bool(self.ready_value(run_id) == ready)

    async def reachable(self) -> str | None:
        """Ping Redis: None when it answers, else what is wrong."""
        try:
            await self.client.ping()
        except CONNECTION_ERRORS as error:
            return describe(error)
        return None

    async def warnings(self) -> list[str]:
        """Name what about this server's configuration can lose data. Raises Unavailable."""
        with self._guarded():
            try:
                found = await self.client.config_get("maxmemory-policy", "appendonly")
                memory = await self.client.info("memory")
            except ResponseError:
                return []  # a managed Redis that does not show its configuration
        problems = []
        most, used = int(memory.get("maxmemory", 0)), int(memory["used_memory"])
        if most and used > most * NEARLY_FULL:
            problems.append(f"{used:,} of {most:,} bytes of maxmemory are used: writes will be refused; give it more")
        if found.get("maxmemory-policy", "noeviction") != "noeviction":
            problems.append(f"maxmemory-policy is {found['maxmemory-policy']}: players may vanish; set noeviction")
        if found.get("appendonly", "yes") != "yes":
            problems.append("appendonly is off: a crash of Redis loses the scores that are not in Postgres yet")
        return problems

    async def _load(self, script: lua.Script) -> None:
        """Load a script; callers that need it while it is being loaded share the load."""
        loading = self._loading.get(script.name)
        if loading is None:
            loading = self._loading[script.name] = asyncio.create_task(self._load_now(script))
            loading.add_done_callback(lambda _: self._loading.pop(script.name))
        await asyncio.shield(loading)

    async def _load_now(self, script: lua.Script) -> None:
        # One connection, so that the run_id asked for is that of the incarnation that loads.
        with self._guarded():
            async with self.client.client() as connection:
                if script.name in _GATED:
                    run_id = (await connection.info("server"))["run_id"]
                    if await connection.get(self.keys.ready) != self.ready_value(run_id):
                        raise WarmingUp
                    self._gate_passed = True
                await connection.script_load(script.source)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        permit = self.breaker.permit()
        if permit is None:
            raise unreachable(None)
        try:
            yield
        except BaseException as error:  # noqa: BLE001 - raised again, as itself or as what it means
            self._raise(error, permit)
        self.breaker.succeeded(permit)

    def _raise(self, error: BaseException, permit: int) -> NoReturn:
        """Report the outcome to the breaker, and raise what the caller is to see."""
        match error:
            case NoScriptError() | WarmingUp():
                self.breaker.succeeded(permit)
                raise error
            case ResponseError():
                self.breaker.succeeded(permit)
                log.warning("redis refused a command: %s", error, extra={"shard": self.name})
                raise Unavailable(
                    "A Redis server refuses commands (out of memory or read-only?); its log says why."
                ) from error
            case _ if isinstance(error, CONNECTION_ERRORS):
                self.breaker.failed(permit)
                problem = unreachable(error)
                problem.add_note(f"{self.variable}: {self.name}: {describe(error)}")  # for operators, never for clients
                raise problem from error
            case _:
                self.breaker.abandoned(permit)
                raise error


def unreachable(error: BaseException | None) -> Unavailable:
    """Make the error a caller sees when a shard does not answer; the driver's own words stay in the log."""
    if error is None:
        return Unavailable("A Redis server did not answer the last calls; nothing was done. Try again shortly.")
    reason = "is loading its data" if isinstance(error, BusyLoadingError) else "cannot be reached"
    return Unavailable(
        f"A Redis server {reason}; try again shortly. A write may have been done or not: repeat it with its "
        "Idempotency-Key."
    )
