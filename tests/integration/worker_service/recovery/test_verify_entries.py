"""`leaderboard verify` compares the entries of every board, and mends them by the rule by which states merge."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import redis.asyncio as redis

from leaderboard_core.boards import ALL, Definition, Place
from leaderboard_core.entries import Entry, encode
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.postgres.dead_boards import note_swept
from leaderboard_core.postgres.definitions import remove
from leaderboard_core.redis.definitions import restore_definitions
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, load
from tests.integration.worker_service.recovery.test_verify import command
from tests.support.all_redis import AllRedis
from tests.support.entries import BOARDS, PLAN, Operation, Writer, as_json, entry_rows, field_of
from tests.support.entries_on import (
    admitted,
    hashes_on,
    put_entry,
    put_on,
    queued_on,
    saved_on,
    sets_of_hashes,
    sets_on,
)
from tests.support.service import Api
from tests.support.worker import drained, event, working
from worker_service.recovery.differences import Report
from worker_service.recovery.verify import Verifier


def written(user_id: str, *plan: Operation) -> Writer:
    writer = Writer(user_id)
    for operation in plan:
        writer.do(operation)
    return writer


@dataclass
class System:
    """Every Redis and Postgres of a layout, with alice and bob on all boards."""

    shard_map: ShardMap
    databases: RegionDatabases
    alice: Writer
    bob: Writer

    @property
    def shard(self) -> Shard:
        return self.shard_map.shard_of("EU", "alice")

    @property
    def client(self) -> redis.Redis:
        return self.shard.client

    async def verify(self, *, repair: bool = False, wait: float = 0) -> Report:
        return await Verifier(self.shard_map, self.databases, wait_seconds=wait).verify(repair=repair)

    async def problems(self) -> dict[str, str]:
        report = await self.verify()
        assert report.pending == 0
        return {one.user_id: one.problem for one in report.differences}

    async def mended(self) -> dict[str, str]:
        """Repair, save what was queued, and see that nothing differs any more, in the report and by other means."""
        report = await self.verify(repair=True)
        assert report.unrepaired == []
        for shard in self.shard_map.shards_of_region("EU"):
            if events := await queued_on(shard):
                await saved_on(shard, self.databases, *events)
        assert await self.problems() == {}
        hashes = await hashes_on(self.shard_map)
        assert await sets_on(self.shard_map) == sets_of_hashes(hashes)
        in_postgres: dict[str, dict[str, str]] = {}
        for (user_id, _), state in (await entry_rows(self.databases["EU"])).items():
            in_postgres.setdefault(user_id, {})[field_of(state)] = encode(state)
        assert hashes == in_postgres
        return {one.user_id: outcome for one, outcome in report.repaired}

    def set_of(self, board_id: int, region: str) -> str:
        return self.shard.keys.place(Place(BOARDS[board_id], ALL, region))


@pytest.fixture
async def system(
    any_layout: str, environ: dict[str, str], emptied: None, databases: RegionDatabases
) -> AsyncIterator[System]:
    """On every layout."""
    del any_layout, emptied
    alice, bob = written("alice", *PLAN), written("bob", *PLAN, ("remove", 18, 0))
    async with admitted(environ, databases) as shard_map:
        for writer in (alice, bob):
            shard = shard_map.shard_of("EU", writer.user_id)
            await put_on(shard, writer)
            await saved_on(shard, databases, *writer.events)
        yield System(shard_map, databases, alice, bob)


async def test_nothing_differs(system: System) -> None:
    report = await system.verify()
    assert (report.differences, report.entries) == ([], 6)
    assert await system.mended() == {}


async def test_an_entry_that_one_side_lacks(system: System) -> None:
    await system.databases["EU"].execute("DELETE FROM entries WHERE user_id = 'alice' AND board_id = 17")
    bob = system.shard_map.shard_of("EU", "bob")
    await bob.client.hdel(bob.keys.entries("bob"), "coins.19:all")
    assert await system.problems() == {
        "alice": "kills (all): is missing in Postgres",
        "bob": "coins (all): is missing in Redis; "
        f"coins (all): is on the board of GLOBAL as {system.bob.entries[19].member}, as no entry says",
    }
    assert await system.mended() == {"alice": "from_redis", "bob": "from_postgres"}
    kills = system.alice.entries[17]
    found = (await entry_rows(system.databases["EU"]))["alice", 17]
    assert found == replace(kills, clock=found.clock)
    assert found.clock > system.alice.clock
    assert await system.client.hget(system.shard.keys.user("alice"), "clock") == str(found.clock)
    assert await bob.client.hget(bob.keys.entries("bob"), "coins.19:all") == encode(system.bob.entries[19])


async def test_the_newer_side_wins_or_the_better_one(system: System) -> None:
    """Each side has something that the other lacks, of one player."""
    kills, laps, coins = (system.alice.entries[board_id] for board_id in (17, 18, 19))
    newer = replace(coins, key=99, clock=coins.clock + 7, submits=9)
    raw = json.loads(event("alice", timestamp=newer.clock, entries=[as_json(newer)]))
    del raw["score"]
    await saved_on(system.shard, system.databases, json.dumps(raw))
    better = replace(laps, key=-1, clock=laps.clock - 5, member=f"{1:016d}alice", metadata='{"best":1}')
    await system.client.zrem(system.set_of(18, "EU"), laps.member)
    await system.client.zrem(system.set_of(18, "GLOBAL"), laps.member)
    await put_entry(system.shard, "EU", better)
    (problem,) = (await system.problems()).values()
    assert "coins (all): 2 " in problem
    assert "99 " in problem
    assert "laps (all): -1 0000000000000001 " in problem
    assert "@" not in problem
    assert await system.mended() == {"alice": "from_redis"}
    found = await entry_rows(system.databases["EU"])
    assert (found["alice", 19].key, found["alice", 19].submits) == (99, 9)
    assert (found["alice", 18].key, found["alice", 18].member) == (-1, better.member)
    assert found["alice", 17] == kills


async def test_sets_follow_the_hash(system: System) -> None:
    """A score that is another one, a member that is missing, one of another time, and one of nobody."""
    laps = system.alice.entries[18]
    await system.client.zadd(system.set_of(17, "GLOBAL"), {"alice": 1000})
    await system.client.zrem(system.set_of(17, "EU"), "alice")
    await system.client.zadd(system.set_of(18, "EU"), {f"{7:016d}alice": 3})
    coins = system.alice.entries[19]
    await system.client.zadd(system.shard.keys.entry_set("coins.19:all", "EU"), {coins.member: 4})
    assert await system.problems() == {
        "alice": "coins (all): none by the hash, 4 on the board of EU; "
        "kills (all): 1 by the hash, none on the board of EU; "
        "kills (all): 1 by the hash, 1000 on the board of GLOBAL; "
        f"coins (all): is on the board of EU as {coins.member}, as no entry says; "
        "laps (all): is on the board of EU as 0000000000000007alice, as no entry says"
    }
    assert set(await system.mended()) == {"alice"}
    assert await system.client.zscore(system.set_of(18, "EU"), laps.member) == laps.key


async def test_entries_of_nobody_go(system: System) -> None:
    """A hash without a player, rows without one, and a member without a hash."""
    ghost, gone = written("ghost", *PLAN[:2]), written("gone", *PLAN[:4])
    for writer in (ghost, gone):
        shard = system.shard_map.shard_of("EU", writer.user_id)
        if writer is ghost:
            await put_entry(shard, "EU", ghost.entries[17])
        else:
            await saved_on(shard, system.databases, *writer.events)
            await system.databases["EU"].execute("DELETE FROM leaderboard WHERE user_id = 'gone'")
    phantom = system.shard_map.shard_of("EU", "phantom")
    await phantom.client.zadd(phantom.keys.place(Place(BOARDS[17], ALL, "EU")), {"phantom": 3})
    assert await system.problems() == {
        "ghost": "kills (all): an entry of nobody; "
        + "; ".join(
            f"kills (all): is on the board of {region} as ghost, as no entry says" for region in ("EU", "GLOBAL")
        ),
        "gone": "coins (all), kills (all), laps (all): an entry of nobody",
        "phantom": "kills (all): is on the board of EU as phantom, as no entry says",
    }
    assert await system.mended() == dict.fromkeys(("ghost", "gone", "phantom"), "removed")
    assert {user_id for user_id, _ in await entry_rows(system.databases["EU"])} == {"alice", "bob"}


async def test_the_entries_of_a_player_who_goes_go_with_it(system: System) -> None:
    await system.databases["EU"].execute("DELETE FROM leaderboard WHERE user_id = 'alice'")
    await system.client.delete(system.shard.keys.user("alice"))
    assert "alice" in await system.problems()
    await system.mended()
    assert {user_id for user_id, _ in await entry_rows(system.databases["EU"])} == {"bob"}
    assert set(await hashes_on(system.shard_map)) == {"bob"}


async def test_entries_of_a_board_that_is_gone(system: System) -> None:
    """While a worker takes them away they are no difference; what is left after that goes."""
    await remove(system.databases["GLOBAL"], "laps")
    assert await system.problems() == {}
    await note_swept(system.databases["GLOBAL"], BOARDS[18])
    problems = await system.problems()
    assert set(problems) == {"alice", "bob", ""}
    assert "laps (all): is of a board that is gone, 18" in problems["alice"]
    assert problems[""].startswith("laps (all): is on the board of ")
    report = await system.verify(repair=True)
    assert {outcome for _, outcome in report.repaired} == {"removed", "from_postgres"}
    assert await system.problems() == {}
    assert {board_id for _, board_id in await entry_rows(system.databases["EU"])} == {17, 19}
    assert {name.partition(".")[0] for name in await sets_on(system.shard_map)} == {"kills", "coins"}


async def test_an_event_on_its_way_is_pending_and_no_difference(system: System) -> None:
    system.alice.do(("submit", 17, 8))
    await put_entry(system.shard, "EU", system.alice.entries[17])
    await system.client.lpush(system.shard.keys.queue("EU"), system.alice.events[-1])
    report = await system.verify()
    assert (report.differences, report.pending) == ([], 1)
    verifying = asyncio.create_task(system.verify(wait=10))
    await asyncio.sleep(0)
    await saved_on(system.shard, system.databases, *await queued_on(system.shard))
    report = await verifying
    assert (report.differences, report.pending) == ([], 0)


async def test_a_difference_of_spelling_in_metadata_is_none(system: System) -> None:
    (board_id,) = {one for one, state in system.alice.entries.items() if state.metadata}
    state = system.alice.entries[board_id]
    await system.client.hset(
        system.shard.keys.entries("alice"), field_of(state), encode(state).replace('{"at":', '{ "at": ')
    )
    assert await system.problems() == {}
    await system.client.hset(
        system.shard.keys.entries("alice"), field_of(state), encode(state).replace('{"at":', '{"at":1')
    )
    assert set(await system.problems()) == {"alice"}


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_each_side_has_lost_repair_ends_as_the_writer_left_it(system: System, seed: int) -> None:
    """Redis or Postgres has an entry as of any of the player's writes, or not at all; one side has the last one."""
    chance, ends = random.Random(seed), list[Writer]()
    for number in range(30):
        plan: list[Operation] = [("main", 0, 7)]
        for _ in range(chance.randint(1, 10)):
            kind: Any = chance.choice(("submit", "submit", "submit", "force", "remove"))
            plan.append((kind, chance.choice((17, 18, 19)), chance.choice((0, 1, 2, 3, -(2**53 - 1)))))
        end, states = Writer(f"p{number}"), list[dict[int, Entry]]()
        for operation in plan:
            end.do(operation)
            states.append(dict(end.entries))
        shard = system.shard_map.shard_of("EU", end.user_id)
        mixed = replace(end, entries={})
        rows = []
        for board_id, state in end.entries.items():
            earlier = chance.choice(states).get(board_id)
            here, there = (state, earlier) if chance.random() < 0.5 else (earlier, state)
            if here is not None:
                mixed.entries[board_id] = here
            if there is not None:
                raw = json.loads(
                    event(end.user_id, timestamp=there.clock, entries=[as_json(there)], key=f"{there.last_key} 0 1")
                )
                rows.append(json.dumps({name: value for name, value in raw.items() if name != "score"}))
        await put_on(shard, mixed)
        await saved_on(shard, system.databases, end.events[0])
        card = json.dumps({**json.loads(end.events[0]), "timestamp": end.updated_at, "score": end.score})
        await saved_on(shard, system.databases, card)
        for raw in rows:
            await saved_on(shard, system.databases, raw)
        ends.append(end)
    await system.mended()
    found = await entry_rows(system.databases["EU"])
    for end in ends:
        for board_id, state in end.entries.items():
            there = found[end.user_id, board_id]
            assert replace(there, clock=0, submits=0) == replace(state, clock=0, submits=0), end.user_id
            assert there.submits == state.submits


async def test_a_system_without_boards_is_asked_for_that_alone(
    environ: dict[str, str], emptied: None, databases: RegionDatabases
) -> None:
    del emptied
    async with admitted(environ, databases) as shard_map:
        await databases["GLOBAL"].execute("DELETE FROM boards")
        for shard in shard_map.shards:
            await shard.client.delete(shard.keys.board_names)
            await shard.client.config_resetstat()
        report = await Verifier(shard_map, databases, wait_seconds=0).verify()
        assert report.differences == []
        for shard in shard_map.shards:
            assert "cmdstat_scan" not in await shard.client.info("commandstats")


async def test_the_command_names_the_board(environ: dict[str, str], emptied: None, databases: RegionDatabases) -> None:
    del emptied
    alice = written("alice", *PLAN[:2])
    async with admitted(environ, databases) as shard_map:
        shard = shard_map.shard_of("EU", "alice")
        await put_on(shard, alice)
        await saved_on(shard, databases, alice.events[0])
        differs = await asyncio.to_thread(command, environ, "verify")
    assert differs.returncode == 1
    assert "EU  alice: kills (all): is missing in Postgres" in differs.stdout


async def test_what_services_write_is_no_difference(
    any_api: Api, environ: dict[str, str], databases: RegionDatabases, all_redis: AllRedis
) -> None:
    """While players play on boards of each kind, and when all of it is saved; entries that were removed included."""
    api, chance = any_api, random.Random(1)
    boards: dict[str, dict[str, Any]] = {
        "kills": {"operator": "best", "max_submits": 500},
        "laps": {"order": "asc", "ties": "earliest"},
        "coins": {"operator": "sum", "regions": False, "ties": "earliest", "metadata_bytes": 50},
    }
    for name, rules in boards.items():
        assert (await api.define(rules, name)).status_code == 201
    homes = {"ann": "ASIA", "bob": "EU", "cyd": "NA", "dan": "GLOBAL"}
    for user_id, region in homes.items():
        await api.register(user_id, region, 1)
    playing = True

    async def play(user_id: str) -> None:
        while playing:
            name = chance.choice(list(boards))
            body: dict[str, Any] = {
                "user_id": user_id,
                "region": homes[user_id],
                "board": name,
                "score": chance.randint(-9, 9),
            }
            body |= {"metadata": {"a": [], "b": 1.5, "c": "é"}} if name == "coins" and chance.random() < 0.3 else {}
            assert (await api.post("/score", body, token=api.server_token())).status_code in (200, 409)
            if chance.random() < 0.1:
                headers = {"Authorization": f"Bearer {api.server_token()}"}
                await api.http.delete(f"/boards/{name}/entries/{user_id}", headers=headers)

    shard_map = ShardMap.open(load(TopologySettings, environ))
    try:
        async with working(environ, block_seconds=0.1):
            players = [asyncio.create_task(play(user_id)) for user_id in homes]
            reports = [await Verifier(shard_map, databases, wait_seconds=1).verify() for _ in range(3)]
            playing = False
            await asyncio.gather(*players)
            await drained(all_redis)
            reports.append(await Verifier(shard_map, databases, wait_seconds=5).verify())
    finally:
        await shard_map.close()
    assert [report.differences for report in reports] == [[], [], [], []]
    assert reports[-1].entries == len(homes) * len(boards)


async def test_a_board_that_postgres_has_lost_and_a_redis_knows_is_left_alone(system: System) -> None:
    """Nobody has called it gone: a worker takes it over from the Redis."""
    for shard in system.shard_map.shards:
        await restore_definitions(shard, [Definition(board) for board in BOARDS.values()])
    await system.databases["GLOBAL"].execute("DELETE FROM boards WHERE id = 17")
    report = await system.verify(repair=True)
    assert (report.differences, report.repaired) == ([], [])
    rows = await system.databases["EU"].fetchval("SELECT count(*) FROM entries WHERE board_id = 17")
    assert rows > 0
