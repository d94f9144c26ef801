"""Write commands to one connection, and give each of Redis' answers to the future that waits for it."""

from __future__ import annotations

import asyncio
import select
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

import hiredis
from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,
    MasterDownError,
    MovedError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
)

from leaderboard_core.urls import format_address

Word: TypeAlias = str | bytes | int | float
Future: TypeAlias = "asyncio.Future[Any]"
OnLost: TypeAlias = "Callable[[Replies], None]"


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


class Replies(asyncio.Protocol):
    """An open connection and the futures of its answers, in the order of their commands.

    It takes a connection's transport from redis-py: reading each answer through a stream, with a time limit of its
    own, would cost a service several times what the parser does. `timeout` is the longest silence in seconds while
    answers are awaited. With `gathers` what its users ask in one turn of the event loop is one write; a single user
    has gathered that already.
    """

    def __init__(self, connection: AbstractConnection, timeout: float, *, gathers: bool = False) -> None:
        self._connection = connection
        self._timeout = timeout
        self._users: dict[OnLost, None] = {}
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Future] = deque()
        self._gathers = gathers
        self._gathered: list[bytes] = []
        self._heard_at = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._lost = False
        self._left = False
        self._joinable = True
        self.disconnecting: asyncio.Task[None] | None = None
        encoder = connection.encoder
        self._reader = hiredis.Reader(
            replyError=read_error, encoding=encoder.encoding, errors=encoder.encoding_errors, notEnoughData=_MORE
        )
        writer: asyncio.StreamWriter = connection._writer  # type: ignore[assignment]
        self._transport = writer.transport
        self._transport.set_protocol(self)
        self.server = _address(self._transport.get_extra_info("peername"))
        self._poller = select.poll()
        self._poller.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)

    def usable(self) -> bool:
        """Whether a command may be written; if not, the connection is given up.

        The event loop learns of a close when it next polls. A command written meanwhile would be lost, and its
        caller not know whether it was done.
        """
        if self._lost or self._left or self._transport.is_closing():
            return False
        if not self._waiting and self._poller.poll(0):
            self.abort(ConnectionError("closed by the server while it was idle"))
            return False
        return True

    def check(self) -> None:
        """Raises ConnectionError when the connection is not usable."""
        if not self.usable():
            raise ConnectionError("closed by the server as soon as it was open")

    def join(self, on_lost: OnLost) -> None:
        """Use the connection; `on_lost` is called when it ends, until it has left."""
        self._users[on_lost] = None

    def leave(self, on_lost: OnLost) -> None:
        """Ask no more: what was asked is answered. The connection ends with its last user, which hears of that.

        Nobody may join one that was left: who leaves wants another one, which may lead to another server.
        """
        self._joinable = False
        if len(self._users) > 1:
            self._users.pop(on_lost, None)
        elif on_lost in self._users and not self._left:
            self._finish()

    def is_joinable(self) -> bool:
        """Whether it is usable, and nobody has left it."""
        return self._joinable and self.usable()

    def has(self, on_lost: OnLost) -> bool:
        """Whether a user of the connection is still to hear that it ends."""
        return on_lost in self._users

    def ask(self, commands: Sequence[bytes], futures: Iterable[Future]) -> None:
        """Write packed commands; each future gets the raw answer, or one of redis-py's errors."""
        if self._lost:
            fail(futures, ConnectionError("closed"))
            return
        if not self._waiting:
            self._heard_at = self._loop.time()
            if self._watch is None:
                self._watch = self._loop.call_later(self._timeout, self._check_silence)
        self._waiting.extend(futures)
        if self._gathers:
            if not self._gathered:
                self._loop.call_soon(self._write_gathered)
            self._gathered += commands
        else:
            self._transport.write(commands[0] if len(commands) == 1 else b"".join(commands))

    async def command(self, *words: Word) -> Any:
        """Run one command. Raises redis-py's errors."""
        future: Future = self._loop.create_future()
        self.ask([pack_command(words)], [future])  # type: ignore[arg-type]
        return await future

    def abort(self, error: Exception) -> None:
        """Close at once: answers may still be on their way, and must not be taken for those of later commands."""
        if self._lost:
            return
        self._lost = True
        if self._watch is not None:
            self._watch.cancel()
        self._transport.abort()
        self.disconnecting = self._loop.create_task(self._connection.disconnect(nowait=True))
        waiting, self._waiting = self._waiting, deque()
        fail(waiting, error)
        users, self._users = self._users, {}
        for on_lost in users:
            on_lost(self)

    async def close(self) -> None:
        """Close at once; callers that still wait for an answer get ConnectionError."""
        self.abort(ConnectionError("closed"))
        if self.disconnecting is not None:
            await self.disconnecting

    def _finish(self) -> None:
        self._left = True
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

    def _write_gathered(self) -> None:
        gathered, self._gathered = self._gathered, []
        if not self._lost:
            self._transport.write(b"".join(gathered))

    def _check_silence(self) -> None:
        """One timer for all commands: one for each would cost more than the command."""
        self._watch = None
        if self._waiting:
            left = self._heard_at + self._timeout - self._loop.time()
            if left <= 0:
                self.abort(TimeoutError(f"silent for more than {self._timeout:g} s"))
            else:
                self._watch = self._loop.call_later(left, self._check_silence)

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


def _address(peer: Any) -> str:
    """Format the address of a socket's other end: host:port, or the path of a Unix socket."""
    if not isinstance(peer, tuple):
        return str(peer or "")
    return format_address(*peer[:2])


_MORE: Final = object()
_PING: Final = pack_command(("PING",))


def read_error(message: str) -> Exception:
    """Make redis-py's error of a server's error message."""
    code, _, rest = message.partition(" ")
    kind = _ERRORS.get(code)
    return ResponseError(message, status_code=code) if kind is None else kind(rest, status_code=code)


def fail(futures: Iterable[Future], error: Exception) -> None:
    """Let each future that is still awaited raise `error`."""
    for future in futures:
        if not future.done():
            future.set_exception(error)
