"""Tell from a Redis' own state whether it refuses every write, and why, and which replicas it has."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from leaderboard_core.errors import Unavailable
from leaderboard_core.redis.acknowledging import AcknowledgingPipeliner
from leaderboard_core.redis.error_codes import UNKNOWN, meaning_of
from leaderboard_core.redis.shard import Shard
from leaderboard_core.urls import format_address


@dataclass(frozen=True, slots=True)
class WriteState:
    """`refusal` is why a Redis refuses every write, None when it takes them; `replicas` are those in sync with it."""

    refusal: str | None
    replicas: tuple[str, ...]


async def look_at_writes(shard: Shard) -> WriteState:
    """Ask the Redis whether it takes writes, and who follows it. Raises Unavailable.

    A replica is left: a connection made anew may reach its primary.
    """
    info = await shard.command("INFO", "memory", "persistence", "replication")
    if info.get("role") == "slave":
        shard.leave_connections()
    replicas = _replicas(info)
    online = tuple(format_address(one["ip"], one["port"]) for one in replicas if one.get("state") == "online")
    return WriteState(await _refusal(info, replicas, shard), online)


async def _refusal(info: Mapping[str, Any], replicas: Sequence[Mapping[str, Any]], shard: Shard) -> str | None:
    reason = _reason(info) or _lack_of_replicas(replicas, shard)
    if reason is None and info.get("rdb_last_bgsave_status") == "err":
        found = await shard.command("CONFIG GET", "save", "stop-writes-on-bgsave-error")
        # Without save points Redis writes on, whatever became of a snapshot that somebody asked for.
        if found.get("save") and found.get("stop-writes-on-bgsave-error") == "yes":
            return "its last snapshot could not be written to the disk"
    return reason or await _refusal_of_a_write(shard)


async def _refusal_of_a_write(shard: Shard) -> str | None:
    try:
        await shard.command("SET", shard.keys.trial, "", "XX")
    except Unavailable as error:
        meaning = meaning_of(error.__cause__)
        if meaning is None and isinstance(error.__cause__, ResponseError):
            meaning = UNKNOWN
        if meaning is None or meaning.away:
            raise
        return meaning.health
    return None


def _replicas(info: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [info.get(f"slave{number}", {}) for number in range(int(info.get("connected_slaves", 0)))]


def _lack_of_replicas(replicas: Sequence[Mapping[str, Any]], shard: Shard) -> str | None:
    if not isinstance(shard.writer, AcknowledgingPipeliner):
        return None
    # A replica acknowledges once a second; one that hangs stays in the list for repl-timeout.
    longest = 1 + math.ceil(shard.writer.seconds)
    count = sum(one.get("state") == "online" and int(one.get("lag", 0)) <= longest for one in replicas)
    return f"it has {count} of {shard.writer.replicas} replicas" if count < shard.writer.replicas else None


def _reason(info: Mapping[str, Any]) -> str | None:
    if info.get("role") == "slave" and int(info.get("slave_read_only", 1)):
        return "it is a read-only replica"
    if info.get("aof_last_write_status") == "err":
        return "its append-only file cannot be written to the disk"
    most = int(info.get("maxmemory", 0))
    counted = int(info.get("used_memory", 0)) - int(info.get("mem_not_counted_for_evict", 0))
    if most and counted > most and info.get("maxmemory_policy", "noeviction") == "noeviction":
        return "its maxmemory is used up"
    return None
