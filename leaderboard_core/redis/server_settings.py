"""Read from a Redis' configuration what can lose data."""

from __future__ import annotations

from leaderboard_core.redis.shard import Shard

NEARLY_FULL = 0.9
NO_EVICTION = "noeviction"


async def eviction_policy_of(shard: Shard) -> str:
    """Name the policy by which a server evicts keys; '' when it evicts none. Raises Unavailable."""
    policy = str((await shard.command("INFO", "memory")).get("maxmemory_policy", NO_EVICTION))
    return "" if policy == NO_EVICTION else policy


async def warnings_of(shard: Shard) -> list[str]:
    """Name what about a server's configuration can lose data. Raises Unavailable."""
    memory = await shard.command("INFO", "memory")
    append_only = await shard.configured("appendonly")
    problems = []
    most, used = int(memory.get("maxmemory", 0)), int(memory["used_memory"])
    if most and used > most * NEARLY_FULL:
        problems.append(f"{used:,} of {most:,} bytes of maxmemory are used: writes will be refused; give it more")
    if (policy := memory.get("maxmemory_policy", NO_EVICTION)) != NO_EVICTION:
        problems.append(f"maxmemory-policy is {policy}: players may vanish; set {NO_EVICTION}")
    if append_only not in (None, "yes"):
        problems.append("appendonly is off: a crash of Redis loses the scores that are not in Postgres yet")
    return problems
