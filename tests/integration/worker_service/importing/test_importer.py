"""What is imported while others write, rebuild, delete, are killed or away is neither lost nor counted twice."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from leaderboard_core.boards import ALL, MAIN, Board, Place
from leaderboard_core.errors import Unavailable
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.postgres.definitions import remove
from leaderboard_core.postgres.fencing import Fence, set_nonce
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL
from tests.acceptance.cluster import REPOSITORY, clean_environment
from tests.conftest import Start
from tests.integration.leaderboard_service.players.test_users import refused
from tests.integration.worker_service.recovery.test_verify import verified
from tests.support.all_redis import AllRedis
from tests.support.command import run_here
from tests.support.entries_on import hashes_on
from tests.support.own_redis import OwnRedis
from tests.support.service import Api
from tests.support.waiting import eventually
from tests.support.worker import EAGER, drained, rows, working
from worker_service.importing.importer import Importer, Interrupted
from worker_service.importing.states import BEFORE_ALL, State
from worker_service.recovery.rebuild import rebuild
from worker_service.recovery.restore import restore

AT = 1_700_000_000_000_000
REGIONS = ("ASIA", "EU", "NA")


async def define(api: Api, name: str, **rules: object) -> Board:
    assert (await api.define(rules, name)).status_code == 201
    return await api.services.known_boards.board(name)


def stands(user_id: str, board: Board, score: int, at: int = AT, region: str = "EU") -> State:
    return State(1, user_id, "", region, "", board, score, at)


async def admit_anew(shard: Shard, databases: RegionDatabases) -> None:
    """Give a Redis another admission, as a rebuild does, but without a moment in which it has none."""
    admission = (await shard.look()).admission
    assert admission is not None
    for region in shard.regions:
        await set_nonce(databases[region], Fence(shard.partition.name(region), "another"))
    await shard.client.set(shard.keys.admission, replace(admission, nonce="another").encode())


async def scores_on(api: Api, board: str) -> dict[str, int]:
    found = (await api.get("/top", board=board, limit=1000)).json()["rows"]
    return {row["user_id"]: row["score"] for row in found}


async def submit(api: Api, user_id: str, board: str, score: int, region: str = "EU") -> int:
    """Submit a score; return when it was written (µs)."""
    body = {"user_id": user_id, "region": region, "board": board, "score": score}
    answer = await api.post("/score", body, token=api.server_token())
    assert answer.status_code == 200, answer.text
    return int(answer.json()["updated_at"])


async def test_players_write_while_their_scores_are_imported(
    any_api: Api, environ: dict[str, str], databases: RegionDatabases, all_redis: AllRedis
) -> None:
    api, chance = any_api, random.Random(5)
    best = await define(api, "laps", operator="best", order="asc", ties="earliest")
    total = await define(api, "kills", operator="sum")
    names = [f"p{number}" for number in range(40)]
    before = {name: (chance.randint(1, 99), 1000 * chance.randint(1, 9)) for name in names}
    written: dict[str, list[tuple[int, int]]] = {name: [] for name in names}
    states = [
        state
        for name, (lap, kills) in before.items()
        for state in (stands(name, best, lap), stands(name, total, kills))
    ]
    importer = Importer(api.services.shard_map, databases)

    async def write() -> None:
        for _ in range(4):
            for name in chance.sample(names, 20):
                lap, kills = chance.randint(1, 99), chance.randint(1, 9)
                await submit(api, name, "laps", lap)
                await submit(api, name, "kills", kills)
                written[name].append((lap, kills))

    async def work() -> None:
        for _ in range(6):  # a worker, which is killed and started again
            async with working(environ, block_seconds=0.05) as worker:
                await asyncio.wait((writing, importing), timeout=0.2)
                await worker.kill()

    async def take() -> None:
        for _ in range(2):
            for first in range(0, len(states), 10):
                taken = await importer.take(states[first : first + 10])
                assert taken.problems == []

    writing, importing = asyncio.create_task(write()), asyncio.create_task(take())
    await work()
    await asyncio.gather(writing, importing)
    async with working(environ, block_seconds=0.05):
        await drained(all_redis)
    assert (await verified(environ, databases)).differences == []
    assert await scores_on(api, "laps") == {
        name: min(lap, *(one for one, _ in written[name])) if written[name] else lap
        for name, (lap, _) in before.items()
    }
    for name, score in (await scores_on(api, "kills")).items():
        own = sum(kills for _, kills in written[name])
        # A sum that a player began here before the import stays; one that was there already goes on.
        assert score in ({own, own + before[name][1]} if written[name] else {before[name][1]})
    assert await api.scores() == dict.fromkeys(names, 0)


async def test_an_import_waits_for_a_rebuild_and_goes_on(
    any_api: Api, environ: dict[str, str], databases: RegionDatabases, all_redis: AllRedis
) -> None:
    board, said = await define(any_api, "kills", operator="sum"), list[str]()
    importer = Importer(any_api.services.shard_map, databases, said.append)
    await importer.take([stands("ann", board, 1)])
    for shard in any_api.services.shard_map.shards:  # what it knows of is over when it commits
        await shard.client.delete(shard.keys.admission)
        await rebuild(shard, databases, EAGER)
    await importer.take([stands("bob", board, 2), stands("cyd", board, 3, region="NA")])
    assert "a Redis is being filled anew" in said

    await all_redis.lose_players()
    taking = asyncio.create_task(importer.take([stands("dan", board, 4)]))
    await eventually(lambda: len(said) > 2, "it waits")
    assert not taking.done()
    async with working(environ, heartbeats=True):
        assert (await taking).outcomes["new"] == 1
        assert await scores_on(any_api, "kills") == {"ann": 1, "bob": 2, "cyd": 3, "dan": 4}
    assert (await verified(environ, databases)).differences == []


async def test_what_cannot_be_done_ends_after_a_while(
    any_api: Api, environ: dict[str, str], databases: RegionDatabases, all_redis: AllRedis
) -> None:
    board = await define(any_api, "kills")
    await all_redis.begin_another_life()
    with pytest.raises(Interrupted):
        await Importer(any_api.services.shard_map, databases, patience=0.3).take([stands("ann", board, 1)])
    assert await rows(databases) == {}


@pytest.mark.parametrize("restored", [True, False])
async def test_redis_gets_back_what_it_has_lost_of_an_import(
    any_api: Api, environ: dict[str, str], databases: RegionDatabases, all_redis: AllRedis, restored: bool
) -> None:
    """Its rows are older than the last write that Redis knows of, after which a rebuild looks for what is missing."""
    api, shard_map = any_api, any_api.services.shard_map
    board = await define(api, "kills", operator="sum")
    states = [stands(f"p{number}", board, number, region=REGIONS[number % 3]) for number in range(30)]
    before = [(shard, key) for shard in shard_map.shards for key in await shard.client.keys(f"{shard.keys.prefix}*")]
    importer = Importer(shard_map, databases)
    await importer.take(states)
    if restored:
        await importer.end()
    async with working(environ, block_seconds=0.05):
        for region in REGIONS:
            for number in range(20):  # of every part
                await submit(api, f"here{number}-{region}", "main", 1, region)
        await drained(all_redis)
    wanted = await hashes_on(shard_map)
    for shard in shard_map.shards:
        kept = {key for one, key in before if one is shard}
        async for key in shard.client.scan_iter(f"{shard.keys.prefix}*"):
            if (":p" in key and key not in kept) or ("kills" in key and key.endswith(("GLOBAL", *REGIONS))):
                await shard.client.delete(key)
        for region in (*REGIONS, GLOBAL):
            await shard.client.zrem(shard.keys.board(region), *(state.user_id for state in states))
    assert await hashes_on(shard_map) == {}
    await all_redis.begin_another_life()
    for shard in shard_map.shards:
        await rebuild(shard, databases, EAGER)
    assert await hashes_on(shard_map) == wanted
    assert await scores_on(api, "kills") == {state.user_id: state.score for state in states}


async def test_a_user_id_is_one_players_whoever_makes_it(
    any_api: Api, environ: dict[str, str], databases: RegionDatabases, all_redis: AllRedis
) -> None:
    api = any_api
    board = await define(api, "kills")
    names = [f"p{number}" for number in range(60)]
    importer = Importer(api.services.shard_map, databases)
    states = [stands(name, board, 5, region="EU") for name in names]

    async def register(name: str) -> bool:
        return (await api.try_register(name, "NA")).status_code == 201

    pages = [states[first : first + 15] for first in range(0, 60, 15)]
    taking = asyncio.gather(*(importer.take(page) for page in pages))
    registered = await asyncio.gather(*(register(name) for name in reversed(names)))
    taken = await taking
    lost = sum(len(one.problems) for one in taken)
    assert lost == sum(registered)
    async with working(environ, block_seconds=0.05):
        await drained(all_redis)
    homes = {name: [region for region in ("EU", "NA") if name in await api.scores(region)] for name in names}
    assert all(len(home) == 1 for home in homes.values())
    assert sum(home == ["NA"] for home in homes.values()) == sum(registered)
    assert (await verified(environ, databases)).differences == []


async def test_a_claim_of_somebody_else_is_waited_for(any_api: Api, databases: RegionDatabases) -> None:
    board, shard_map = await define(any_api, "kills"), any_api.services.shard_map
    shard = shard_map.claim_shard_of("ann")
    await shard.client.set(shard.keys.claim("ann"), "another", px=60_000)
    said: list[str] = []
    taking = asyncio.create_task(Importer(shard_map, databases, said.append).take([stands("ann", board, 5)]))
    await asyncio.wait((taking,), timeout=0.3)
    assert not taking.done()
    assert await rows(databases) == {}
    await shard.client.delete(shard.keys.claim("ann"))
    assert (await taking).outcomes["new"] == 1
    assert not await shard.client.exists(shard.keys.claim("ann"))


async def test_a_board_that_is_deleted_meanwhile_gets_nothing(
    any_api: Api, environ: dict[str, str], databases: RegionDatabases
) -> None:
    gone, kept = await define(any_api, "gone"), await define(any_api, "kept")
    importer = Importer(any_api.services.shard_map, databases)
    assert await remove(databases[GLOBAL], "gone") is not None
    taken = await importer.take([stands("ann", gone, 5), stands("ann", kept, 6), stands("bob", gone, 7)])
    assert [problem.text for problem in taken.problems] == ["board: gone was deleted meanwhile"] * 2
    assert taken.outcomes == {"new": 1, "left_out": 2}
    assert await any_api.scores() == {"ann": 0}
    assert await scores_on(any_api, "kept") == {"ann": 6}
    assert await databases["EU"].fetchval("SELECT count(*) FROM entries") == 1


async def test_what_postgres_refuses_counts_once(any_api: Api, databases: RegionDatabases) -> None:
    board = await define(any_api, "kills")
    states = [stands("ann", board, 5)._replace(name="a\0b"), stands("bob", board, 6)]
    taken = await Importer(any_api.services.shard_map, databases).take(states)
    assert [problem.text.partition(":")[0] for problem in taken.problems] == ["Postgres refuses ann"]
    assert taken.outcomes == {"new": 1, "left_out": 1}
    assert await scores_on(any_api, "kills") == {"bob": 6}


async def test_a_page_is_not_committed_under_an_admission_that_came_while_it_was_at_work(
    any_api: Api, environ: dict[str, str], databases: RegionDatabases
) -> None:
    """Another page has asked for the new one meanwhile; who is there was read before."""
    board, shard_map, said = await define(any_api, "kills"), any_api.services.shard_map, list[str]()
    importer = Importer(shard_map, databases, said.append)
    await importer.take([stands("zoe", board, 1)])
    claims = shard_map.claim_shard_of("ann")
    await claims.client.set(claims.keys.claim("ann"), "another", px=60_000)
    taking = asyncio.create_task(importer.take([stands("ann", board, 5)]))
    await asyncio.wait((taking,), timeout=0.3)
    for shard in shard_map.shards:
        await admit_anew(shard, databases)
    other = shard_map.shard_of("EU", "ann")
    name = next(one for number in range(99) if shard_map.shard_of("EU", one := f"p{number}") is other)
    await importer.take([stands(name, board, 6)])
    assert said == ["a Redis is being filled anew"]
    await claims.client.delete(claims.keys.claim("ann"))
    assert (await taking).outcomes["new"] == 1
    assert said == ["a Redis is being filled anew"] * 2
    assert await scores_on(any_api, "kills") == {"zoe": 1, "ann": 5, name: 6}
    assert (await verified(environ, databases)).differences == []


async def test_an_import_that_is_killed_is_run_again(
    start: Start, environ: dict[str, str], databases: RegionDatabases, tmp_path: Path
) -> None:
    api = await start()
    await define(api, "kills", operator="sum")
    file, count = tmp_path / "export.ndjson", 12_000
    with file.open("w") as lines:
        for number in range(count):
            line = {"user_id": f"p{number}", "region": REGIONS[number % 3], "board": "kills", "score": number}
            lines.write(f"{json.dumps(line)}\n")
    for kills in range(1, 3):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "leaderboard_cli", "boards", "import", str(file)),
            cwd=REPOSITORY,
            env=clean_environment(**environ, LEADERBOARD_DATA_DIR="/nonexistent"),
            stderr=asyncio.subprocess.DEVNULL,
        )

        async def some(kills: int = kills) -> bool:
            return int(await databases["EU"].fetchval("SELECT count(*) FROM entries")) > 1000 * kills

        await eventually(some, "some of it is there", seconds=60)
        process.kill()
        assert await process.wait() == -9
    assert await databases["EU"].fetchval("SELECT count(*) FROM entries") < count // 3
    code, output, complaint = await run_here(environ, "boards", "import", str(file))
    assert code == 0, complaint
    assert output.startswith(f"{count} lines: ")
    shard = api.services.shard_map.shard_of(REGIONS[1], "p1")
    assert await shard.client.hlen(shard.keys.entries("p1")) == 1
    report = await verified(environ, databases)
    assert (report.differences, report.players, report.entries) == ([], count, count)
    await submit(api, "p1", "kills", 1)
    assert (await api.get("/rank/p11999", board="kills")).json()["rank"] == 1
    assert (await api.get("/rank/p1", board="kills")).json()["score"] == 2


@pytest.mark.layout("one-redis", why="it is one Redis that is lost")
async def test_a_redis_that_is_lost_in_the_middle_comes_back_with_what_was_imported(
    start: Start, environ: dict[str, str], databases: RegionDatabases, own_redis: OwnRedis
) -> None:
    there = {**environ, "REDIS_URL": own_redis.url}
    api = await start(REDIS_URL=own_redis.url)
    board = await define(api, "kills", operator="sum")
    shard_map = api.services.shard_map
    said: list[str] = []
    importer = Importer(shard_map, databases, said.append, patience=0.5)
    await importer.take([stands("ann", board, 1), stands("bob", board, 2, region="NA")])
    own_redis.stop()
    own_redis.lose_data()
    with pytest.raises(Interrupted) as problem:
        await importer.take([stands("cyd", board, 3)])
    assert "REDIS_URL" in str(problem.value)
    assert said
    own_redis.start()
    async with working(there, heartbeats=True):
        patient = Importer(shard_map, databases, said.append)
        assert (await patient.take([stands("ann", board, 1), stands("cyd", board, 3)])).outcomes == {
            "kept": 1,
            "new": 1,
        }
        assert await scores_on(api, "kills") == {"ann": 1, "bob": 2, "cyd": 3}
    assert (await verified(there, databases)).differences == []


async def test_a_card_is_made_before_whatever_is_said_of_it(any_api: Api, databases: RegionDatabases) -> None:
    board, shard_map = await define(any_api, "kills"), any_api.services.shard_map
    await Importer(shard_map, databases).take([stands("ann", board, 1, AT + 9)])
    assert await any_api.scores() == {"ann": 0}
    await Importer(shard_map, databases).take([stands("ann", MAIN, 7, AT)])
    await Importer(shard_map, databases).take([stands("ann", board, 2, AT + 10)])
    assert await any_api.scores() == {"ann": 7}
    assert await scores_on(any_api, "kills") == {"ann": 2}
    assert (await rows(databases))["ann"] == ("ann", 7, AT)


async def test_a_card_that_an_import_has_made_takes_what_a_later_line_says_of_it(
    any_api: Api, databases: RegionDatabases, environ: dict[str, str]
) -> None:
    """Lines without a time are before all that was written here, and not before the card with which a player begins."""
    board, shard_map = await define(any_api, "kills"), any_api.services.shard_map
    await Importer(shard_map, databases).take([stands("ann", board, 1, BEFORE_ALL)])
    assert await any_api.scores() == {"ann": 0}
    for outcome in ("changed", "kept"):
        taken = await Importer(shard_map, databases).take([stands("ann", MAIN, 7, BEFORE_ALL)])
        assert taken.outcomes == {outcome: 1}
        assert await any_api.scores() == {"ann": 7}
    assert (await verified(environ, databases)).differences == []


async def test_what_a_killed_import_saved_of_who_was_here_comes_into_redis_when_it_is_run_again(
    any_api: Api, databases: RegionDatabases, environ: dict[str, str]
) -> None:
    """It is in Postgres already, so that nothing of it is new there."""
    board, shard_map = await define(any_api, "kills"), any_api.services.shard_map
    shard, importer = shard_map.shard_of("EU", "ann"), Importer(shard_map, databases)
    hashes = (shard.keys.user("ann"), shard.keys.entries("ann"))
    await importer.take([stands("ann", MAIN, 1), stands("ann", board, 2)])
    kept: dict[str, Any] = {key: await shard.client.hgetall(key) for key in hashes}
    again = [stands("ann", MAIN, 7, AT + 9), stands("ann", board, 8, AT + 9)]
    assert (await importer.take(again)).outcomes == {"changed": 2}
    for key in hashes:
        await shard.client.delete(key)
        await shard.client.hset(key, mapping=kept[key])
    for region in ("EU", GLOBAL):
        await shard.client.zadd(shard.keys.board(region), {"ann": 1})
    for name in shard.keys.sets(Place(board, ALL, "EU")):
        await shard.client.zadd(name, {"ann": 2})
    await importer.take(again)
    assert (await any_api.scores(), await scores_on(any_api, "kills")) == ({"ann": 7}, {"ann": 8})
    assert (await verified(environ, databases)).differences == []
    assert (await importer.take(again)).outcomes == {"kept": 2}


async def test_submits_count_by_the_greater_number_on_main_too(
    any_api: Api, environ: dict[str, str], databases: RegionDatabases, all_redis: AllRedis
) -> None:
    assert (await any_api.define({"max_submits": 5})).status_code == 200
    await submit(any_api, "ann", "main", 8)
    async with working(environ, block_seconds=0.05):
        await drained(all_redis)
    older = stands("ann", MAIN, 7, AT)._replace(submits=5)
    await Importer(any_api.services.shard_map, databases).take([older])
    body = {"user_id": "ann", "region": "EU", "score": 9}
    refused(await any_api.post("/score", body, token=any_api.server_token()), 409, "no_submits_left")
    assert await any_api.scores() == {"ann": 8}
    assert (await verified(environ, databases)).differences == []


async def test_a_card_keeps_its_submits_and_what_was_said_of_its_score(
    any_api: Api, environ: dict[str, str], databases: RegionDatabases, all_redis: AllRedis
) -> None:
    api, shard_map = any_api, any_api.services.shard_map
    assert (await api.define({"max_submits": 5, "metadata_bytes": 20})).status_code == 200
    importer = Importer(shard_map, databases)
    said = stands("ann", MAIN, 7)._replace(submits=3, metadata='{"car":"red"}')
    assert (await importer.take([said])).outcomes["new"] == 1
    assert (await importer.take([stands("ann", MAIN, 7, AT + 1)])).outcomes["kept"] == 1

    async def row() -> dict[str, object]:
        found = (await api.get("/top", metadata=True)).json()["rows"][0]
        return {name: found.get(name) for name in ("score", "metadata")}

    assert await row() == {"score": 7, "metadata": {"car": "red"}}
    await submit(api, "ann", "main", 8)  # the fourth, of which Postgres does not know yet
    later = await shard_map.shards[0].now()
    assert (await importer.take([stands("ann", MAIN, 9, later)])).outcomes["changed"] == 1
    assert await row() == {"score": 9, "metadata": None}
    async with working(environ, block_seconds=0.05):
        await drained(all_redis)
    assert (await verified(environ, databases)).differences == []
    await submit(api, "ann", "main", 10)
    body = {"user_id": "ann", "region": "EU", "score": 11}
    answer = await api.post("/score", body, token=api.server_token())
    assert (answer.status_code, answer.json()["error"]) == (409, "no_submits_left")


async def test_of_two_states_of_one_time_the_first_stands_in_both_stores(
    any_api: Api, environ: dict[str, str], databases: RegionDatabases
) -> None:
    board = await define(any_api, "kills", operator="sum", max_submits=50)
    importer = Importer(any_api.services.shard_map, databases)
    await importer.take([stands("ann", board, 10)._replace(submits=3)])
    taken = await importer.take([stands("ann", board, 15)._replace(submits=5)])
    assert taken.outcomes["kept"] == 0, "the submits that were counted are more"
    assert await scores_on(any_api, "kills") == {"ann": 10}
    assert (await verified(environ, databases)).differences == []
    assert (await importer.take([stands("ann", board, 15)._replace(submits=5)])).outcomes == {"kept": 1}


async def test_lines_of_the_same_best_score_say_the_same_when_they_come_again(
    any_api: Api, environ: dict[str, str], databases: RegionDatabases
) -> None:
    rules = {"operator": "best", "order": "asc", "ties": "earliest", "metadata_bytes": 40}
    board = await define(any_api, "laps", **rules)
    importer = Importer(any_api.services.shard_map, databases)
    page = [
        stands("ann", board, 5, AT + 9)._replace(metadata='{"said":"last"}'),
        stands("ann", board, 5, AT)._replace(metadata='{"said":"first"}'),
        stands("ben", board, 5, AT + 5),
    ]
    await importer.take(page)
    for _ in range(2):
        rows = (await any_api.get("/top", board="laps", metadata=True)).json()["rows"]
        assert [(row["user_id"], row["metadata"]) for row in rows] == [("ann", {"said": "last"}), ("ben", None)]
        assert (await importer.take(page)).outcomes == {"kept": 3}
    assert (await verified(environ, databases)).differences == []


async def test_who_is_made_in_another_region_between_two_attempts_stays_there(
    any_api: Api, environ: dict[str, str], databases: RegionDatabases, monkeypatch: pytest.MonkeyPatch
) -> None:
    board, made = await define(any_api, "kills"), list[asyncio.Task[Any]]()

    async def fails(shard: Shard, region: str, page: Any) -> None:
        monkeypatch.setattr("worker_service.importing.importer.restore", restore)
        raise Unavailable("it went away")

    def register(_: str) -> None:
        made.append(asyncio.create_task(any_api.register("ann", region="NA")))

    monkeypatch.setattr("worker_service.importing.importer.restore", fails)
    importer = Importer(any_api.services.shard_map, databases, register)
    await importer.take([stands("ann", board, 5), stands("ben", board, 6)])
    await asyncio.gather(*made)
    assert (await any_api.get("/rank/ann", region="NA")).json()["found"]
    assert (await any_api.get("/rank/ann", region="EU")).status_code == 404
    assert (await any_api.get("/rank/ben", region="EU")).json()["found"]
