"""Reads pages of a player's entries from Redis: in two round trips to its own shard, and one to each other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from leaderboard_core.boards import ALL, MAIN, Board, Definition, Place
from leaderboard_core.errors import Unavailable, UserNotFound, WarmingUp
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL, ShardMap
from leaderboard_service.boards.places import TRIES, Redefined, check_definition
from leaderboard_service.boards.source import BoardSource
from leaderboard_service.players.standings import (
    PAGE,
    Card,
    EntriesPage,
    EntryName,
    PlayerEntry,
    Standing,
    entry_names,
    page_of,
)


class _Counted(NamedTuple):
    """What one shard counts of a ranking: its players, and those above and before the player."""

    total: int
    above: int
    before: int


class RedisEntries:
    """Reads where a player stands on every board; which boards there are says the player's own shard."""

    def __init__(self, shard_map: ShardMap, boards: BoardSource) -> None:
        self._map = shard_map
        self._boards = boards

    async def page(self, user_id: str, after: str | None, main: Board) -> EntriesPage:
        """Read up to PAGE entries on boards behind that name, the main board's, as it is known, before all others.

        Raises UserNotFound, WarmingUp, Unavailable, and Redefined when the main board is.
        """
        for _ in range(TRIES):
            try:
                return await self._page(user_id, after, main)
            except Redefined as redefined:
                if redefined.name == MAIN.name:
                    raise
        raise Unavailable("Boards are being defined anew; try again shortly.")

    async def _page(self, user_id: str, after: str | None, main: Board) -> EntriesPage:
        home, card, fields = await self._find(user_id)
        entries = [await self._on_main(card, main)] if after is None else []
        names = entry_names(fields, after)
        while names and len(entries) < PAGE:
            wanted = PAGE - len(entries)
            entries += await self._read(home, card, names[:wanted])
            names = names[wanted:]
        return page_of(card, entries, more=bool(names))

    async def _find(self, user_id: str) -> tuple[Shard, Card, list[str]]:
        async def look(shard: Shard) -> Any:
            keys = shard.keys
            asked = (keys.admission, keys.user(user_id), keys.entries(user_id), keys.board(GLOBAL))
            return await shard.run("list_entries", asked, (user_id,))

        shards = self._map.shards_of_player(user_id)
        for shard, answer in zip(shards, await asyncio.gather(*map(look, shards)), strict=True):
            if answer[0] == "incomplete":
                await shard.report_incomplete(user_id)
                raise WarmingUp
            if answer[0] == "ok":
                _, name, region, score, updated_at, submits, metadata, *fields = answer
                return shard, Card(user_id, name, region, int(score), int(updated_at), int(submits), metadata), fields
        raise UserNotFound

    async def _on_main(self, card: Card, main: Board) -> PlayerEntry:
        places = [Place(main, ALL, region) for region in dict.fromkeys((card.region, GLOBAL))]
        found = await asyncio.gather(*(self._boards.rank(place, card.user_id) for place in places))
        standings = {
            place.region: Standing(one.row.rank, one.row.position, one.total)
            for place, one in zip(places, found, strict=True)
        }
        key = found[0].row.key
        return PlayerEntry(main, key, card.user_id, card.updated_at, card.submits, card.metadata, standings)

    async def _read(self, home: Shard, card: Card, names: Sequence[EntryName]) -> list[PlayerEntry]:
        """Read entries and the standings of each; those of boards that are gone are left out."""
        own = await self._on_home(home, card, names)
        places = [(number, place) for number, (_, counted) in enumerate(own) for place in counted]
        await asyncio.gather(*(self._add_counts(shard, own, places) for shard in self._map.shards if shard is not home))
        return [
            entry._replace(
                standings={
                    place.region: Standing(
                        1 + sum(one.above for one in counted),
                        1 + sum(one.before for one in counted),
                        sum(one.total for one in counted),
                    )
                    for place, counted in by_place.items()
                }
            )
            for entry, by_place in own
        ]

    async def _on_home(
        self, home: Shard, card: Card, names: Sequence[EntryName]
    ) -> list[tuple[PlayerEntry, dict[Place, list[_Counted]]]]:
        keys = home.keys
        asked = [keys.admission, keys.entries(card.user_id)]
        for board_name, _, field in names:
            asked += [keys.definition(board_name), keys.rules(board_name)]
            asked += [keys.entry_set(field, card.region), keys.entry_set(field, GLOBAL)]
        answers = await home.run("read_entries", asked, (card.user_id, *(name.field for name in names)))
        found = []
        for name, answer in zip(names, answers, strict=True):
            if not answer or not answer[0]:
                continue
            state, rules, text, of_region, of_global = answer
            definition = Definition.parse(name.board, state, rules)
            if definition.gone or definition.board.id != name.board_id:
                continue
            board = definition.board
            if board.rules.regions and keys.only_region:
                of_global = of_region
            places = {Place(board, ALL, GLOBAL): of_global}
            if board.rules.regions:
                places = {Place(board, ALL, card.region): of_region, **places}
            if all(places.values()):
                counts = {place: [_Counted(*counted)] for place, counted in places.items()}
                found.append((_entry_of(board, card, text), counts))
        return found

    async def _add_counts(
        self,
        shard: Shard,
        own: Sequence[tuple[PlayerEntry, dict[Place, list[_Counted]]]],
        places: Sequence[tuple[int, Place]],
    ) -> None:
        """Have a shard count before the player in the rankings that it has a part of. Raises Redefined."""
        asked = [(number, place) for number, place in places if shard in self._map.shards_of_board(place.region)]
        if not asked:
            return
        keys = [shard.keys.admission]
        points: list[str | int] = []
        for number, place in asked:
            keys += [shard.keys.definition(place.board.name), shard.keys.place(place)]
            points += [own[number][0].key, own[number][0].member]
        answers = await shard.run("count_places", keys, points)
        for (number, place), (state, *counted) in zip(asked, answers, strict=True):
            check_definition(place.board, state or "0 0")
            own[number][1][place].append(_Counted(*counted))


def _entry_of(board: Board, card: Card, text: str) -> PlayerEntry:
    """Read an entry as its hash has it (`includes/merge_entry.lua`)."""
    key, tie, clock, submits, *_ = text.split(" ")
    metadata = text[text.index("{") :] if "{" in text else ""
    member = ("" if tie == "-" else tie) + card.user_id
    return PlayerEntry(board, int(key), member, int(clock), int(submits), metadata, {})
