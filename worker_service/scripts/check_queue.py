"""Shows what waits between Redis and Postgres: python worker_service/scripts/check_queue.py [events]."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__" and not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a file, from anywhere

from leaderboard_core.errors import Unavailable
from leaderboard_core.redis.queues import QueueState, next_events, queue_states
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import SettingsError, TopologySettings, load

MOST_EVENTS = 20


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The queues, and the events that are taken next from each list of a region, by region."""

    queues: list[QueueState]
    events: dict[str, list[str]]


async def report(environ: Mapping[str, str] | None = None, most_events: int = MOST_EVENTS) -> CheckReport:
    """Look at every region's queue; changes nothing. Raises SettingsError or Unavailable."""
    shard_map = ShardMap.open(load(TopologySettings, environ))
    try:
        queues = await queue_states(shard_map)
        events: dict[str, list[str]] = {}
        for shard, region in shard_map.queues():
            events.setdefault(region, []).extend(await next_events(shard, region, most_events))
    finally:
        await shard_map.close()
    return CheckReport(queues, events)


def main() -> int:
    """Print the report as text."""
    most = int(sys.argv[1]) if len(sys.argv) > 1 else MOST_EVENTS
    try:
        found = asyncio.run(report(most_events=most))
    except (SettingsError, Unavailable) as error:
        sys.stderr.write("\n".join((str(error), *getattr(error, "__notes__", ()))) + "\n")
        return 1
    for queue in found.queues:
        sys.stdout.write(
            f"{queue.region}: {queue.waiting} waiting, {queue.processing} being saved, {queue.dead} dead letters\n"
        )
        for event in found.events[queue.region]:
            sys.stdout.write(f"  {event}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
