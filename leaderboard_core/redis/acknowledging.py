"""Answer writes only when enough replicas have them: one WAIT behind everything that is asked meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from functools import partial
from typing import Final, TypeAlias

from hiredis import pack_command
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from leaderboard_core.redis.admission import Ask
from leaderboard_core.redis.error_codes import code_of, meaning_of, unreachable
from leaderboard_core.redis.pipelining import Greet, OpenConnection, Pipeliner
from leaderboard_core.redis.replies import Future, Replies
from leaderboard_core.redis.shard import CONNECTION_ERRORS, Shard
from leaderboard_core.settings import SettingsError

log = logging.getLogger(__name__)

Words: TypeAlias = tuple[str | int, ...]

PART_OF_TIMEOUT = 0.5
"""Of REDIS_TIMEOUT_SECONDS, how long a batch may wait: who asks behind one that fails waits for two."""
PART_OF_WAIT = 0.1
"""Of that, for how long a WAIT before a WAITAOF may hold it up; what a WAIT says then does not count."""


class CannotWait(ResponseError):
    """A server cannot say which replicas have a write on their disks."""


class AcknowledgingPipeliner(Pipeliner):
    """Runs writes over one connection, and answers them when `replicas` replicas have them.

    A WAIT covers what its connection wrote before. It also blocks the connection, so what is asked while one is awaited
    goes out as one batch behind it, with one WAIT of its own: the slower the replicas are, the more writes share one.
    With `fsync` replicas and server must have them on their disks.

    A write that too few have in time, or whose server became a replica meanwhile, raises UNCONFIRMED or DEMOTED of
    `error_codes`: it has been done on a server that may lose it.
    """

    def __init__(self, open_connection: OpenConnection, timeout: float, replicas: int, *, fsync: bool) -> None:
        super().__init__(open_connection)
        self.replicas = replicas
        self.fsync = fsync
        self.seconds = timeout * PART_OF_TIMEOUT
        self._waits: list[bytes] = []
        self._awaited: Replies | None = None

    async def choose(self, ask: Ask) -> list[Words]:
        """Choose the commands that a server understands. Raises CannotWait, or what the server says against it.

        A replica that is asked what it has on its disk says what it had when it was asked, which is before the fsync
        of what came with the question; next it tells by itself, once a second. So it is asked for what it has in memory
        first: it answers that after the fsync, if its appendfsync is always, and a WAITAOF is then answered at once.
        """
        milliseconds = max(2, round(self.seconds * 1000))
        if self.fsync and await _has_waitaof(ask):
            first = max(1, round(milliseconds * PART_OF_WAIT))
            return [("WAIT", self.replicas, first), ("WAITAOF", 1, self.replicas, milliseconds - first)]
        return [("WAIT", self.replicas, milliseconds)]

    async def _greet(self, ask: Ask, greet: Greet) -> None:
        await super()._greet(ask, greet)
        self._waits = [pack_command(words) for words in await self.choose(ask)]  # type: ignore[arg-type]

    def _flush(self) -> None:
        if self._awaited is None or self._awaited is not self._replies:
            super()._flush()

    def _send(self, replies: Replies, commands: list[bytes], futures: list[Future]) -> None:
        self._awaited = replies
        loop = asyncio.get_running_loop()
        answers: list[Future] = [loop.create_future() for _ in range(len(commands) + len(self._waits))]
        answers[-1].add_done_callback(partial(self._confirm, replies, futures, answers))
        replies.ask([*commands, *self._waits], answers)

    def _confirm(self, replies: Replies, futures: list[Future], answers: list[Future], wait: Future) -> None:
        if self._awaited is replies:
            self._awaited = None
        unconfirmed = self._unconfirmed(wait)
        # Of all, also for who has gone: asyncio reports an error that nobody has looked at.
        errors = [answer.exception() or unconfirmed for answer in answers]
        for future, answer, error in zip(futures, answers, errors, strict=False):
            if future.done():
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(answer.result())
        self._flush()

    def _unconfirmed(self, wait: Future) -> BaseException | None:
        """Say why the writes before a WAIT may be lost; None when enough replicas have them."""
        error = wait.exception()
        if error is None:
            found = wait.result()
            local, count = found if isinstance(found, list) else (1, found)
            if local >= 1 and count >= self.replicas:
                return None
            words = f"{count} of {self.replicas} replicas have it" + (
                "" if local else ", and the server itself has not"
            )
            return ResponseError(f"UNCONFIRMED {words}", status_code="UNCONFIRMED")
        return _demoted(error) if isinstance(error, RedisError) else error


_REPLICA: Final = "cannot be used with replica instances"


def _demoted(error: RedisError) -> RedisError:
    """Make DEMOTED of what a server says of its state: it had none of that when it did the writes."""
    known = meaning_of(error) is not None and code_of(error) != "NOPERM"
    return ResponseError(f"DEMOTED {error}", status_code="DEMOTED") if known or _REPLICA in str(error) else error


async def _has_waitaof(ask: Ask) -> bool:
    """Whether a server tells what is on disks; False when all that a WAIT counts is.

    That is so before Redis 7.2 where appendfsync is always: each turn of the loop sends its answers, and a replica its
    acknowledgements, after its fsync. Raises CannotWait.
    """
    try:
        await ask("WAITAOF", 1, 0, 1)
    except ResponseError as error:
        if _REPLICA in str(error):
            raise ReadOnlyError(str(error), status_code="READONLY") from error
        if "unknown command" not in str(error).lower():
            raise CannotWait(str(error)) from error
    else:
        return True
    for name, value in (("appendonly", "yes"), ("appendfsync", "always")):
        try:
            found = await ask("CONFIG", "GET", name)
        except ResponseError as refusal:
            raise CannotWait(f"it has no WAITAOF, and does not show its {name}: {refusal}") from refusal
        if value not in (found.values() if isinstance(found, dict) else found):
            raise CannotWait(f"it has no WAITAOF, which Redis has since 7.2, and its {name} is not {value}")
    return False


async def check_waits(shards: Iterable[Shard]) -> None:
    """Check before the start that each server can say what REDIS_WAIT_FSYNC asks of it.

    Raises SettingsError, or Unavailable.
    """
    for shard in shards:
        if isinstance(shard.writer, AcknowledgingPipeliner):
            try:
                async with shard.client.client() as connection:
                    await shard.writer.choose(connection.execute_command)
            except CannotWait as error:
                raise SettingsError(
                    f"REDIS_WAIT_FSYNC: {shard.name} cannot say which replicas have a write on their disks: {error}. "
                    "Correct that, or leave REDIS_WAIT_FSYNC out."
                ) from error
            except ReadOnlyError:
                log.warning("%s: it is a replica, which takes no writes", shard.name)
            except CONNECTION_ERRORS as error:
                raise unreachable(error) from error
