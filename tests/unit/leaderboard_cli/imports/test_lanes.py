"""Test that pages of several players are taken at once, and lines of one player in their order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import aclosing

import pytest

from leaderboard_cli.imports.lanes import LANES, in_lanes
from leaderboard_core.boards import MAIN
from worker_service.importing.states import BEFORE_ALL, State

PLAYERS = 40


def groups_of(count: int, size: int) -> list[list[State]]:
    chance = random.Random(3)
    states = [
        State(line, f"p{chance.randrange(PLAYERS)}", "", "EU", "", MAIN, 1, BEFORE_ALL)
        for line in range(1, count * size + 1)
    ]
    return [states[first : first + size] for first in range(0, len(states), size)]


class Taker:
    def __init__(self, refused: int = 0) -> None:
        self.lines: dict[str, list[int]] = {}
        self.at_work: set[str] = set()
        self.most = 0
        self._pages = 0
        self._refused = refused
        self._chance = random.Random(5)

    async def take(self, page: Sequence[State]) -> int:
        players = {state.user_id for state in page}
        assert not players & self.at_work, "two pages at work have lines of the same player"
        self.at_work |= players
        self._pages += 1
        self.most = max(self.most, self._pages)
        try:
            for _ in range(self._chance.randrange(9)):
                await asyncio.sleep(0)
            for state in page:
                if state.line == self._refused:
                    raise LookupError(state.user_id)
                self.lines.setdefault(state.user_id, []).append(state.line)
        finally:
            self.at_work -= players
            self._pages -= 1
        return len(page)


async def test_lines_of_a_player_are_taken_in_their_order_and_those_of_others_at_once() -> None:
    groups, taker, done = groups_of(30, 20), Taker(), list[list[State]]()
    async with aclosing(in_lanes(groups, list, taker.take)) as found:
        async for group, results in found:
            assert sum(results) == len(group)
            assert all(state.line in taker.lines[state.user_id] for state in group)
            done.append(group)
    assert done == groups
    assert taker.most == LANES
    for user_id, lines in taker.lines.items():
        assert lines == [state.line for group in groups for state in group if state.user_id == user_id]


async def test_nothing_is_taken_behind_what_could_not_be() -> None:
    groups = groups_of(30, 20)
    refused = groups[4][7]
    taker, done = Taker(refused.line), list[list[State]]()

    async def work() -> None:
        async with aclosing(in_lanes(groups, list, taker.take)) as found:
            async for group, _ in found:
                done.append(group)

    with pytest.raises(LookupError, match=f"^{refused.user_id}$"):
        await work()
    assert done == groups[:4]
    assert taker.at_work == set()
    assert max(taker.lines[refused.user_id]) < refused.line


async def test_no_more_is_read_than_is_at_work() -> None:
    groups, read = groups_of(30, 20), 0

    async def take(page: Sequence[State]) -> int:
        await asyncio.sleep(0)
        return len(page)

    def counted() -> Iterator[list[State]]:
        nonlocal read
        for group in groups:
            read += 1
            yield group

    async with aclosing(in_lanes(counted(), list, take)) as found:
        done = 0
        async for _ in found:
            assert read - done <= 3
            done += 1
    assert done == len(groups)
