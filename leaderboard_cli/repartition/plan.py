"""Find out what is to be spread anew: from which Redis to which, and whether that may be begun."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from leaderboard_cli.backup.boards import holds_anything
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.postgres.layouts import Repartition, Stage, partitions_of, read_repartition
from leaderboard_core.redis.admission import CLOSED, REPARTITIONING, ServerState
from leaderboard_core.redis.layout import LayoutChanged, PlayersMoved, check_places, read_place
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL, ShardMap
from leaderboard_core.settings import TopologySettings, load


class RepartitionProblem(Exception):
    """Players are not spread anew, and nothing has changed for them; the text says why and what to do."""


class AlreadySpread(Exception):
    """The players are of the new layout; what is left to do is said in the text."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The shards of some regions as they are (`old`) and as they shall be (`new`), and the variable that says so.

    `others` are those of the other regions; `run` names this command.
    """

    variable: str
    value: str
    regions: tuple[str, ...]
    old: tuple[Shard, ...]
    new: tuple[Shard, ...]
    others: tuple[Shard, ...]
    run: str

    @property
    def all_shards(self) -> tuple[Shard, ...]:
        """Each Redis once: those that are, and those that are not yet."""
        known = {shard.name for shard in self.old}
        return self.old + tuple(shard for shard in self.new if shard.name not in known)

    @property
    def freed(self) -> tuple[Shard, ...]:
        """Those that are not used any more."""
        used = {shard.name for shard in self.new}
        return tuple(shard for shard in self.old if shard.name not in used)

    def mark(self, stage: Stage) -> Repartition:
        """What is written into GLOBAL's database while it is under way."""
        target = hashlib.blake2b(" ".join(shard.name for shard in self.new).encode(), digest_size=8).hexdigest()
        return Repartition(stage, ",".join(sorted(self.regions)), len(self.new), target, self.run)


def changed(environ: Mapping[str, str], value: str, region: str) -> tuple[str, dict[str, str]]:
    """Return the variable that decides the Redis of `region`, and the environment with its new value.

    Raises SettingsError, and RepartitionProblem for a region without a variable of its own.
    """
    topology = load(TopologySettings, environ)
    if region and region not in topology.regions:
        raise RepartitionProblem(f"There is no region {region}; REGIONS has {', '.join(topology.regions)}.")
    variable = f"REDIS_URL_{region}" if region else "REDIS_URL"
    if region and topology.redis_variable_of(region) != variable:
        raise RepartitionProblem(f"{region} has no {variable}; its Redis are those of REDIS_URL.")
    return variable, {**environ, variable: value}


def make(variable: str, value: str, old: ShardMap, new: ShardMap) -> Plan:
    """Compare two maps. Raises RepartitionProblem when more than one list of URLs would change, or none."""
    before = {shards[0].regions: shards for region in old.regions if (shards := old.shards_of_region(region))}
    after = {shards[0].regions: shards for region in new.regions if (shards := new.shards_of_region(region))}
    if before.keys() != after.keys():
        raise RepartitionProblem(
            f"{variable} would share Redis with another variable, or no longer: which regions share them changes by "
            "moving a region (docs/operations.md), not here."
        )
    different = [regions for regions in before if _names(before[regions]) != _names(after[regions])]
    if len(different) != 1:
        raise RepartitionProblem(f"{variable} names these Redis already, in this order.")
    regions = different[0]
    others = tuple(shard for shard in old.shards if shard not in before[regions])
    if shared := set(_names(after[regions])) & set(_names(others)):
        raise RepartitionProblem(f"{', '.join(sorted(shared))} is the Redis of other regions: name one of its own.")
    return Plan(variable, value, regions, before[regions], after[regions], others, secrets.token_hex(8))


async def find_mark(plan: Plan, databases: RegionDatabases) -> Repartition | None:
    """Return how far the same repartition has come before; None when it has not begun.

    Raises RepartitionProblem for another one, AlreadySpread when the layout is the new one, and asyncpg's errors.
    """
    under_way = await read_repartition(databases[GLOBAL])
    if under_way is not None:
        if under_way._replace(run=plan.run) != plan.mark(under_way.stage):
            raise RepartitionProblem(
                f"Another one of {under_way.regions} to {under_way.partitions} Redis has begun: run that again, with "
                "the same URLs, or call it off (--abandon)."
            )
        return under_way
    counts = {await partitions_of(databases[region], region) for region in plan.regions}
    if counts == {len(plan.new)} != {len(plan.old)}:
        raise AlreadySpread(
            f"It is done: set {plan.variable}={plan.value} for every process, and start workers, services and gateways "
            "anew. Workers fill what is not filled yet."
        )
    return None


async def check(plan: Plan, *, begun: bool) -> None:
    """See whether it may be begun, or gone on with. Raises RepartitionProblem, Unavailable and SettingsError."""
    await check_places((*plan.old, *plan.others))
    for shard in plan.old:
        state = await shard.look()
        if not (state.is_open or (begun and is_drained(state))):
            first = "--abandon, and " if begun else ""
            raise RepartitionProblem(f"{shard.name} is not ready: {first}let a worker bring it up to date first.")
    ours = {shard.name for shard in plan.old}
    for shard in plan.new:
        if shard.name in ours:
            continue
        try:
            place = await read_place(shard)
        except PlayersMoved:
            place = None
        except LayoutChanged as problem:
            raise RepartitionProblem(str(problem)) from problem
        if place is not None or await holds_anything(shard):
            raise RepartitionProblem(
                f"{shard.name} holds players, and is none of this system's Redis under that name: empty it, or write "
                "its URL as before."
            )


def is_drained(state: ServerState) -> bool:
    """Whether a shard is open to workers alone, in this life of its server."""
    admission = state.admission
    return (
        admission is not None
        and admission.nonce != CLOSED
        and admission.note == REPARTITIONING
        and (admission.run_id, admission.replid) == state.life
    )


def _names(shards: tuple[Shard, ...]) -> list[str]:
    return [shard.name for shard in shards]
