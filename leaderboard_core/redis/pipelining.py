"""Pipeline automatically: what the tasks of one turn of the event loop ask of Redis goes out as one write."""

from __future__ import annotations

import asyncio
import select
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias, cast

import hiredis
import redis.asyncio as redis
from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,
    InvalidResponse,
    MasterDownError,
    MovedError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
)

Word: TypeAlias = str | bytes | int | float
Greet: TypeAlias = Callable[[AbstractConnection], Awaitable[None]]
Future: TypeAlias = "asyncio.Future[Any]"
Waiting: TypeAlias = "deque[Future]"


class ColdError(ResponseError):
    """A script was loaded for another admission than the one that stands now."""


# redis-py's own classes for what its callers tell apart; all else is a ResponseError.
_ERRORS: Final[dict[str, type[RedisError]]] = {
    "COLD": ColdError,
    "LOADING": BusyLoadingError,
    "MASTERDOWN": MasterDownError,
    "MOVED": MovedError,
    "NOAUTH": AuthenticationError,
    "NOSCRIPT": NoScriptError,
    "OOM": OutOfMemoryError,
    "READONLY": ReadOnlyError,
}


class Pipeliner:
    """Runs commands over one connection of its own. Redis answers in order: the n-th answer is the n-th command's.

    Commands are independent of each other: one that fails, or whose caller goes away, leaves the others alone.
    The connection is made by redis-py, which knows about passwords, TLS and databases, when the first command is
    asked, and again after it broke. `timeout` is the longest silence in seconds while answers are awaited. `greet`
    has a new connection to itself before the commands that wait for it are sent.
    """

    def __init__(self, pool: redis.ConnectionPool, timeout: float) -> None:
        self._pool = pool
        self._timeout = timeout
        self.greet: Greet | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked: list[bytes] = []
        self._futures: list[Future] = []
        self._replies: Replies | None = None
        self._left: set[Replies] = set()
        self._opening: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def execute(self, words: Sequence[Word]) -> Future:
        """Send one command; the future gives the raw answer or raises redis-py's errors."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()  # a system call each time, in Python 3.11
        packed = pack_command(tuple(words))  # type: ignore[arg-type]
        future: Future = loop.create_future()
        if not self._asked and self._opening is None:
            loop.call_soon(self._flush)
        self._asked.append(packed)
        self._futures.append(future)
        return future

    def renew(self) -> None:
        """Leave the connection: the next command makes a new one, and what was asked on this one is answered."""
        replies, self._replies = self._replies, None
        if replies is not None:
            self._left.add(replies)
            replies.finish()

    async def close(self) -> None:
        """Close the connection; callers that still wait for an answer get ConnectionError."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
            self._opening = None  # if it had not begun, it cannot have said so itself
        if self._replies is not None:
            self._replies.abort(ConnectionError("closed"))
        for replies in list(self._left):
            replies.abort(ConnectionError("closed"))
        self._fail_asked(ConnectionError("closed"))
        await asyncio.gather(*self._closing)

    def _flush(self) -> None:
        if not self._asked:
            return  # closed meanwhile
        replies = self._replies
        if replies is None or not replies.usable():
            if self._opening is None:
                self._opening = asyncio.get_running_loop().create_task(self._open())
            return
        asked, futures = self._asked, self._futures
        self._asked, self._futures = [], []
        self._send(replies, asked, futures)

    def _send(self, replies: Replies, commands: list[bytes], futures: list[Future]) -> None:
        replies.ask(commands, futures)

    async def _open(self) -> None:
        connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            await connection.connect()
            if self.greet is not None:
                await self._greet(connection, self.greet)
            replies = self._replies = Replies(connection, self._timeout, self._lost)
            replies.check()
        except BaseException as error:
            await connection.disconnect(nowait=True)
            cancelled = isinstance(error, asyncio.CancelledError)
            self._fail_asked(ConnectionError("closed") if cancelled else cast(Exception, error))
            if not isinstance(error, Exception):
                raise
        finally:
            self._opening = None
        self._flush()

    async def _greet(self, connection: AbstractConnection, greet: Greet) -> None:
        try:
            await greet(connection)
        except InvalidResponse as error:
            raise ConnectionError(f"not an answer of Redis: {error!r}") from error

    def _fail_asked(self, error: Exception) -> None:
        futures, self._asked, self._futures = self._futures, [], []
        _fail(futures, error)

    def _lost(self, replies: Replies) -> None:
        if self._replies is replies:
            self._replies = None
        self._left.discard(replies)
        task = asyncio.get_running_loop().create_task(replies.connection.disconnect(nowait=True))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


class Replies(asyncio.Protocol):
    """An open connection and the futures of its answers, in the order of their commands.

    It takes a connection's transport from redis-py: reading each answer through a stream, with a time limit of its
    own, would cost a service several times what the parser does.
    """

    def __init__(self, connection: AbstractConnection, timeout: float, on_lost: Callable[[Replies], None]) -> None:
        self.connection = connection
        self._timeout = timeout
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._waiting: Waiting = deque()
        self._heard_at = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._lost = False
        encoder = connection.encoder
        self._reader = hiredis.Reader(
            replyError=_error, encoding=encoder.encoding, errors=encoder.encoding_errors, notEnoughData=_MORE
        )
        writer: asyncio.StreamWriter = connection._writer  # type: ignore[assignment]
        self._transport = writer.transport
        self._transport.set_protocol(self)
        self._poller = select.poll()
        self._poller.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)

    def usable(self) -> bool:
        """Whether a command may be written; if not, the connection is given up.

        The event loop learns of a close when it next polls. A command written meanwhile would be lost, and its
        caller not know whether it was done.
        """
        if self._lost or self._transport.is_closing():
            return False
        if not self._waiting and self._poller.poll(0):
            self.abort(ConnectionError("closed by the server while it was idle"))
            return False
        return True

    def check(self) -> None:
        """Raises ConnectionError when the connection is not usable."""
        if not self.usable():
            raise ConnectionError("closed by the server as soon as it was open")

    def ask(self, commands: Sequence[bytes], futures: Sequence[Future]) -> None:
        if not self._waiting:
            self._heard_at = self._loop.time()
            if self._watch is None:
                self._watch = self._loop.call_later(self._timeout, self._check_silence)
        self._waiting.extend(futures)
        self._transport.write(commands[0] if len(commands) == 1 else b"".join(commands))

    def finish(self) -> None:
        """Close as soon as everything that was asked is answered."""
        if not self._waiting:
            self.abort(ConnectionError("left"))
            return
        last: Future = self._loop.create_future()
        last.add_done_callback(self._finished)
        self.ask([_PING], [last])

    def _finished(self, last: Future) -> None:
        # Whatever Redis said to the PING, or why the connection broke first: there is nobody to hear of it.
        last.exception()
        self.abort(ConnectionError("left"))

    def abort(self, error: Exception) -> None:
        """Close at once: answers may still be on their way, and must not be taken for those of later commands."""
        if self._lost:
            return
        self._lost = True
        if self._watch is not None:
            self._watch.cancel()
        self._transport.abort()
        waiting, self._waiting = self._waiting, deque()
        _fail(waiting, error)
        self._on_lost(self)

    # Callbacks of the event loop.

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        reader, waiting = self._reader, self._waiting
        try:
            reader.feed(data)
            while (answer := reader.gets()) is not _MORE:
                future = waiting.popleft()
                if future.done():
                    continue  # its caller has gone
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
        except (hiredis.HiredisError, IndexError) as error:
            self.abort(ConnectionError(f"not an answer of Redis: {error!r}"))

    def eof_received(self) -> None:
        self.abort(ConnectionError("closed by the server"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.abort(ConnectionError(f"connection lost: {exc}" if exc else "closed by the server"))

    def _check_silence(self) -> None:
        """One timer for all commands: one for each would cost more than the command."""
        self._watch = None
        if self._waiting:
            left = self._heard_at + self._timeout - self._loop.time()
            if left <= 0:
                self.abort(TimeoutError(f"silent for more than {self._timeout:g} s"))
            else:
                self._watch = self._loop.call_later(left, self._check_silence)


_MORE: Final = object()
_PING: Final = pack_command(("PING",))


def _error(message: str) -> Exception:
    code, _, rest = message.partition(" ")
    kind = _ERRORS.get(code)
    return ResponseError(message, status_code=code) if kind is None else kind(rest, status_code=code)


def _fail(futures: Sequence[Future] | Waiting, error: Exception) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)
