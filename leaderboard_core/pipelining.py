"""Automatic pipelining: what the tasks of one turn of the event loop ask of Redis goes out as one write."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, TypeAlias

import redis.asyncio as redis
from hiredis import pack_command
from redis.exceptions import ResponseError

Word: TypeAlias = str | bytes | int | float
Asked: TypeAlias = "tuple[bytes, asyncio.Future[Any]]"


class Pipeliner:
    """Runs commands over a pool's connections. Redis answers in order, so the n-th answer is the n-th command's.

    Commands of one turn share a round trip, and are independent of each other: one that fails, or whose
    caller goes away, leaves the others alone.
    """

    def __init__(self, pool: redis.ConnectionPool) -> None:
        self._pool = pool
        self._asked: list[Asked] = []
        self._batches: set[asyncio.Task[None]] = set()

    def execute(self, words: Sequence[Word]) -> asyncio.Future[Any]:
        """The raw answer to one command. The future raises redis-py's errors."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if not self._asked:
            loop.call_soon(self._flush)
        packed = pack_command(tuple(words))  # type: ignore[arg-type]
        self._asked.append((packed, future))
        return future

    def _flush(self) -> None:
        batch, self._asked = self._asked, []
        task = asyncio.get_running_loop().create_task(self._run(batch))
        self._batches.add(task)
        task.add_done_callback(self._batches.discard)

    async def _run(self, batch: list[Asked]) -> None:
        try:
            connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
        except Exception as error:  # noqa: BLE001 - handed to those who wait
            _fail(batch, error)
            return
        done = 0
        try:
            await connection.send_packed_command(b"".join([packed for packed, _ in batch]), check_health=False)
            for _, future in batch:
                try:
                    answer, refusal = await connection.read_response(), None
                except ResponseError as error:
                    answer, refusal = None, error
                done += 1
                if future.done():
                    continue  # its caller has gone
                if refusal is None:
                    future.set_result(answer)
                else:
                    future.set_exception(refusal)
        except Exception as error:  # noqa: BLE001 - handed to those who wait
            _fail(batch[done:], error)
        finally:
            if done < len(batch):
                # Answers may still be on their way: the next command must not take them for its own.
                await connection.disconnect(nowait=True)
            await self._pool.release(connection)


def _fail(batch: list[Asked], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
