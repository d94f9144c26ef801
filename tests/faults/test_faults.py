"""Run every fault scenario once, from a fixed seed; `make soak` runs them for longer, from random seeds."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.faults.answers import read_answer
from tests.faults.chaos import Chaos
from tests.faults.run import run_scenario
from tests.faults.scenarios import APPLICATIONS, EVERYTHING, POSTGRES, REDIS, WORKERS, Scenario
from tests.faults.system import SystemUnderTest, running_system
from tests.history.run import Runner
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.local_cluster,
    pytest.mark.layout(
        "one-redis", "two-redis", why="the faults of several partitions are those of tests/faults/cluster"
    ),
]


class Systems:
    """Share one cluster among all scenarios, until one of them breaks it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._world: SystemUnderTest | None = None
        self._number = 0

    def get(self) -> SystemUnderTest:
        if self._world is None:
            self._number += 1
            folder = self._folder / str(self._number)
            folder.mkdir()
            self._world = self._stack.enter_context(running_system(folder))
        return self._world

    def close(self) -> None:
        self._world = None
        self._stack.close()


@pytest.fixture(scope="module")
def systems(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Systems]:
    made = Systems(tmp_path_factory.mktemp("faults"))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("scenario", "seed", "kills"),
    [(WORKERS, 1, 6), (APPLICATIONS, 2, 10), (REDIS, 3, 5), (POSTGRES, 4, 6), (EVERYTHING, 5, 8)],
    ids=lambda value: value.name.replace(" ", "-") if isinstance(value, Scenario) else "",
)
async def test_nothing_acknowledged_is_lost_and_nothing_counts_twice(
    systems: Systems, scenario: Scenario, seed: int, kills: int
) -> None:
    result = await run_scenario(systems.get(), scenario, seed, kills=kills)
    print(result.summary())  # noqa: T201 - pytest shows it with the failure
    if result.violations:
        systems.close()
        pytest.fail(result.evidence())
    assert result.kills.total() >= kills
    assert result.acknowledged >= 100, result.evidence()


async def test_without_any_gateway_every_error_is_in_the_envelope(systems: Systems) -> None:
    system = systems.get()
    chaos = Chaos(system.cluster, random.Random(6))
    for name in chaos.names("gateway"):
        await chaos.running(name)
    for name in chaos.names("gateway"):
        await chaos.kill(name)
    async with httpx.AsyncClient(base_url=system.cluster.url, timeout=40) as http:
        for headers in ({}, {"Idempotency-Key": "without-any-gateway"}):
            for path in ("/score/add", "/auth/register"):
                read_answer(f"POST {path} {headers}", await http.post(path, json={}, headers=headers), more={401, 422})


async def test_a_player_that_only_postgres_was_asked_for_is_missing_in_postgres(systems: Systems) -> None:
    system = systems.get()
    chaos = Chaos(system.cluster, random.Random(7))

    async with httpx.AsyncClient(base_url=system.cluster.url, timeout=40) as http:

        async def not_found() -> bool:
            return (await http.get("/rank/nobody-at-all")).status_code == 404

        await eventually(not_found, "an answer", seconds=90)
        await chaos.running("redis")
        chaos.freeze("redis")
        try:
            response = await http.get("/rank/nobody-at-all")
        finally:
            chaos.thaw("redis")
    answer = read_answer("GET /rank/nobody-at-all", response)
    assert (answer.status, answer.source, answer.code) == (404, "postgres", "user_not_found")


async def test_a_history_has_what_clients_saw_through_every_door(systems: Systems, tmp_path: Path) -> None:
    runner = Runner(systems.get(), ("Redis killed", "service killed with writes in Redis"), 1, tmp_path)
    recording = await runner.run()
    systems.close()  # no ledger knows its players
    assert (recording.problems, recording.unclear) == ([], ""), recording.evidence()
    assert len(recording.losses) == 1
    lines = [json.loads(text) for text in recording.path.read_text("utf-8").splitlines()]
    done = [line for line in lines if line.get("outcome") == "ok" and line["from_redis"]]
    assert {line["kind"] for line in done} == {"add", "set", "read"}
    doors = {attempt[0] for line in done for attempt in line["attempts"]}
    assert sorted(door.partition("-")[0] for door in doors) == ["gateway"] * 3 + ["nginx"] + ["service"] * 3
    assert all(line["start"] < line["end"] and line["score"] is not None for line in done)
