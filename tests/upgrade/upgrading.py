"""Upgrade a cluster process by process under load, with faults while both versions are side by side."""

from __future__ import annotations

import asyncio
import random
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from leaderboard_core.settings import AuthSettings, load
from leaderboard_core.tokens import Tokens
from tests.faults.chaos import Chaos
from tests.faults.harness import Harness
from tests.faults.ledger import Ledger
from tests.faults.load import LoadGenerator, Repeatable, repeats
from tests.faults.records import Violation
from tests.faults.store_injections import redis_emptied, redis_killed
from tests.faults.system import ENVIRONMENT, REGIONS, SystemUnderTest
from tests.faults.verification import verify
from tests.faults.worker_injections import held_batch
from tests.upgrade.cluster import MixedCluster, old_cluster
from tests.upgrade.departures import Departures, keyed

_BROKEN = re.compile(r"\w+ (5\d\d) (.*)")
_ALLOWED = {("503", "unavailable"), ("503", "warming_up")}
_REQUESTS = re.compile(r"^gateway_upstream_requests_total\{", re.MULTILINE)
_ATTEMPTS = 5
_REPEATED = 50
_OLD_DEAD_LETTER = '{"from": "the version before"}'


@dataclass(frozen=True)
class Plan:
    """How much is done: workers, services and gateways, clients and their pauses, writes between two steps, faults?"""

    workers: int
    replicas: int
    clients: int
    pause_seconds: float
    writes: int
    faults: bool


BRIEF = Plan(workers=1, replicas=2, clients=4, pause_seconds=0.2, writes=40, faults=False)
"""The worker, both services, and one of the gateways: every pair of versions that the order of an upgrade lets meet."""
THOROUGH = Plan(workers=2, replicas=3, clients=8, pause_seconds=0.0, writes=200, faults=True)


@dataclass
class Upgrade:
    """A cluster that is being upgraded, its load, and what the version before left behind."""

    cluster: MixedCluster
    harness: Harness
    departures: Departures
    load: tuple[asyncio.Task[None], ...]
    plan: Plan

    @property
    def chaos(self) -> Chaos:
        return self.harness.chaos

    async def goes_on(self) -> None:
        """Let the load go on for a while. Raises Violation when it has found something, or nothing is acknowledged."""
        ledger = self.harness.system.ledger
        before = ledger.acknowledged
        await self.harness.more_writes(self.plan.writes, seconds=20)
        if ledger.violations:
            raise Violation(ledger.violations[0])
        if ledger.acknowledged == before:
            raise Violation("no write was acknowledged any more")

    async def replace(self, name: str) -> None:
        """Replace a process of the version before by one of this version."""
        self.chaos.log(f"upgrade of {name}")
        await self.cluster.upgrade(name)
        await self.harness.healthy(name)
        self.chaos.log(f"{name} is upgraded")

    async def kill_redis(self) -> None:
        """Kill Redis, and wait until every process of both versions is healthy again."""
        await redis_killed(self.harness)
        await self.harness.healthy(*self.cluster.state["pids"])
        self.chaos.log("all are healthy")
        await self.goes_on()


async def upgrade_under_load(folder: Path, old: Path, seed: int, plan: Plan) -> str:
    """Upgrade a cluster from the version before, in the order of docs/operations.md; return a summary.

    Raises AssertionError with the evidence.
    """
    async with (
        old_cluster(folder, old, ENVIRONMENT, workers=plan.workers, replicas=plan.replicas) as cluster,
        _under_load(cluster, seed, plan) as upgrade,
    ):
        await (_upgrade(upgrade) if plan.faults else _upgrade_without_faults(upgrade))
        await _finish(upgrade)
        ledger = upgrade.harness.system.ledger
        return (
            f"seed {seed}: {ledger.acknowledged} writes acknowledged, {len(upgrade.departures.left)} players deleted, "
            f"kills {dict(upgrade.chaos.kills)}, answers {dict(sorted(ledger.answers.items()))}"
        )


@asynccontextmanager
async def _under_load(cluster: MixedCluster, seed: int, plan: Plan) -> AsyncIterator[Upgrade]:
    ledger = Ledger(REGIONS)
    tokens = Tokens(load(AuthSettings, {"JWT_SECRET_FILE": cluster.state["jwt_secret_file"]}))
    system = SystemUnderTest(cluster, ledger, tokens)
    rng = random.Random(f"{seed} load")
    generator = LoadGenerator(cluster.url, ledger, tokens, rng, clients=plan.clients, pause_seconds=plan.pause_seconds)
    chaos = Chaos(cluster, random.Random(f"{seed} chaos"))
    departures = Departures(cluster.url, ledger, tokens, random.Random(f"{seed} departures"), plan.pause_seconds)
    harness = Harness(system, chaos, generator)
    if plan.faults:
        await _leave_a_dead_letter(harness)
    running = asyncio.create_task(generator.run()), asyncio.create_task(departures.run())
    watching = asyncio.create_task(harness.watch_saved())
    try:
        yield Upgrade(cluster, harness, departures, running, plan)
    except AssertionError as error:
        chaos.thaw_all()
        events = "\n".join(chaos.event_log[-40:])
        problems = "\n".join(ledger.violations[:12])
        raise AssertionError(f"seed {seed}: {error}\n{problems}\n{dict(ledger.answers)}\n{events}") from error
    finally:
        for task in (*running, watching):
            task.cancel()
        await asyncio.gather(*running, watching, return_exceptions=True)


async def _leave_a_dead_letter(harness: Harness) -> None:
    """Let a worker of the version before refuse an event, and this version's command find and drop it."""
    async with harness.system.redis() as client:
        await client.lpush("queue:scores:NA", _OLD_DEAD_LETTER)

        async def refused() -> bool:
            return bool(await client.llen("queue:scores:NA:dead"))

        await harness.until(refused, "a dead letter")
    for words, expected in ((("list",), _OLD_DEAD_LETTER), (("drop", "--all"), "dropped")):
        code, output = await harness.system.command("dead-letters", *words)
        if code or expected not in output:
            raise Violation(f"leaderboard dead-letters {words} ended with {code}:\n{output[-2000:]}")


async def _migrate(upgrade: Upgrade) -> list[Repeatable]:
    """Let the version before work for a while, then migrate; return what it answered, to be repeated with its keys."""
    harness = upgrade.harness
    await upgrade.goes_on()
    async with harness.system.redis() as client:
        if not await client.exists("shard:ready") or await client.exists("shard:admission", "workers:versions"):
            raise Violation("what runs is not the version before")
    from_old = list(harness.load.repeatable)
    code, output = await harness.system.command("migrate")
    if code:
        raise Violation(f"leaderboard migrate ended with {code}:\n{output[-2000:]}")
    upgrade.chaos.log("migrated")
    return from_old


async def _upgrade_without_faults(upgrade: Upgrade) -> None:
    """Follow docs/operations.md up to the first gateway."""
    chaos = upgrade.chaos
    from_old = await _migrate(upgrade)
    for name in chaos.names("worker"):
        await upgrade.replace(name)
    await upgrade.goes_on()
    first, *others = chaos.names("service")
    await upgrade.replace(first)
    await _answers_of_the_other(upgrade, first, others[0])
    for name in others:
        await upgrade.replace(name)
    gateway = chaos.names("gateway")[0]
    await upgrade.replace(gateway)
    await _takes_requests(upgrade, gateway)
    await upgrade.goes_on()
    await upgrade.harness.load.repeat_some(_REPEATED, from_old)


async def _upgrade(upgrade: Upgrade) -> None:
    """Follow docs/operations.md: migrate, workers, services, gateways."""
    cluster, harness, chaos = upgrade.cluster, upgrade.harness, upgrade.chaos
    from_old = await _migrate(upgrade)
    await chaos.kill("worker-2")  # it starts again, on tables that it does not know
    await harness.healthy("worker-2")
    await upgrade.goes_on()

    await upgrade.replace("worker-1")
    await upgrade.goes_on()
    await upgrade.kill_redis()
    await _replace_with_a_batch_in_flight(upgrade, "worker-2")
    await upgrade.goes_on()
    await upgrade.kill_redis()

    services = chaos.names("service")
    await upgrade.replace(services[0])
    await _answers_of_the_other(upgrade, services[0], services[1])
    await upgrade.kill_redis()
    await harness.load.repeat_some(_REPEATED, from_old)
    async with upgrade.departures.between:
        upgrade.departures.kept.clear()  # the answers to Idempotency-Keys are gone with it
        from_old.clear()
        await redis_emptied(harness)
    await harness.healthy(*cluster.state["pids"])
    await upgrade.goes_on()
    for name in services[1:]:
        await upgrade.replace(name)
    await upgrade.goes_on()

    gateways = chaos.names("gateway")
    for name in gateways:
        await upgrade.replace(name)
        await _takes_requests(upgrade, name)
    await upgrade.goes_on()
    await harness.load.repeat_some(_REPEATED, from_old)


async def _takes_requests(upgrade: Upgrade, gateway: str) -> None:
    """Wait until NGINX sends requests to a gateway again, which it leaves out for a while after a refusal."""

    metrics = f"{upgrade.cluster.state['urls'][gateway]}/metrics"
    async with httpx.AsyncClient(timeout=10) as http:

        async def counted() -> bool:
            return _REQUESTS.search((await http.get(metrics)).text) is not None

        await upgrade.harness.until(counted, f"a request through {gateway}")


async def _replace_with_a_batch_in_flight(upgrade: Upgrade, name: str) -> None:
    """Kill a worker between taking a batch and its commit: this version has to save what it held."""
    chaos, cluster, system = upgrade.chaos, upgrade.cluster, upgrade.harness.system
    (other,) = (worker for worker in chaos.names("worker") if worker != name)
    frozen = f"-{chaos.pid(other)}-"
    chaos.freeze(other)

    async def has_all() -> bool:
        return not any(frozen in queue for queue in await system.waiting())

    await upgrade.harness.until(has_all, f"the reclaim of what {other} held")
    for _ in range(_ATTEMPTS):
        async with held_batch(upgrade.harness) as held:
            if held is None or held.worker != name:
                continue
            await cluster.end(name, killed=True)
            chaos.log(f"SIGKILL to {name} with a batch of {held.region}")
            await held.break_statements()
        break
    else:
        raise Violation(f"{name} was never found with a batch")
    chaos.thaw_all()
    await cluster.start(cluster.server(name))
    await upgrade.harness.healthy(name)


async def _answers_of_the_other(upgrade: Upgrade, new: str, old: str) -> None:
    """Repeat a write with its key, and read on with a cursor, each through the other version's service."""
    urls, tokens = upgrade.cluster.state["urls"], upgrade.harness.system.tokens
    ledger = upgrade.harness.system.ledger
    server = {"Authorization": f"Bearer {tokens.issue('server-3', 'Game server', 'GLOBAL', role='server')}"}
    for first, second in ((new, old), (old, new)):
        user_id = f"both-{secrets.token_hex(6)}"
        player = ledger.new_player(user_id, "Both", "EU", adds=False)
        body = {"user_id": user_id, "region": "EU", "name": player.name, "score": 0}
        async with httpx.AsyncClient(timeout=40) as http:
            headers = keyed(server)
            answers = [
                (await http.post(f"{urls[name]}/score", json=body, headers=headers)).json() for name in (first, second)
            ]
            ledger.created(player)
            if not repeats(*answers) or answers[0]["score"] != 0:
                raise Violation(f"a key of {first}, repeated through {second}: {answers}")
            page = (await http.get(f"{urls[first]}/top", params={"region": "EU", "limit": 3})).json()
            following = {"region": "EU", "limit": 3, "cursor": page["next_cursor"]}
            rest = await http.get(f"{urls[second]}/top", params=following)
            if rest.status_code != 200 or not rest.json()["rows"]:
                raise Violation(f"a cursor of {first}, read on through {second}: {rest.text[:300]}")


async def _finish(upgrade: Upgrade) -> None:
    """Stop the load and compare everything with the ledger. Raises Violation."""
    harness, ledger = upgrade.harness, upgrade.harness.system.ledger
    harness.load.stop()
    upgrade.departures.stop()
    await asyncio.gather(*upgrade.load)
    await verify(harness)
    await upgrade.departures.check(harness.system)
    if ledger.violations:
        raise Violation(ledger.violations[0])
    broken = [found for kind in ledger.answers if (found := _BROKEN.fullmatch(kind)) and found.groups() not in _ALLOWED]
    if broken:
        raise Violation(f"answers that an upgrade may not cause: {[found[0] for found in broken]}")
    async with harness.system.redis() as client:
        versions = await client.hgetall("workers:versions")
    workers = len(upgrade.chaos.names("worker"))
    if len(versions) < workers:
        raise Violation(f"not {workers} workers of this version: {versions}")
