"""Boards that are deleted, made anew and changed between reads and beside them: none is answered from what was."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leaderboard_core.boards import ALL, Board, Definition, Place, Rules
from leaderboard_core.errors import Unavailable
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.keys import GLOBAL
from leaderboard_core.settings import TopologySettings, load
from leaderboard_service.boards.places import TRIES, Redefined, check_definition
from tests.conftest import EMPTY, admit
from tests.integration.leaderboard_service.boards.test_board_parameter import as_json, tell
from tests.integration.leaderboard_service.boards.test_model import admissions_of, begin_anew, empty
from tests.integration.leaderboard_service.boards.test_places import Entry, as_answered, fill
from tests.support.layouts import Layout
from tests.support.service import Api, gather, running_service

NAMES = ("laps", "kills")
PLAYERS = 9

rules = st.builds(
    Rules,
    order=st.sampled_from(["desc", "asc"]),
    ties=st.sampled_from(["shared", "earliest"]),
    decimals=st.sampled_from([0, 2]),
    metadata_bytes=st.sampled_from([0, 100]),
)
names = st.sampled_from(NAMES)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("delete"), names),
        st.tuples(st.just("create"), names, rules),
        st.tuples(st.just("change"), names, st.integers(0, 3)),
        st.tuples(st.just("read"), names, st.sampled_from(["top", "rank", "around", "ranks", "range", "deep"])),
        st.tuples(st.just("read"), names, st.sampled_from(["top", "rank", "around", "ranks", "range", "deep"])),
    ),
    min_size=2,
    max_size=14,
)


@dataclass
class Defined:
    """What a name stands for: a creation of the board with the entries that were put on it, or nothing."""

    definition: Definition | None = None
    entries: tuple[Entry, ...] = ()

    def rows(self) -> list[dict[str, Any]]:
        """All rows of GLOBAL as the API shows them, with their metadata."""
        assert self.definition is not None
        board, by_id = self.definition.board, {entry.user_id: entry for entry in self.entries}
        place = Place(board, ALL, GLOBAL)
        return [as_json(row, board, by_id, metadata=True) for row in as_answered(list(self.entries), place)]


async def change(api: Api, now: dict[str, Defined], ids: list[int], operation: tuple[Any, ...]) -> None:
    """Do what an administrator does; the sets of what was before stay where they are."""
    kind, name, *more = operation
    there = now[name].definition
    if kind == "create" and (there is None or there.gone):
        ids.append(len(ids) + 1)
        definition = Definition(Board(name, ids[-1], 1, more[0]))
        # All at once for who reads beside it.
        entries = await fill(api.services.shard_map, definition.board, random.Random(ids[-1]), PLAYERS)
        now[name] = Defined(definition, tuple(entries))
        await tell(api, definition)
    elif there is not None and not there.gone and kind == "delete":
        now[name] = Defined(there._replace(gone=True))
        await tell(api, now[name].definition or there)
    elif there is not None and not there.gone and kind == "change":
        board = there.board
        changed = replace(board, version=board.version + 1, rules=replace(board.rules, decimals=more[0]))
        now[name] = Defined(Definition(changed), now[name].entries)
        await tell(api, Definition(changed))


async def answer(api: Api, name: str, kind: str) -> Any:
    """Read GLOBAL: the rows that were given, or the code of a refusal."""
    asked = {"board": name, "metadata": "true"}
    if kind == "ranks":
        response = await api.post("/ranks", {"board": name, "metadata": True, "user_ids": ["a0", "Z1"]})
    elif kind in ("rank", "around"):
        response = await api.get(f"/{kind}/a0", **asked)
    elif kind == "range":
        response = await api.get("/range", min=0, limit=1000, **asked)
    else:
        response = await api.get("/top", limit=5, offset=0 if kind == "top" else 4, **asked)
    body = response.json()
    if "error" in body:
        return body["error"]
    assert body["board"] == name
    if kind == "rank":
        return [{key: body[key] for key in body if key not in ("found", "board", "region", "total", "percentile")}]
    if kind == "around":
        return [body["self"]]
    return [{key: row[key] for key in row if key not in ("place", "percentile")} for row in body["rows"]]


def expected(one: Defined, kind: str) -> Any:
    if one.definition is None or one.definition.gone:
        return "board_not_found"
    rows = one.rows()
    if kind in ("top", "deep"):
        return rows[:5] if kind == "top" else rows[4:9]
    if kind == "range":
        return [row for row in rows if row["score"] >= 0]
    if kind == "ranks":
        return [row for row in rows if row["user_id"] in ("a0", "Z1")]
    own = [row for row in rows if row["user_id"] == "a0"]
    if kind == "rank":
        own = [{key: row[key] for key in row if key != "region"} for row in own]
    return own or "user_not_found"


async def play(api: Api, plan: list[tuple[Any, ...]]) -> None:
    now, ids = {name: Defined() for name in NAMES}, [0]
    for operation in plan:
        if operation[0] != "read":
            await change(api, now, ids, operation)
            continue
        _, name, kind = operation
        found, right = await answer(api, name, kind), expected(now[name], kind)
        if right == "user_not_found":  # the player of another creation may be known
            assert found in ("user_not_found", "no_entry")
        else:
            assert found == right, operation


def test_no_read_goes_by_what_a_board_was(any_layout: Layout, environ: dict[str, str]) -> None:
    with asyncio.Runner() as runner:

        async def start() -> tuple[Any, Api]:
            databases = await RegionDatabases.open(load(TopologySettings, environ))
            for region in databases.regions:
                await databases[region].execute(EMPTY)
            await empty(environ)
            await admit(environ, databases)
            await databases.close()
            context = running_service(environ)
            return context, await context.__aenter__()

        context, api = runner.run(start())
        admissions = runner.run(admissions_of(api))
        plans = operations.map(lambda plan: [("create", "laps", Rules(order="asc", ties="earliest")), *plan])

        @given(plans)
        @settings(max_examples=25, suppress_health_check=list(HealthCheck))
        def examples(plan: list[tuple[Any, ...]]) -> None:
            async def one() -> None:
                await begin_anew(environ, admissions)
                for name in NAMES:  # a process that lost its Redis has to ask; here it has another one
                    api.services.known_boards._boards.pop(name, None)
                await play(api, plan)

            runner.run(one())

        try:
            examples()
        finally:
            runner.run(context.__aexit__(None, None, None))


async def test_reads_beside_a_deletion_and_a_new_board_are_of_one_or_the_other(any_api: Api) -> None:
    now, ids = {name: Defined() for name in NAMES}, [0]
    kinds = ("top", "rank", "around", "ranks", "range", "deep")
    seen = [now["laps"]]

    async def redefine() -> None:
        for number in range(6):
            order: Any = "asc" if number % 2 else "desc"
            ties: Any = "earliest" if number % 3 else "shared"
            await change(any_api, now, ids, ("create", "laps", Rules(order=order, ties=ties, metadata_bytes=9)))
            seen.append(now["laps"])
            for step in (("change", "laps", 1 + number % 3), ("delete", "laps")):
                await change(any_api, now, ids, step)
                seen.append(now["laps"])
                await asyncio.sleep(0.02)

    async def read(kind: str) -> None:
        first = len(seen) - 1
        found = await answer(any_api, "laps", kind)
        possible = [expected(one, kind) for one in (*seen[first:], now["laps"])]
        if found == "no_entry":  # the player of another creation
            found = "user_not_found"
        assert found in possible, (kind, found, possible)

    redefining = asyncio.create_task(redefine())
    while not redefining.done():
        await gather([read(kind) for kind in kinds for _ in range(4)])
    await redefining
    assert len(seen) > 15


@pytest.mark.parametrize(
    ("found", "differs"),
    [
        *(("7 3", False), ("7 3 differs", False), ("7 2", False), ("6 9", False), ("6 gone", False), ("0 0", False)),
        *(("7 4", True), ("7 4 differs", True), ("8 1", True), ("8 gone", True), ("7 gone", True)),
    ],
)
def test_only_a_later_definition_is_another_board(found: str, *, differs: bool) -> None:
    board = Board("laps", 7, 3, Rules())
    if not differs:
        check_definition(board, found)
        return
    with pytest.raises(Redefined):
        check_definition(board, found)


async def test_a_board_that_is_another_one_each_time_is_unavailable(api: Api) -> None:
    places, tries = api.services.places, 0

    async def read(place: Place) -> None:
        nonlocal tries
        tries += 1
        raise Redefined(place.board.name)

    with pytest.raises(Unavailable):
        await places.read("main", GLOBAL, read)
    assert tries == TRIES
