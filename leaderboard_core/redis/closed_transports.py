"""Tell uvloop's error of a connection that the server has just closed for what it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import ConnectionError

_SAID_BY_UVLOOP = "the handler is closed"


@contextmanager
def closed_transports() -> Iterator[None]:
    """Raise redis-py's ConnectionError for a transport that was closed before it was written to.

    asyncio's own transports lose such a write, and redis-py hears of it when it reads; uvloop's raise a RuntimeError,
    which redis-py does not expect.
    """
    try:
        yield
    except RuntimeError as error:
        if _SAID_BY_UVLOOP not in str(error):
            raise
        raise ConnectionError("Connection closed by server before it was written to.") from error
