"""Live streams of boards that are named, deleted, shown in another way, and too many."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from urllib.parse import quote

import pytest

from leaderboard_core.boards import Board, Definition, Rules
from tests.conftest import Start
from tests.integration.leaderboard_service.boards.test_board_parameter import tell
from tests.integration.leaderboard_service.boards.test_places import fill
from tests.support.events import listening
from tests.support.service import Api
from tests.support.waiting import eventually

LAPS = Board("laps", 7, 1, Rules(order="asc", ties="earliest"))


def base(api: Api) -> str:
    return str(api.http.base_url)


async def some_player(api: Api) -> str:
    user_id: str = (await api.get("/top", board="laps", limit=5)).json()["rows"][4]["user_id"]
    return user_id


async def test_what_changes_on_a_board_and_how_it_is_shown(any_api: Api) -> None:
    await tell(any_api, Definition(LAPS))
    await fill(any_api.services.shard_map, LAPS, random.Random(1))
    top = (await any_api.get("/top", board="laps", limit=3)).json()
    user_id = await some_player(any_api)
    around = (await any_api.get(f"/around/{user_id}", board="laps", range=2)).json()
    async with (
        listening(base(any_api), "/stream/top?board=laps&limit=3") as rows,
        listening(base(any_api), f"/stream/rank/{user_id}?board=laps&range=2") as own,
    ):
        first, mine = await rows.next(), await own.next()
        assert (first.name, first.data["board"], first.data["total"]) == ("snapshot", "laps", 60)
        assert first.data["rows"] == top["rows"]
        mine.data["self"].pop("percentile")
        assert (mine.data["board"], mine.data["self"], mine.data["around"]) == (
            "laps",
            around["self"],
            around["around"],
        )
        await tell(any_api, Definition(Board("laps", 7, 2, Rules(order="asc", ties="earliest", decimals=1))))
        shown, mine = await rows.next(), await own.next()
        assert (shown.name, shown.data["removed"]) == ("change", [])
        assert [row["score_text"] for row in shown.data["rows"]] == [f"-0.{-row['score']}" for row in top["rows"]]
        assert mine.data["self"]["score_text"] == f"-0.{-around['self']['score']}"


@pytest.mark.parametrize("anew", [False, True])
async def test_a_board_that_is_deleted_ends_its_streams(any_api: Api, *, anew: bool) -> None:
    """Also where another one has the name before anybody looks; the streams of others go on."""
    await tell(any_api, Definition(LAPS))
    await fill(any_api.services.shard_map, LAPS, random.Random(1))
    user_id = await some_player(any_api)
    hub = any_api.services.live_hub
    async with (
        listening(base(any_api), "/stream/top?board=laps&region=eu&limit=3") as rows,
        listening(base(any_api), f"/stream/rank/{user_id}?board=laps&range=2") as own,
        listening(base(any_api), "/stream/top") as main,
    ):
        for listener in (rows, own, main):
            assert (await listener.next()).name == "snapshot"
        await tell(any_api, Definition(LAPS, gone=True))
        if anew:
            await tell(any_api, Definition(Board("laps", 8, 1, Rules())))
        for listener, said in (
            (rows, {"board": "laps", "region": "EU"}),
            (own, {"board": "laps", "region": "GLOBAL", "user_id": user_id}),
        ):
            last = await listener.next()
            assert (last.name, last.data) == ("gone", said)
        for path in ("/stream/top", f"/stream/rank/{user_id}"):
            if not anew:
                response = await any_api.get(path, board="laps")
                assert (response.status_code, response.json()["error"]) == (404, "board_not_found")
        await any_api.register("ann", "EU", 1)
        assert (await main.next()).name == "change"

        async def left() -> bool:
            return set(hub._top_pollers) | set(hub._rank_pollers) == {"GLOBAL"}

        await eventually(left)


async def test_every_stream_of_a_deleted_board_is_told(api: Api) -> None:
    """However many there are: some of them leave while others are still being told."""
    await tell(api, Definition(LAPS))
    await fill(api.services.shard_map, LAPS, random.Random(1))
    rows = (await api.get("/top", board="laps", limit=60)).json()["rows"]
    async with AsyncExitStack() as stack:
        listeners = [
            await stack.enter_async_context(
                listening(base(api), f"/stream/rank/{quote(row['user_id'])}?board=laps&range={reach}")
            )
            for row in rows
            for reach in (0, 1, 2, 3)
        ]
        for listener in listeners:
            assert (await listener.next()).name == "snapshot"
        await tell(api, Definition(LAPS, gone=True))
        for listener in listeners:
            assert (await listener.next()).name == "gone"


async def test_streams_of_a_player_who_is_not_on_the_board_or_is_taken_off(api: Api) -> None:
    await tell(api, Definition(LAPS))
    await fill(api.services.shard_map, LAPS, random.Random(1))
    away = await api.get("/stream/rank/away", board="laps")
    assert (away.status_code, away.json()["error"], away.json()["total"]) == (404, "no_entry", 60)
    user_id = await some_player(api)
    region = (await api.get(f"/around/{user_id}", board="laps")).json()["self"]["region"]
    async with listening(base(api), f"/stream/rank/{user_id}?board=laps") as own:
        assert (await own.next()).name == "snapshot"
        (shard,) = api.services.shard_map.shards
        field = "laps.7:all"
        tie = str(await shard.client.hget(f"entries:{user_id}", field)).split(" ")[1]
        for place in (region, "GLOBAL"):
            await shard.client.zrem(f"leaderboard:{field}:{place}", tie + user_id)
        assert (await own.next()).data == {"board": "laps", "region": "GLOBAL", "user_id": user_id}


async def test_only_so_many_rankings_have_streams(start: Start) -> None:
    api = await start(STREAM_BOARDS=2)
    boards = [Board(name, number, 1, Rules()) for number, name in enumerate("abc", start=1)]
    await tell(api, *map(Definition, boards))
    async with listening(base(api), "/stream/top?board=a") as one:
        async with listening(base(api), "/stream/top?board=b") as other:
            await one.next()
            await other.next()
            for path in (
                "/stream/top?board=c",
                "/stream/top",
                "/stream/top?board=a&region=eu",
                "/stream/rank/x?board=c",
            ):
                refused = await api.get(path)
                assert (refused.status_code, refused.json()["error"]) == (503, "too_many_streams"), path
                assert refused.headers["retry-after"] == "5"
            async with listening(base(api), "/stream/top?board=a&limit=3") as same:
                await same.next()

        async def room() -> bool:
            return len(api.services.live_hub._top_pollers) < 2

        await eventually(room)
        async with listening(base(api), "/stream/top?board=c") as another:
            assert (await another.next()).data["board"] == "c"


async def test_metadata_comes_to_whoever_asks_for_it(any_api: Api) -> None:
    """Also where it alone changes; a board that keeps none shows none, until it does."""
    assert (await any_api.define({"metadata_bytes": 64}, "laps")).status_code == 201

    async def submit(user_id: str, score: int, metadata: object) -> None:
        body = {"user_id": user_id, "region": "EU", "board": "laps", "score": score, "metadata": metadata}
        assert (await any_api.post("/score", body, token=any_api.server_token())).status_code == 200

    await submit("ada", 7, {"car": 1})
    await submit("bob", 5, None)
    asked = "board=laps&metadata=true"
    async with (
        listening(base(any_api), f"/stream/top?{asked}&limit=2") as rows,
        listening(base(any_api), f"/stream/top?{asked}&limit=1") as first,
        listening(base(any_api), "/stream/top?board=laps&limit=2") as plain,
        listening(base(any_api), f"/stream/rank/bob?{asked}&range=2") as bob,
        listening(base(any_api), f"/stream/rank/ada?{asked}&range=0") as ada,
        listening(base(any_api), "/stream/top?metadata=true") as main,
    ):
        found = await rows.next()
        assert [(row["user_id"], row["metadata"]) for row in found.data["rows"]] == [("ada", {"car": 1}), ("bob", None)]
        assert [row["metadata"] for row in (await first.next()).data["rows"]] == [{"car": 1}]
        assert all("metadata" not in row for row in (await plain.next()).data["rows"])
        own = (await bob.next()).data
        assert (own["self"]["metadata"], own["around"][0]["metadata"]) == (None, {"car": 1})
        assert (await ada.next()).data["self"]["metadata"] == {"car": 1}
        assert all("metadata" not in row for row in (await main.next()).data["rows"])

        await submit("ada", 7, {"car": 2})
        found = await rows.next()
        assert (found.name, [row["user_id"] for row in found.data["rows"]]) == ("change", ["ada"])
        assert found.data["rows"][0]["metadata"] == {"car": 2}
        assert (await first.next()).data["rows"][0]["metadata"] == {"car": 2}
        assert (await bob.next()).data["around"][0]["metadata"] == {"car": 2}
        assert (await ada.next()).data["self"]["metadata"] == {"car": 2}
        await submit("bob", 6, {"car": 3})
        # Whoever sees the first row alone, or no metadata, is told of what they see.
        found = await plain.next()
        assert [(row["user_id"], row["score"]) for row in found.data["rows"]] == [("bob", 6)]

        assert (await any_api.define({"metadata_bytes": 9})).status_code == 200
        body = {"user_id": "ada", "region": "EU", "score": 1, "metadata": {"car": 4}}
        assert (await any_api.post("/score", body, token=any_api.server_token())).status_code == 200
        while True:
            found = await main.next()
            if any(row.get("metadata") == {"car": 4} for row in found.data["rows"]):
                break
