"""Dump the whole content of a Redis database, to compare before and after."""

from __future__ import annotations

from typing import Any

import redis.asyncio as redis


async def dump(client: redis.Redis) -> dict[str, Any]:
    """Return every key with its value; keys that expire are marked, without the time."""
    content: dict[str, Any] = {}
    async for key in client.scan_iter(count=1000):
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
            case _:
                raise AssertionError(f"{key!r} is a {kind!r}")
        content[key] = (kind, value, await client.ttl(key) >= 0)
    return content
