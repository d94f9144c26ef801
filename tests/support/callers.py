"""Both Python clients behind one face, so that a test says once what holds for both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from leaderboard_client import AsyncClient, Client

Kind = Literal["sync", "async"]
_END = object()


class Caller:
    """Calls by name: `await caller("add", 10)`. The blocking client runs in threads."""

    def __init__(self, client: Client | AsyncClient) -> None:
        self.client = client

    async def __call__(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        method = getattr(self.client, name)
        if isinstance(self.client, AsyncClient):
            return await method(*args, **kwargs)
        return await asyncio.to_thread(method, *args, **kwargs)

    async def iterate(self, name: str, /, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        """The values of an iterator of the client; closing this one closes that one."""
        values = getattr(self.client, name)(*args, **kwargs)
        try:
            if isinstance(self.client, AsyncClient):
                async for value in values:
                    yield value
            else:
                while (value := await asyncio.to_thread(next, values, _END)) is not _END:
                    yield value
        finally:
            await values.aclose() if isinstance(self.client, AsyncClient) else values.close()


@asynccontextmanager
async def calling(kind: Kind, url: str, **settings: Any) -> AsyncIterator[Caller]:
    """A client of either kind, closed in the end."""
    if kind == "sync":
        with Client(url, **settings) as client:
            yield Caller(client)
    else:
        async with AsyncClient(url, **settings) as client:
            yield Caller(client)
