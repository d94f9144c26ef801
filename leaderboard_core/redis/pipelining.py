"""Pipeline automatically: what the tasks of one turn of the event loop ask of Redis goes out as one write."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias, cast

from hiredis import pack_command
from redis.exceptions import ConnectionError

from leaderboard_core.redis.admission import Ask
from leaderboard_core.redis.replies import Future, Replies, Word, fail

Greet: TypeAlias = Callable[[Ask], Awaitable[None]]
OpenConnection: TypeAlias = Callable[[], Awaitable[Replies]]


class Pipeliner:
    """Runs commands over one connection. Redis answers in order: the n-th answer is the n-th command's.

    Commands are independent of each other: one that fails, or whose caller goes away, leaves the others alone.
    `open_connection` is awaited when the first command is asked, and again after the connection broke. `greet` looks at
    the server behind a connection before the commands that wait for it are sent.
    """

    def __init__(self, open_connection: OpenConnection) -> None:
        self._open_connection = open_connection
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

    @property
    def server(self) -> str:
        """The address of the server that the connection leads to; empty while there is none."""
        return self._replies.server if self._replies is not None else ""

    def renew(self) -> None:
        """Leave the connection: the next command makes a new one, and what was asked on this one is answered."""
        replies, self._replies = self._replies, None
        if replies is not None:
            replies.leave(self._lost)
            if replies.has(self._lost):
                self._left.add(replies)

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
        replies: Replies | None = None
        try:
            replies = await self._open_connection()
            replies.check()
            replies.join(self._lost)
            if self.greet is not None:
                await self._greet(replies.command, self.greet)
            replies.check()
            self._replies = replies
        except BaseException as error:
            if replies is not None:
                replies.leave(self._lost)
                if replies.has(self._lost):
                    self._left.add(replies)
            cancelled = isinstance(error, asyncio.CancelledError)
            self._fail_asked(ConnectionError("closed") if cancelled else cast(Exception, error))
            if not isinstance(error, Exception):
                raise
        finally:
            self._opening = None
        self._flush()

    async def _greet(self, ask: Ask, greet: Greet) -> None:
        await greet(ask)

    def _fail_asked(self, error: Exception) -> None:
        futures, self._asked, self._futures = self._futures, [], []
        fail(futures, error)

    def _lost(self, replies: Replies) -> None:
        if self._replies is replies:
            self._replies = None
        self._left.discard(replies)
        if (task := replies.disconnecting) is not None:
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
