"""Entries of events that Redis has lost come back into hashes, sets and Postgres, as their writers left them."""

from __future__ import annotations

import json
import random
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from leaderboard_core.entries import Entry, encode
from leaderboard_core.events import decode
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import ShardMap
from tests.conftest import admit
from tests.integration.worker_service.saving.test_fencing import lost_while_held
from tests.support.all_redis import AllRedis
from tests.support.entries import (
    PLAN,
    RULES,
    STATE,
    Kind,
    Operation,
    Writer,
    as_json,
    define,
    entry_rows,
    field_of,
)
from tests.support.entries_on import (
    admitted,
    hashes_on,
    put_on,
    queued_on,
    saved_on,
    sets_of_hashes,
    sets_on,
)
from tests.support.waiting import eventually
from tests.support.worker import deletion, drained, event, rows
from worker_service.recovery.definitions import known_boards
from worker_service.saving.batch import build
from worker_service.saving.returning import Returning


def written(user_id: str, *plan: Operation) -> Writer:
    writer = Writer(user_id)
    for operation in plan:
        writer.do(operation)
    return writer


def returning(shard: Shard, databases: RegionDatabases) -> Returning:
    boards = partial(known_boards, shard, databases["GLOBAL"], ())
    return Returning(shard, "EU", databases["EU"], "worker-1", boards)


COUNT = re.compile(r"^(\S+ \S+ \d+) \d+")
"""The count of submits in a state, as a hash has it."""


def without_times(state: Entry, *, counted: bool = True) -> Entry:
    """What may not change on the way back: all but when it was, and what that hides.

    The greater count of submits stays, whatever hides its state: it may be a predecessor's, if that came back before
    its deletion did, and is not `counted`.
    """
    return replace(state, clock=0, base_at=0, submits=state.submits if counted else 0)


async def compared(shard_map: ShardMap, databases: RegionDatabases, *writers: Writer) -> None:
    """See that Redis and Postgres have the same entries and cards, which are those of their writers but for times."""
    found = await entry_rows(databases["EU"])
    hashes = await hashes_on(shard_map)
    made_anew = {writer.user_id for writer in writers if writer.deleted_at}
    in_postgres: dict[str, dict[str, str]] = {}
    for (user_id, _), state in found.items():
        in_postgres.setdefault(user_id, {})[field_of(state)] = encode(state)
    for user_id in made_anew & hashes.keys():
        for fields in (hashes[user_id], in_postgres[user_id]):
            fields |= {field: COUNT.sub(r"\1 0", text) for field, text in fields.items()}
    assert hashes == in_postgres
    assert await sets_on(shard_map) == sets_of_hashes(hashes)
    assert {name: without_times(state, counted=name[0] not in made_anew) for name, state in found.items()} == {
        (writer.user_id, board_id): without_times(state, counted=writer.user_id not in made_anew)
        for writer in writers
        for board_id, state in writer.entries.items()
    }
    cards = await rows(databases)
    assert {user_id: score for user_id, (_, score, _) in cards.items()} == {
        writer.user_id: writer.score for writer in writers if writer.score is not None
    }
    for writer in writers:
        shard = shard_map.shard_of("EU", writer.user_id)
        card: Any = await shard.client.hmget(shard.keys.user(writer.user_id), "score", "updated_at", "clock")
        score, updated_at, clock = card
        if writer.score is None:
            assert score is None
            continue
        assert (int(score), int(updated_at)) == cards[writer.user_id][1:]
        clocks = [state.clock for (user_id, _), state in found.items() if user_id == writer.user_id]
        assert max([0, *clocks]) <= int(clock or updated_at), "its next write comes after all of them"


def random_plan(chance: random.Random) -> list[Operation]:
    kinds: tuple[Kind, ...] = ("submit", "submit", "submit", "submit", "force", "remove", "main", "delete")
    plan: list[Operation] = [("main", 0, 7)]
    for _ in range(chance.randint(0, 12)):
        kind: Kind = chance.choice(kinds)
        plan.append((kind, chance.choice((17, 18, 19)), chance.choice((0, 1, 2, 3, 2**53 - 1, -(2**53 - 1)))))
    return plan


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("workers", [1, 3])
async def test_what_is_lost_and_comes_back_in_any_order_ends_as_its_writer_left_it(
    any_layout: str, environ: dict[str, str], emptied: None, databases: RegionDatabases, seed: int, workers: int
) -> None:
    """Several workers hold what Redis has lost of a player, each in batches; Postgres may have some of it."""
    del any_layout, emptied
    chance = random.Random(100 * workers + seed)
    async with admitted(environ, databases) as shard_map:
        writers = []
        held: dict[tuple[Shard, int], list[str]] = {}
        for number in range(25):
            plan = random_plan(chance)
            end = written(f"p{number}", *plan)
            kept = chance.randint(0, len(plan))
            behind = written(f"p{number}", *plan[:kept])
            shard = shard_map.shard_of("EU", end.user_id)
            await put_on(shard, behind)
            if behind.deleted_at and behind.score is None:
                await shard.client.set(shard.keys.tombstone(end.user_id), behind.deleted_at)
            known = len(behind.events)
            if chance.random() < 0.3:
                known = chance.randint(known, len(end.events))
            await saved_on(shard, databases, *end.events[:known])
            for raw in end.events[len(behind.events) :]:
                held.setdefault((shard, chance.randrange(workers)), []).append(raw)
            writers.append(end)
        order = list(held)
        chance.shuffle(order)
        for shard, worker in order:
            await returning(shard, databases).give_back(build(held[shard, worker], "EU").raws)
            if chance.random() < 0.3:
                await returning(shard, databases).give_back(build(held[shard, worker], "EU").raws)
        for shard in shard_map.shards_of_region("EU"):
            events = await queued_on(shard)
            if workers > 1:
                chance.shuffle(events)
            while events:
                size = chance.randint(1, len(events))
                await saved_on(shard, databases, *events[:size])
                del events[:size]
        await compared(shard_map, databases, *writers)


async def test_a_worker_gives_back_what_it_held(
    environ: dict[str, str], databases: RegionDatabases, all_redis: AllRedis
) -> None:
    """Redis has lost everything: of one player a card with entries, of another an entry alone."""
    await define(databases)
    both, alone = written("both", *PLAN[:4]), written("alone", *PLAN[:2])
    first = json.loads(both.events[0])
    with_score = json.dumps({**json.loads(both.events[-1]), "score": first["score"]})
    of_nobody = json.dumps({**json.loads(alone.events[1]), "entries": [{**as_json(STATE), "member": "alone"}]})
    lost = (*both.events[:-1], with_score, of_nobody)
    async with lost_while_held(environ, all_redis, *lost) as between:
        await admit(environ, databases)
        between.release()

        async def came_back() -> bool:
            return {("both", 17), ("both", 18), ("alone", 17)} <= (await entry_rows(databases["EU"])).keys()

        await eventually(came_back)
        await drained(all_redis)
    found = await entry_rows(databases["EU"])
    assert {without_times(state) for (user_id, _), state in found.items() if user_id == "both"} == {
        without_times(state) for state in both.entries.values()
    }
    cards = await rows(databases)
    assert (cards["both"][1], cards["alone"][:2]) == (7, ("alone", 0))
    for user_id in ("both", "alone"):
        assert await all_redis.hgetall(f"entries:{user_id}") == {
            field_of(state): encode(state) for (owner, _), state in found.items() if owner == user_id
        }
    assert await all_redis.zscore("leaderboard:GLOBAL", "alone") == 0


async def given_back(
    shard: Shard, databases: RegionDatabases, *events: str
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Give events back; return what is in the queue then, and alice's hash."""
    await returning(shard, databases).give_back(events)
    player: Any = await shard.client.hgetall(shard.keys.user("alice"))
    return [json.loads(raw) for raw in await queued_on(shard)], player


@pytest.fixture
async def shard(environ: dict[str, str], emptied: None, databases: RegionDatabases) -> AsyncIterator[Shard]:
    """The Redis of alice."""
    async with admitted(environ, databases) as shard_map:
        yield shard_map.shard_of("EU", "alice")


@pytest.mark.parametrize(("one", "other", "expected"), RULES.values(), ids=RULES)
async def test_the_rule(shard: Shard, databases: RegionDatabases, one: Entry, other: Entry, expected: Entry) -> None:
    for kept, lost in ((one, other), (other, one)):
        alice = written("alice", ("main", 0, 7))
        alice.clock, alice.entries = kept.clock, {17: kept}
        await put_on(shard, alice)
        raw = event("alice", 1, timestamp=lost.clock, entries=[as_json(lost)])
        raw = json.dumps({name: value for name, value in json.loads(raw).items() if name != "score"})
        queued, player = await given_back(shard, databases, raw)
        found = await shard.client.hget(shard.keys.entries("alice"), "kills.17:all")
        if found == encode(kept):
            assert without_times(kept) == without_times(expected)
            assert queued == []
        else:
            stamp = int(player["clock"])
            assert stamp > expected.clock
            base_at = stamp if expected.base_at == expected.clock else expected.base_at
            assert found == encode(replace(expected, clock=stamp, base_at=base_at))
            (sent,) = queued
            assert sent["timestamp"] == stamp
            assert decode(json.dumps(sent), "EU").entries == (replace(expected, clock=stamp, base_at=base_at),)  # type: ignore[union-attr]
        await shard.client.delete(shard.keys.entries("alice"), shard.keys.user("alice"))


async def test_an_event_of_which_the_state_is_here_keeps_its_time(shard: Shard, databases: RegionDatabases) -> None:
    """Redis has lost the list alone; and nothing comes twice of an event that was given back before."""
    alice = written("alice", *PLAN[:2])
    await put_on(shard, alice)
    queued, _ = await given_back(shard, databases, alice.events[1])
    (sent,) = queued
    assert (sent["timestamp"], sent["entries"][0]["key"], sent["key"]) == (
        alice.clock,
        5,
        json.loads(alice.events[1])["key"],
    )
    await shard.client.delete(shard.keys.entries("alice"))
    queued, player = await given_back(shard, databases, alice.events[1])
    assert [one["timestamp"] for one in queued] == [int(player["clock"])]
    assert (await given_back(shard, databases, alice.events[1]))[0] == []


@pytest.mark.parametrize("how", ["tombstone", "since", "row"])
async def test_of_a_player_who_was_deleted_later_nothing_comes_back(
    shard: Shard, databases: RegionDatabases, how: str
) -> None:
    alice = written("alice", *PLAN[:2])
    later = alice.clock + 1
    if how == "tombstone":
        await shard.client.set(shard.keys.tombstone("alice"), later)
    elif how == "since":
        await put_on(shard, Writer("alice", clock=later + 1, deleted_at=later, score=1, updated_at=later + 1))
    else:
        await saved_on(shard, databases, deletion("alice", later))
    assert (await given_back(shard, databases, alice.events[1]))[0] == []
    assert await shard.client.exists(shard.keys.entries("alice")) == 0


async def test_a_deletion_that_comes_back_takes_the_entries_from_before_it(
    shard: Shard, databases: RegionDatabases
) -> None:
    alice = written("alice", *PLAN)
    await put_on(shard, alice)
    await given_back(shard, databases, deletion("alice", alice.clock + 1))
    assert await shard.client.exists(shard.keys.entries("alice"), shard.keys.user("alice")) == 0
    assert await shard.client.keys("*leaderboard*") == []


@pytest.mark.parametrize("plan", [PLAN[:1], PLAN], ids=["card", "entries"])
@pytest.mark.parametrize("anew", [False, True])
async def test_a_deletion_takes_what_another_worker_has_given_back_before_it(
    shard: Shard, databases: RegionDatabases, plan: list[Operation], anew: bool
) -> None:
    """What came back has got a time that is later than the deletion's; and so may the player who was made anew."""
    alice = written("alice", *plan, ("delete", 0, 0))
    if anew:
        alice.do(("main", 0, 3))
    number = len(plan)
    before, deleted, after = alice.events[:number], alice.events[number], alice.events[number + 1 :]
    queued = (await given_back(shard, databases, *before))[0]
    assert await shard.client.zscore(shard.keys.board("EU"), "alice") == 7
    queued += (await given_back(shard, databases, deleted))[0]
    assert await shard.client.exists(shard.keys.entries("alice"), shard.keys.user("alice")) == 0
    assert await shard.client.keys("*leaderboard*") == []
    queued += (await given_back(shard, databases, *after))[0] if after else []
    for events in (queued, queued[::-1]):
        for one in events:
            await saved_on(shard, databases, json.dumps(one))
        assert await entry_rows(databases["EU"]) == {}
        assert {user_id: score for user_id, (_, score, _) in (await rows(databases)).items()} == (
            {"alice": 3} if anew else {}
        )
    assert await shard.client.hget(shard.keys.user("alice"), "score") == ("3" if anew else None)


async def test_a_deletion_that_comes_last_leaves_the_player_made_anew_as_it_was(
    shard: Shard, databases: RegionDatabases
) -> None:
    """The predecessor's password and secret came into its card, and an entry of it beside."""
    before = written("alice", ("main", 0, 7), ("submit", 17, 5))
    secret = {"credential": "self 1", "credential_at": str(before.updated_at), "protected": True}
    old = event("alice", 7, timestamp=before.updated_at, **secret)
    deleted = deletion("alice", before.clock + 1)
    new = event("alice", 3, timestamp=before.clock + 2, credential="self 2", key=f"a b 1 {before.clock + 2}")
    queued = (await given_back(shard, databases, new))[0]
    queued += (await given_back(shard, databases, old, before.events[1]))[0]
    assert await shard.client.hget(shard.keys.user("alice"), "credential") == "self 1"
    more, player = await given_back(shard, databases, deleted)
    assert (player["score"], player["credential"]) == ("3", "self 2")
    assert not {"protected", "credential_at"} & player.keys()
    assert await shard.client.exists(shard.keys.entries("alice")) == 0
    for events in ([*queued, *more], [*more, *queued][::-1]):
        for one in events:
            await saved_on(shard, databases, json.dumps(one))
        (row,) = await databases["EU"].fetch("SELECT score, protected, credential FROM leaderboard")
        assert tuple(row) == (3, False, "self 2")
        assert await entry_rows(databases["EU"]) == {}


async def test_a_deletion_that_comes_back_twice_is_of_when_it_was_done(
    shard: Shard, databases: RegionDatabases
) -> None:
    """What was written after it and before the time that it got comes back behind it, and counts."""
    old, new = event("alice", 7, timestamp=1000), event("alice", 3, timestamp=3000)
    await given_back(shard, databases, old)
    queued, _ = await given_back(shard, databases, deletion("alice", 2000))
    (again,) = (json.dumps(one) for one in queued if one.get("deleted"))
    assert json.loads(again)["timestamp"] > 3000
    assert json.loads(again)["written"] == 2000
    await shard.client.delete(*await shard.client.keys("*alice*"), shard.keys.queue("EU"))
    await given_back(shard, databases, again)
    queued, player = await given_back(shard, databases, new)
    assert player["score"] == "3"
    for one in queued:
        await saved_on(shard, databases, json.dumps(one))
    assert {name: row[1] for name, row in (await rows(databases)).items()} == {"alice": 3}


@pytest.mark.parametrize("newer_secret", [False, True])
async def test_a_later_write_keeps_no_secret_of_the_predecessor(
    shard: Shard, databases: RegionDatabases, *, newer_secret: bool
) -> None:
    old = event("alice", 7, timestamp=1000, credential="self 1", credential_at="1000")
    await given_back(shard, databases, event("alice", 3, timestamp=3000, credential="self 2"))
    _, player = await given_back(shard, databases, old)
    assert player["credential"] == "self 1"
    # As a score or a new secret leaves the card.
    card, later = shard.keys.user("alice"), int(player["updated_at"]) + 10
    await shard.client.hset(card, mapping={"updated_at": later, "score": "9"})
    if newer_secret:
        await shard.client.hset(card, mapping={"credential": "self 3", "credential_at": later})
    _, player = await given_back(shard, databases, deletion("alice", 2000))
    assert (player["score"], player["credential"]) == ("9", "self 3" if newer_secret else "self 2")


async def test_an_entry_of_the_player_made_anew_stays_when_the_card_goes(
    shard: Shard, databases: RegionDatabases
) -> None:
    alice = written("alice", ("main", 0, 7), ("submit", 17, 5), ("delete", 0, 0), ("main", 0, 3), ("submit", 17, 4))
    queued = (await given_back(shard, databases, alice.events[4]))[0]
    queued += (await given_back(shard, databases, alice.events[0], alice.events[1]))[0]
    queued += (await given_back(shard, databases, alice.events[2]))[0]
    assert await shard.client.hget(shard.keys.user("alice"), "score") == "0"
    queued += (await given_back(shard, databases, alice.events[3]))[0]
    assert await shard.client.hget(shard.keys.user("alice"), "score") == "3"
    for events in (queued, queued[::-1]):
        for one in events:
            await saved_on(shard, databases, json.dumps(one))
        assert (await rows(databases))["alice"][1] == 3
        assert {state.key for state in (await entry_rows(databases["EU"])).values()} == {4}


async def test_a_deletion_that_comes_back_takes_many_entries_a_portion_at_a_time(
    shard: Shard, databases: RegionDatabases
) -> None:
    alice = written("alice", ("main", 0, 7))
    await put_on(shard, alice)
    for number in range(450):
        state = replace(STATE, window=f"all.{number}")
        await shard.client.hset(shard.keys.entries("alice"), field_of(state), encode(state))
        for region in ("EU", "GLOBAL"):
            await shard.client.zadd(shard.keys.entry_set(field_of(state), region), {"alice": 5})
    later = replace(STATE, window="all.later", clock=alice.clock + 9)
    await shard.client.hset(shard.keys.entries("alice"), field_of(later), encode(later))
    queued, player = await given_back(shard, databases, deletion("alice", alice.clock + 1))
    assert await shard.client.hkeys(shard.keys.entries("alice")) == [field_of(later)]
    assert (player["score"], queued[0]["timestamp"]) == ("0", alice.clock + 1), "that player's card is lost"
    assert len(await shard.client.keys("*leaderboard*kills*")) == 0


async def test_a_password_from_after_a_deletion_stays_whenever_that_comes_back(
    shard: Shard, databases: RegionDatabases
) -> None:
    ended = 1_700_000_000_000_000
    for name, at in (("before", ended - 5), ("after", ended + 5)):
        await databases["EU"].execute(
            "INSERT INTO accounts (user_id, password_hash, created_at) "
            "VALUES ($1, '', TIMESTAMP 'epoch' + $2 * INTERVAL '1 microsecond')",
            *(name, at),
        )
        await saved_on(shard, databases, deletion(name, ended + 10, written=ended))
    assert await databases["EU"].fetchval("SELECT array_agg(user_id) FROM accounts") == ["after"]


async def test_an_entry_that_was_written_later_does_not_keep_a_card_away(
    shard: Shard, databases: RegionDatabases
) -> None:
    """It moves the player's clock, and says nothing of the card."""
    alice = written("alice", ("main", 0, 7), ("submit", 17, 5))
    await put_on(shard, alice)
    queued, player = await given_back(shard, databases, event("alice", 9, timestamp=alice.updated_at + 5))
    assert [one["score"] for one in queued] == [9]
    assert player["score"] == "9"
    assert int(player["updated_at"]) == queued[0]["timestamp"] > alice.clock


async def test_an_entry_of_a_board_that_nobody_knows_goes_to_postgres_alone(
    shard: Shard, databases: RegionDatabases
) -> None:
    """Whether such a board is gone is known to who saves it."""
    alice = written("alice", *PLAN[:3])
    fields = json.loads(alice.events[1])
    other = {**as_json(alice.entries[18]), "board": "other", "board_id": 99}
    await put_on(shard, written("alice", *PLAN[:1]))
    queued, _ = await given_back(shard, databases, json.dumps({**fields, "entries": [*fields["entries"], other]}))
    assert sorted(entry["board_id"] for one in queued for entry in one["entries"]) == [17, 99]
    assert await shard.client.hkeys(shard.keys.entries("alice")) == ["kills.17:all"]


async def test_a_player_who_is_to_be_repaired_is_not_made_anew(shard: Shard, databases: RegionDatabases) -> None:
    alice = written("alice", *PLAN[:2])
    await shard.client.zadd(shard.keys.board("GLOBAL"), {"alice": 7})
    queued, player = await given_back(shard, databases, alice.events[1])
    assert ([one["timestamp"] for one in queued], player) == ([alice.clock], {})


async def test_metadata_comes_back_as_it_was(shard: Shard, databases: RegionDatabases) -> None:
    """Numbers that Lua would round, lists that are empty, quotes."""
    await put_on(shard, written("alice", *PLAN[:1]))
    state = replace(STATE, metadata='{"a":[],"b":9007199254740993,"c":"\\" \\u0000 x","d":{},"e":1e-7}')
    raw = json.dumps({**json.loads(event("alice", timestamp=state.clock)), "entries": [as_json(state)]})
    (sent,) = [one for one in (await given_back(shard, databases, raw))[0] if "entries" in one]
    assert json.dumps(sent["entries"][0]["metadata"]) == json.dumps(json.loads(state.metadata))
