"""Dump the whole content of a Redis database, to compare before and after."""

from __future__ import annotations

from typing import Any

import redis.asyncio as redis

SOON_MS = 2000
GONE = -2
"""What PTTL says of a key that is not there any more."""


async def dump(client: redis.Redis) -> dict[str, Any]:
    """Return every key with its value; keys that expire are marked, without the time.

    What expires within SOON is left out: a bucket that fills in a second may be gone by the next look.
    """
    content: dict[str, Any] = {}
    async for key in client.scan_iter(count=1000):
        left = await client.pttl(key)
        if left == GONE or 0 <= left < SOON_MS:
            continue
        kind = await client.type(key)
        value: Any
        match kind:
            case "string":
                value = await client.get(key)
            case "hash":
                value = await client.hgetall(key)
            case "list":
                value = await client.lrange(key, 0, -1)
            case "zset":
                value = await client.zrange(key, 0, -1, withscores=True)
            case "set":
                value = await client.smembers(key)
            case "none":
                continue  # somebody has taken it meanwhile
            case _:
                raise AssertionError(f"{key!r} is a {kind!r}")
        content[key] = (kind, value, left >= 0)
    return content
