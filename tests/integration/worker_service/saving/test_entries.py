"""Entries reach Postgres as their writer left them, in whatever order, how often and in whatever batches they come."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import replace

import pytest
import redis.asyncio as redis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from leaderboard_core.entries import Entry
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.postgres.fencing import Fence, Fenced, set_nonce
from leaderboard_core.settings import TopologySettings, load
from tests.conftest import EMPTY
from tests.support.entries import RULES, Operation, Writer, as_json, entry_rows, operations
from tests.support.metrics import sample
from tests.support.worker import dead_letters, drained, event, push, rows, working
from worker_service.saving.batch import build
from worker_service.saving.upsert import save

FENCE = Fence("EU", "present")


def test_all_orders_repeats_and_batches_end_in_the_rows_of_the_writers(
    environ: dict[str, str],
) -> None:
    """Deletions included, which a later batch may come before."""
    plans = st.lists(operations, min_size=1, max_size=4)

    @given(plans, st.randoms(use_true_random=False))
    @settings(max_examples=60, phases=(Phase.explicit, Phase.generate), suppress_health_check=list(HealthCheck))
    def examples(plan: list[list[Operation]], chance: random.Random) -> None:
        runner.run(play(plan, chance))

    async def play(plan: list[list[Operation]], chance: random.Random) -> None:
        writers = [Writer(f"p{number}") for number in range(len(plan))]
        for writer, steps in zip(writers, plan, strict=True):
            for step in steps:
                writer.do(step)
        events = [event for writer in writers for event in writer.events] * 2
        chance.shuffle(events)
        pool = opened["EU"]
        await pool.execute(EMPTY)
        await set_nonce(pool, FENCE)
        while events:
            size = chance.randint(1, len(events))
            assert await save(pool, build(events[:size], "EU"), FENCE) == []
            del events[:size]
        assert await entry_rows(pool) == {
            (writer.user_id, board_id): state for writer in writers for board_id, state in writer.entries.items()
        }
        assert await rows(opened) == {
            writer.user_id: (writer.user_id, writer.score, writer.updated_at)
            for writer in writers
            if writer.score is not None
        }

    with asyncio.Runner() as runner:
        opened = runner.run(RegionDatabases.open(load(TopologySettings, environ)))
        try:
            examples()
        finally:
            runner.run(opened.close())


@pytest.mark.parametrize(("one", "other", "expected"), RULES.values(), ids=RULES)
async def test_the_rule(databases: RegionDatabases, one: Entry, other: Entry, expected: Entry) -> None:
    pool = databases["EU"]
    await set_nonce(pool, FENCE)
    for states in ((one, other), (other, one)):
        for state in states:
            raw = event("alice", 1, timestamp=state.clock, entries=[as_json(state)])
            assert await save(pool, build([raw], "EU"), FENCE) == []
        assert await entry_rows(pool) == {("alice", 17): expected}
        await pool.execute("DELETE FROM entries")


def written(*plan: Operation, user_id: str = "alice") -> Writer:
    writer = Writer(user_id)
    for operation in plan:
        writer.do(operation)
    return writer


async def test_the_worker_saves_cards_and_entries(
    environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    names = ("saved", "superseded", "dead")
    before = {name: sample("leaderboard_worker_events_total", region="EU", outcome=name) for name in names}
    writer = written(("main", 0, 7), ("submit", 17, 5), ("submit", 18, 9), ("submit", 17, 3))
    async with working(environ):
        await push(all_redis, *writer.events)
        await drained(all_redis)
        assert await rows(databases) == {"alice": ("alice", 7, writer.updated_at)}, "the card is that of its last write"
        assert await entry_rows(databases["EU"]) == {("alice", key): state for key, state in writer.entries.items()}
        poison = json.dumps(
            {**json.loads(writer.events[1]), "entries": [{"board_id": 17, "key": 1, "member": "alice"}]}
        )
        await push(all_redis, poison)
        await drained(all_redis)
    (letter,) = await dead_letters(all_redis)
    assert (letter["event"], letter["reason"]) == (poison, "board of an entry is not the name of one")
    after = {name: sample("leaderboard_worker_events_total", region="EU", outcome=name) for name in names}
    assert sum(after[name] - before[name] for name in names) == len(writer.events) + 1
    assert after["dead"] - before["dead"] == 1


async def test_what_postgres_refuses_of_a_player_goes_to_the_dead_letters_with_all_its_entries(
    environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    long = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=9000))  # no index can hold it
    refused = written(("main", 0, 1), ("submit", 17, 5), ("submit", 18, 9), user_id=long)
    good = written(("main", 0, 1), ("submit", 17, 5))
    before = sample("leaderboard_worker_events_total", region="EU", outcome="superseded")
    await push(all_redis, *refused.events, *good.events)
    async with working({**environ, "BATCH_LINGER_MS": "0"}):
        await drained(all_redis)
    assert sorted(letter["event"] for letter in await dead_letters(all_redis)) == sorted(refused.events)
    assert set(await entry_rows(databases["EU"])) == {("alice", 17)}
    assert sample("leaderboard_worker_events_total", region="EU", outcome="superseded") - before <= 1


async def test_a_batch_of_an_earlier_admission_changes_no_entry(databases: RegionDatabases) -> None:
    pool = databases["EU"]
    await set_nonce(pool, FENCE)
    batch = build(written(("main", 0, 1), ("submit", 17, 5)).events, "EU")
    with pytest.raises(Fenced):
        await save(pool, batch, Fence("EU", "earlier"))
    assert await entry_rows(pool) == {}
    assert await save(pool, batch, FENCE) == []
    assert set(await entry_rows(pool)) == {("alice", 17)}


async def test_card_and_entries_are_saved_together(databases: RegionDatabases) -> None:
    """One statement that is refused takes the other with it."""
    pool = databases["EU"]
    await set_nonce(pool, FENCE)
    await pool.execute("ALTER TABLE entries ADD CONSTRAINT for_a_test CHECK (key <> 5)")
    try:
        bad, good = (
            written(("main", 0, 1), ("submit", 17, 5)),
            written(("main", 0, 1), ("submit", 17, 6), user_id="bob"),
        )
        batch = build([*bad.events, *good.events], "EU")
        refused = await save(pool, batch, FENCE)
    finally:
        await pool.execute("ALTER TABLE entries DROP CONSTRAINT for_a_test")
    assert [event.user_id for event, _ in refused] == ["alice"]
    assert set(await rows(databases)) == {"bob"}
    assert set(await entry_rows(pool)) == {("bob", 17)}


async def test_events_from_before_a_deletion_bring_no_entry_back(databases: RegionDatabases) -> None:
    pool = databases["EU"]
    await set_nonce(pool, FENCE)
    writer = written(("main", 0, 1), ("submit", 17, 5), ("delete", 0, 0), ("main", 0, 2), ("submit", 17, 3))
    _, old, deletion, card, new = writer.events
    for events in ([old], [deletion], [card, new], [old]):
        assert await save(pool, build(events, "EU"), FENCE) == []
    assert await entry_rows(pool) == {("alice", 17): writer.entries[17]}
    await pool.execute("DELETE FROM entries")
    assert await save(pool, build([old], "EU"), FENCE) == []
    assert await entry_rows(pool) == {}, "the tombstone alone keeps it out"


async def test_an_event_that_comes_twice_rewrites_no_row(databases: RegionDatabases) -> None:
    pool = databases["EU"]
    await set_nonce(pool, FENCE)
    writer = written(("main", 0, 1), ("submit", 17, 5), ("submit", 17, 3), ("remove", 17, 0), ("submit", 17, 4))
    batch = build(writer.events, "EU")
    for number in range(2):
        await save(pool, batch, FENCE)
        version = await pool.fetchval("SELECT xmin::text FROM entries")
        for raw in writer.events:
            await save(pool, build([raw], "EU"), FENCE)
        assert await pool.fetchval("SELECT xmin::text FROM entries") == version, number
    assert await entry_rows(pool) == {("alice", 17): writer.entries[17]}


async def test_the_ends_of_what_an_entry_holds(databases: RegionDatabases) -> None:
    pool = databases["EU"]
    await set_nonce(pool, FENCE)
    writer = written(("main", 0, 1), ("submit", 17, 2**53 - 1), ("submit", 18, 2**53 - 1), user_id="𝔘" * 128)
    kills = replace(writer.entries[17], submits=2**31 - 1, metadata=json.dumps({"text": '\0\\" 🎮'}, ensure_ascii=True))
    raw = event(writer.user_id, 1, timestamp=kills.clock, entries=[as_json(kills), as_json(writer.entries[18])])
    assert await save(pool, build([raw], "EU"), FENCE) == []
    found = await entry_rows(pool)
    assert [(state.key, state.submits) for state in found.values()] == [(2**53 - 1, 2**31 - 1), (-(2**53 - 1), 0)]
    assert json.loads(found[writer.user_id, 17].metadata) == json.loads(kills.metadata)
