"""Every read of a board that is named, over HTTP and from both stores, against sorting; and what is refused."""

from __future__ import annotations

import random
from typing import Any

import httpx
import pytest
import redis.asyncio as redis

from leaderboard_core.boards import ALL, Board, Definition, Place, Rules
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.definitions import define
from leaderboard_core.redis.keys import GLOBAL
from leaderboard_service.boards.ranking import RankedRow, percentile
from leaderboard_service.boards.rows import score_text
from tests.integration.leaderboard_service.boards.test_places import REGIONS, Entry, as_answered, fill, players_of, save
from tests.support.service import Api

BOARDS = [
    Board("kills", 7, 1, Rules(operator="best", metadata_bytes=200)),
    Board("laps", 8, 1, Rules(operator="best", order="asc", ties="earliest", decimals=3, metadata_bytes=200)),
    Board("coins", 9, 1, Rules(operator="sum", ties="earliest", regions=False)),
    Board("golf", 10, 1, Rules(order="asc", decimals=1)),
]


async def tell(api: Api, *definitions: Definition) -> None:
    """Have boards defined on every shard, as a statement that was answered has."""
    for shard in api.services.shard_map.shards:
        for definition in definitions:
            await define(shard, definition)


def as_json(row: RankedRow, board: Board, entries: dict[str, Entry], *, metadata: bool) -> dict[str, Any]:
    user_id, score = board.user_id_of(row.member), board.sign * row.key
    shown: dict[str, Any] = {"rank": row.rank, "position": row.position, "user_id": user_id, "name": row.name}
    shown |= {"region": row.region, "score": score}
    if board.rules.decimals:
        shown["score_text"] = score_text(score, board.rules.decimals)
    if metadata and board.rules.metadata_bytes:
        at = entries[user_id].reached_at % 10
        shown["metadata"] = {"at": {"n": at}} if score != 1 else None
    return shown


async def compare(api: Api, board: Board, entries: list[Entry], source: str) -> None:
    async def get(path: str, **params: Any) -> Any:
        response = await api.get(path, board=board.name, **params)
        where = response.headers.get("x-leaderboard-source", "redis")  # who is not found in Redis has no header
        assert where == source, (path, params)
        return response.json()

    by_id = {entry.user_id: entry for entry in entries}
    for region in (*REGIONS, GLOBAL) if board.rules.regions else (GLOBAL,):
        expected = as_answered(entries, Place(board, ALL, region))
        for metadata in (False, True):
            rows = [as_json(row, board, by_id, metadata=metadata) for row in expected]
            head = {"board": board.name, "region": region, "total": len(rows)}
            asked = {"region": region, "metadata": str(metadata).lower()}
            page = await get("/top", limit=1000, **asked)
            assert page == {**head, "rows": rows, "next_cursor": None}
            page = await get("/top", limit=7, **asked)
            walked = page["rows"]
            while page["next_cursor"]:
                page = await get("/top", limit=7, cursor=page["next_cursor"], **asked)
                walked += page["rows"]
            assert walked == rows
            assert (await get("/top", limit=5, offset=len(rows) - 3, **asked))["rows"] == rows[-3:]
            inside = [row for row in rows if -1 <= row["score"] <= 1]
            assert (await get("/range", min=-1, max=1, **asked))["rows"] == inside
            for first, last in ((2, 9), (1, 1), (len(rows) - 2, len(rows) + 5), (None, 4)):
                ranks = {name: rank for name, rank in (("from", first), ("to", last)) if rank is not None}
                wanted = [row for row in rows if (first or 1) <= row["rank"] <= last]
                page = await get("/range", limit=3, **ranks, **asked)
                walked = page["rows"]
                while page["next_cursor"]:
                    page = await get("/range", limit=3, cursor=page["next_cursor"], **ranks, **asked)
                    walked += page["rows"]
                assert walked == wanted
            user_id = rows[4]["user_id"]
            around = await get(f"/around/{user_id}", range=2, **asked)
            assert around == {"found": True, **head, "self": rows[4], "around": rows[2:4] + rows[5:7]}
            own = {name: value for name, value in rows[4].items() if name != "region"}
            share = percentile(rows[4]["rank"], len(rows))
            assert await get(f"/rank/{user_id}", **asked) == {"found": True, **head, "percentile": share, **own}
            some = [row["user_id"] for row in rows[1:6]]
            body = {"board": board.name, "region": region, "metadata": metadata, "user_ids": [*some, "away", "nobody"]}
            answer = (await api.post("/ranks", body)).json()
            assert (answer["board"], answer["region"], answer["total"]) == (board.name, region, len(rows))
            assert answer["unknown"] == ["away", "nobody"]
            for found, row in zip(answer["rows"], rows[1:6], strict=True):
                place, share = found.pop("place"), found.pop("percentile")
                assert (found, share) == (row, percentile(row["rank"], len(rows)))
                assert place == 1 + sum(other["rank"] < row["rank"] for other in rows[1:6])
        for path in ("/rank", "/around"):
            missing = await get(f"{path}/away", region=region)
            assert (missing["error"], missing["found"], missing["total"]) == ("no_entry", False, len(rows))
            assert (await get(f"{path}/nobody", region=region))["error"] == "user_not_found"


async def test_every_read_of_several_boards_is_what_sorting_says(
    any_api: Api, all_redis: redis.Redis, databases: RegionDatabases
) -> None:
    await tell(any_api, *map(Definition, BOARDS))
    filled = {board: await fill(any_api.services.shard_map, board, random.Random(1)) for board in BOARDS}
    await save(databases, BOARDS, players_of(random.Random(1)))
    for board in BOARDS:
        await databases[GLOBAL].execute(
            "INSERT INTO boards (name, id, version, rules) VALUES ($1, $2, $3, $4)",
            *(board.name, board.id, board.version, board.rules.encode()),
        )
    for board, entries in filled.items():
        await compare(any_api, board, entries, "redis")
    for shard in any_api.services.shard_map.shards:
        await shard.client.flushdb()
    for board, entries in filled.items():
        await compare(any_api, board, entries, "postgres")
    # What this process knows by now is confirmed, though no shard tells.
    await databases[GLOBAL].execute("UPDATE boards SET gone = TRUE WHERE name = 'laps'")
    await databases[GLOBAL].execute("UPDATE boards SET id = 99 WHERE name = 'kills'")
    assert (await any_api.get("/top", board="laps")).json()["error"] == "board_not_found"
    assert (await any_api.get("/rank/a0", board="laps")).json()["error"] == "board_not_found"
    anew = await any_api.get("/top", board="kills")
    assert (anew.json()["total"], anew.headers["x-leaderboard-source"]) == (0, "postgres")


@pytest.mark.parametrize("path", ["/top", "/range?min=0", "/rank/ann", "/around/ann", "/ranks"])
async def test_a_board_that_is_none_and_a_region_that_it_has_not(api: Api, path: str) -> None:
    flat = Board("flat", 3, 1, Rules(regions=False))
    await tell(api, Definition(flat), Definition(Board("past", 4, 2, Rules()), gone=True))
    await api.register("ann", "EU", 5)

    async def ask(**asked: str) -> tuple[int, Any]:
        if path == "/ranks":
            response = await api.post(path, {"user_ids": ["ann"], **asked})
        else:
            response = await api.get(f"{path}{'&' if '?' in path else '?'}{httpx.QueryParams(asked)}")
        return response.status_code, response.json()

    for unknown in ("speed-run", "past"):
        status, answer = await ask(board=unknown)
        assert (status, answer["error"]) == (404, "board_not_found")
    for malformed in ("Main", "a b", "-a", "a" * 64, "", "a.7"):
        status, answer = await ask(board=malformed)
        assert (status, answer["error"], answer["fields"][0]["field"]) == (422, "invalid_payload", "board"), malformed
    status, answer = await ask(board="flat", region="EU")
    assert (status, answer["error"], answer["fields"][0]["field"]) == (422, "invalid_payload", "region")
    assert (await ask(board="flat", region="MARS"))[1]["error"] == "unknown_region"
    status, answer = await ask(board="flat", region="global")
    assert status == 200 or (answer["error"], answer["total"]) == ("no_entry", 0)
    status, answer = await ask(board="main", region="eu")
    assert (status, answer["board"], answer["region"], answer["total"]) == (200, "main", "EU", 1)


async def test_scores_are_shown_as_the_definition_says_as_soon_as_that_is_answered(start: Any) -> None:
    """Also by a replica that nobody told, for the main board and for others."""
    one, other = await start(), await start()
    await one.register("ann", "EU", -5)
    assert "score_text" not in (await other.get("/rank/ann")).json()
    for decimals, text in ((2, "-0.05"), (0, None), (1, "-0.5")):
        assert (await one.define({"decimals": decimals})).status_code == 200
        for api in (other, one):
            assert (await api.get("/rank/ann")).json().get("score_text") == text
            assert (await api.top())["rows"][0].get("score_text") == text
            listed = (await api.post("/ranks", {"user_ids": ["ann"]})).json()
            assert listed["rows"][0].get("score_text") == text
            assert (await api.get("/around/ann")).json()["self"].get("score_text") == text


async def test_a_cursor_is_for_one_creation_of_a_board(api: Api) -> None:
    board = Board("laps", 3, 1, Rules(order="asc"))
    await tell(api, Definition(board))
    await fill(api.services.shard_map, board, random.Random(3))
    cursor = (await api.get("/top", board="laps", limit=3)).json()["next_cursor"]
    assert (await api.get("/top", board="laps", limit=3, cursor=cursor)).status_code == 200
    await tell(api, Definition(board, gone=True))
    await tell(api, Definition(Board("laps", 4, 1, Rules())), Definition(Board("other", 5, 1, Rules())))
    for path, asked in (("/top", {}), ("/range", {"min": "-9"})):
        for name in ("laps", "main", "other"):
            foreign = await api.get(path, board=name, cursor=cursor, **asked)
            assert foreign.status_code == 422, (name, foreign.text)
            assert (foreign.status_code, foreign.json()["fields"][0]["field"]) == (422, "cursor"), name
