"""A game that knows another leaderboard library finds its words answered: members, leaders, around me, percentiles."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from leaderboard_client import AsyncClient, NotFound
from tests.support.service import Api


class PeerBoard:
    """One board in the vocabulary of the `leaderboard` libraries of Ruby and Python, over HTTP."""

    def __init__(self, client: AsyncClient, name: str, region: str = "EU") -> None:
        self._client, self._region = client, region
        self._board = client.board(name, metadata=True)

    async def rank_member(self, member: str, score: int, member_data: Mapping[str, Any] | None = None) -> None:
        await self._board.submit(score, member, self._region, metadata=member_data)

    async def change_score_for(self, member: str, delta: int) -> None:
        item = {"user_id": member, "region": self._region, "delta": delta, "board": self._board.name}
        batch = await self._client.submit_many([item])
        assert batch.ok, batch

    async def remove_member(self, member: str) -> None:
        await self._board.remove(member)

    async def total_members(self) -> int:
        return (await self._board.top(limit=1)).total

    async def check_member(self, member: str) -> bool:
        return await self.rank_for(member) is not None

    async def rank_for(self, member: str) -> int | None:
        try:
            return (await self._board.rank(member)).rank
        except NotFound:
            return None

    async def score_and_rank_for(self, member: str) -> tuple[int, int]:
        found = await self._board.rank(member)
        return found.score, found.rank

    async def percentile_for(self, member: str) -> float:
        return (await self._board.rank(member)).percentile

    async def member_data_for(self, member: str) -> Mapping[str, Any] | None:
        return (await self._board.rank(member)).metadata

    async def leaders(self, page: int, page_size: int = 25) -> list[tuple[str, int, int]]:
        found = await self._board.top(limit=page_size, offset=(page - 1) * page_size)
        return [(row.user_id, row.rank, row.score) for row in found.rows]

    async def around_me(self, member: str, reach: int) -> list[str]:
        found = await self._board.around(member, reach=reach)
        rows = sorted((*found.around, found.own), key=lambda row: row.position)
        return [row.user_id for row in rows]

    async def members_from_score_range(self, low: int, high: int) -> list[str]:
        return [row.user_id for row in (await self._board.range_by_score(low, high)).rows]

    async def members_from_rank_range(self, first: int, last: int) -> list[str]:
        return [row.user_id for row in (await self._board.range_by_rank(first, last)).rows]

    async def ranked_in_list(self, members: list[str]) -> list[tuple[str, int]]:
        return [(row.user_id, row.rank) for row in (await self._board.ranks(members)).rows]


@pytest.fixture
async def server(any_api: Api) -> AsyncIterator[AsyncClient]:
    """A game server's client, of a system with a board of each kind."""
    for name, rules in (
        ("high", {"metadata_bytes": 100}),
        ("low", {"order": "asc", "metadata_bytes": 100}),
        ("first", {"ties": "earliest"}),
    ):
        assert (await any_api.define(rules, name)).status_code == 201
    async with AsyncClient(str(any_api.http.base_url), token=any_api.server_token()) as client:
        yield client


async def test_order_ties_and_member_data(server: AsyncClient) -> None:
    high, low = PeerBoard(server, "high"), PeerBoard(server, "low")
    for number in range(1, 11):
        await high.rank_member(f"member_{number:02}", number, {"name": f"Member {number}"})
        await low.rank_member(f"member_{number:02}", number)
    assert await high.leaders(1, 3) == [("member_10", 1, 10), ("member_09", 2, 9), ("member_08", 3, 8)]
    assert await high.leaders(4, 3) == [("member_01", 10, 1)]
    assert await low.leaders(1, 2) == [("member_01", 1, 1), ("member_02", 2, 2)]
    assert await high.around_me("member_05", 2) == [f"member_{number:02}" for number in (7, 6, 5, 4, 3)]
    assert await low.around_me("member_05", 1) == ["member_04", "member_05", "member_06"]
    assert await high.members_from_score_range(3, 5) == ["member_05", "member_04", "member_03"]
    assert await low.members_from_score_range(3, 5) == ["member_03", "member_04", "member_05"]
    assert await high.members_from_rank_range(2, 3) == ["member_09", "member_08"]
    assert await low.members_from_rank_range(2, 3) == ["member_02", "member_03"]
    assert await high.score_and_rank_for("member_07") == (7, 4)
    assert await low.score_and_rank_for("member_07") == (7, 7)
    assert await high.percentile_for("member_10") == 100.0
    assert await low.percentile_for("member_10") == 0.0
    assert await high.member_data_for("member_03") == {"name": "Member 3"}
    assert await low.member_data_for("member_03") is None
    assert await high.ranked_in_list(["member_01", "member_05", "nobody"]) == [("member_05", 6), ("member_01", 10)]


async def test_members_change_go_and_are_equal(server: AsyncClient) -> None:
    high, first = PeerBoard(server, "high"), PeerBoard(server, "first")
    for board in (high, first):
        for member in ("a", "b", "c"):
            await board.rank_member(member, 5)
        await board.change_score_for("b", 2)
        await board.change_score_for("b", -2)
    assert [rank for _, rank, _ in await high.leaders(1)] == [1, 1, 1]
    assert await first.leaders(1) == [("a", 1, 5), ("c", 2, 5), ("b", 3, 5)]
    await high.remove_member("c")
    assert (await high.total_members(), await first.total_members()) == (2, 3)
    assert (await high.check_member("c"), await first.check_member("c")) == (False, True)
    await high.rank_member("c", 50)
    assert await high.rank_for("c") == 1


async def test_a_players_own_board_over_the_client(any_api: Api, server: AsyncClient) -> None:
    """Its calls share one login, and answer with ranks where that is asked for."""
    await any_api.register("ann", "EU")
    await PeerBoard(server, "low").rank_member("bob", 5)
    async with AsyncClient(str(any_api.http.base_url), token=any_api.player_token("ann", "EU")) as client:
        low = client.board("low")
        written = await low.submit(9, "ann", ranks=True, metadata={"car": "red"})
        assert written.ranks is not None
        assert (written.board, written.improved, written.ranks["EU"].rank) == ("low", True, 2)
        written = await low.add(-5, ranks=True)
        assert written.ranks is not None
        assert (written.score, written.previous, written.ranks["GLOBAL"].position) == (4, 9, 1)
        entries = (await client.entries("ann")).entries
        assert [(one.board, one.score) for one in entries] == [("main", 0), ("low", 4)]
        assert (await low.rank("ann")).rank == 1
        assert [row.user_id async for row in low.iter_top("EU")] == ["ann", "bob"]
