"""Read what there is of players before their lines are saved: what Postgres has, and what their Redis has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import asyncpg

from leaderboard_core.boards import ALL, Board, Place
from leaderboard_core.entries import Entry, decode, merge
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import Pool
from leaderboard_core.redis.shard import Shard
from worker_service.importing.players import Known, all_of
from worker_service.importing.states import Before, Card, State
from worker_service.recovery.entries import ENTRIES_PER_CALL, Boards, entry_of
from worker_service.recovery.restore import fetched


async def read_before(
    shard: Shard, region: str, pool: Pool, states: Sequence[State], known: Mapping[str, Known], boards: Boards
) -> Before:
    """Read what there is of what lines are about, of each entry what stands of Postgres' and Redis'.

    Redis is not asked about players whom it does not know. Raises RebuildInterrupted, Unavailable.
    """
    cards = await cards_of(pool, sorted({state.user_id for state in states if state.board.is_main}))
    asked = {
        (state.user_id, state.board.id): boards[state.board.id]
        for state in states
        if not state.board.is_main and state.board.id in boards
    }
    entries = {
        (row["user_id"], row["board_id"]): entry_of(row, boards[row["board_id"]].name)
        for row in await entries_of(pool, asked)
    }
    found = [(user_id, board) for (user_id, _), board in asked.items() if known[user_id].region]
    same = set[tuple[str, int]]()
    for entry in await _entries_in(shard, region, found):
        at = (entry.user_id, entry.board_id)
        saved = entries.get(at)
        if entry == saved:
            same.add(at)
        entries[at] = entry if saved is None else merge(saved, entry)
    return Before({row["user_id"]: Card(row["micros"], row["submits"]) for row in cards}, entries, same)


async def cards_of(pool: Pool, user_ids: Sequence[str]) -> Sequence[asyncpg.Record]:
    """Read the rows of players. Raises RebuildInterrupted."""
    return await fetched(pool.fetch(sql.load("players_by_id"), user_ids)) if user_ids else []


async def entries_of(pool: Pool, entries: Mapping[tuple[str, int], object]) -> Sequence[asyncpg.Record]:
    """Read the rows of entries, by user_id and board. Raises RebuildInterrupted."""
    if not entries:
        return []
    user_ids, board_ids = ({at[part] for at in entries} for part in (0, 1))
    rows = await fetched(pool.fetch(sql.load("entries_on_boards"), sorted(user_ids), sorted(board_ids)))
    return [row for row in rows if (row["user_id"], row["board_id"]) in entries]


async def _entries_in(shard: Shard, region: str, asked: Sequence[tuple[str, Board]]) -> list[Entry]:
    parts = [asked[first : first + ENTRIES_PER_CALL] for first in range(0, len(asked), ENTRIES_PER_CALL)]
    answers: list[list[str]] = await all_of(
        shard.run(
            "read_states",
            [shard.keys.entries(user_id) for user_id, _ in part],
            [Place(board, ALL, region).entry_field for _, board in part],
        )
        for part in parts
    )
    texts = [text for answer in answers for text in answer]
    return [
        decode(text, user_id, board.id, board.name, ALL)
        for (user_id, board), text in zip(asked, texts, strict=True)
        if text
    ]
