"""Hold how players are spread over several Redis against what each of them says of itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Self

from leaderboard_core.redis.admission import Admission
from leaderboard_core.redis.keys import GLOBAL
from leaderboard_core.redis.partition import WHOLE, Partition
from leaderboard_core.redis.shard import Shard
from leaderboard_core.settings import SettingsError


class LayoutChanged(SettingsError):
    """The Redis of the settings are not those that hold the data; the text says which, and how to go on."""


class PlayersMoved(LayoutChanged):
    """All players of a Redis have been spread over others."""


MOVED = "moved"
"""What a Redis says of itself from which all players have been spread over others."""


class Place(NamedTuple):
    """What a Redis says of itself: which part of the players it holds, and of which system (`layout_id`).

    A Redis from before there were partitions says nothing: it is the whole, of no system that it could name.
    """

    partition: Partition
    layout_id: str = ""

    def encode(self) -> str:
        return f"{self.partition} {self.layout_id}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `encode` has made. Raises ValueError."""
        partition, _, layout_id = text.partition(" ")
        return cls(Partition.parse(partition), layout_id)


async def read_place(shard: Shard) -> Place | None:
    """Read what a Redis says of itself; None when it is empty, the whole when it has players and says nothing.

    Raises Unavailable, and LayoutChanged for nonsense, and where its players have moved away.
    """
    keys = shard.keys
    text, admission, players = await shard.pipeline(
        [("GET", keys.layout), ("GET", keys.admission), ("EXISTS", keys.board(GLOBAL))]
    )
    if text is None:
        return Place(WHOLE) if players or Admission.parse(admission or "") is not None else None
    if text == MOVED:
        raise PlayersMoved(
            f"{shard.variable}: the players of {shard.name} have been spread over other Redis: set the variable to "
            f"them. To begin anew on it, delete {keys.layout} there."
        )
    try:
        return Place.parse(text)
    except ValueError:
        raise LayoutChanged(
            f"{shard.variable}: {shard.keys.layout} of {shard.name} cannot be read: {text!r}."
        ) from None


def check_place(shard: Shard, place: Place | None) -> None:
    """Compare what a Redis says of itself with the settings. Raises LayoutChanged."""
    if place is None or place.partition == shard.partition:
        return
    theirs, ours = place.partition, shard.partition
    if theirs.count != ours.count:
        raise LayoutChanged(different_count(shard, theirs.count))
    raise LayoutChanged(
        f"{shard.variable}: {shard.name} holds partition {theirs}, counted from 0, and is named as {ours}. Put the "
        "URLs back into their order; two names of one Redis cannot be two partitions."
    )


def different_count(shard: Shard, count: int) -> str:
    """Say that players are spread over another number of Redis than the settings name."""
    named = shard.partition.count
    return (
        f"{shard.variable} names {named} Redis, and the players of {', '.join(shard.regions)} are spread over {count}. "
        "Put the variable back as it was; `leaderboard repartition` spreads them anew."
    )


def databases_differ(shard: Shard, count: int) -> str:
    """Say that the settings and the Redis agree on their number, and the databases know another one."""
    named = shard.partition.count
    return (
        f"{shard.variable} names {named} Redis, and {shard.name} is one of {named}, but the databases have the players "
        f"of {', '.join(shard.regions)} spread over {count}. If a `leaderboard repartition` has not ended, run it "
        "again. If the databases are a copy from before one, go on from them: empty these Redis, set the variable to "
        f"{count} of them, and spread the players anew; or restore a copy from after it."
    )


async def check_places(shards: Iterable[Shard]) -> str:
    """Compare what every Redis says of itself with the settings, and with each other.

    Returns the layout id that they agree on, '' when none says any. Raises Unavailable and LayoutChanged.
    """
    known, named_by = "", ""
    servers: dict[tuple[str, Any, str], str] = {}
    for shard in shards:
        server = ((await shard.look()).run_id, shard.database, shard.keys.prefix)
        if server in servers:
            raise LayoutChanged(
                f"{shard.variable}: {shard.name} is the same Redis as {servers[server]}. Give each partition, and each "
                "group of regions, a Redis or a database of its own; a cluster has the same URL for all of its regions."
            )
        servers[server] = shard.name
        place = await read_place(shard)
        check_place(shard, place)
        if place is None or not place.layout_id:
            continue
        if known and place.layout_id != known:
            raise LayoutChanged(f"{shard.variable}: {shard.name} is of another system than {named_by}.")
        known, named_by = place.layout_id, shard.name
    return known


async def take_place(shard: Shard, layout_id: str) -> None:
    """Write into a Redis which part of which system it is, unless it says so. Raises Unavailable and LayoutChanged."""
    place = await read_place(shard)
    check_place(shard, place)
    if place is None or not place.layout_id:
        await shard.command("SET", shard.keys.layout, Place(shard.partition, layout_id).encode(), "NX")
        place = await read_place(shard)  # another worker, or another name of the same Redis, may have been first
        check_place(shard, place)
    if place is None or place.layout_id != layout_id:
        raise LayoutChanged(
            f"{shard.variable}: {shard.name} belongs to another system than the databases. Set the variable to this "
            f"system's Redis; if it is that one, and the databases are what was exchanged, delete {shard.keys.layout}."
        )
