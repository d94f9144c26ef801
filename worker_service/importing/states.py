"""Define what is imported, and make the rows of it: the states of cards and entries, and what becomes of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Final, Literal, NamedTuple

from leaderboard_core.boards import ALL, Board
from leaderboard_core.entries import Entry, merge, merge_all, tie_of
from leaderboard_core.events import ScoreEvent
from leaderboard_core.names import why_no_new_user_id
from worker_service.importing.players import Known

MADE: Final = 1
"""The time (µs) of a card with which a player begins, before whatever is said of it."""
BEFORE_ALL: Final = 2
"""The time (µs) of what is before whatever was written here."""
REQUEST_ID: Final = "import"
_MADE_BY: Final = "server"

Outcome = Literal["new", "changed", "kept", "deleted", "left_out"]
"""What became of a line: `kept` is what was here, `deleted` the player since; a Problem says why it was left out."""


class State(NamedTuple):
    """Where a player of another system stands on a board of this one.

    `clock` is when that was so, at least BEFORE_ALL. `name` and `region` are "" where the line has none; a new player
    is of `default_region` then. `metadata` is JSON, "" for none.
    """

    line: int
    user_id: str
    name: str
    region: str
    default_region: str
    board: Board
    score: int
    clock: int
    submits: int = 0
    metadata: str = ""

    @property
    def home(self) -> str:
        """Where a new player is at home."""
        return self.region or self.default_region


class Problem(NamedTuple):
    """Why a line is left out; its number."""

    line: int
    text: str


class Judged(NamedTuple):
    """Lines by the region in which their player is, or will be, at home; and those that do not fit who is there."""

    by_home: Mapping[str, Sequence[State]]
    problems: Sequence[Problem]


class Card(NamedTuple):
    """When the row of a card was written (µs), and its submits."""

    clock: int
    submits: int


_NO_CARD: Final = Card(0, 0)


class Before(NamedTuple):
    """What there is of some players: rows of cards, and of each entry, by player and board, what stands.

    `same` are the entries of which Postgres and Redis say the same.
    """

    cards: Mapping[str, Card]
    entries: Mapping[tuple[str, int], Entry]
    same: Set[tuple[str, int]]


class Rows(NamedTuple):
    """An event for each player of whom there is something to save, and what becomes of the lines of each player."""

    events: Sequence[ScoreEvent]
    outcomes: Sequence[tuple[str, Outcome]]


def judge(states: Iterable[State], known: Mapping[str, Known], earlier: Mapping[str, str] | None = None) -> Judged:
    """Hold lines against the players who are there; of a new one the first line says where it is at home.

    `earlier` are the homes of new ones of whom lines before these said it.
    """
    by_home: dict[str, list[State]] = {}
    problems = []
    said = earlier or {}
    homes = {user_id: player.region or said.get(user_id, "") for user_id, player in known.items()}
    for state in states:
        user_id, home = state.user_id, homes[state.user_id] or state.home
        if not home:
            problem: str | None = "region: is missing, and so is --region for players who are new"
        elif (
            state.region not in ("", home) and state.clock > known[user_id].deleted_at
        ):  # else of one who was there before
            problem = f"region: {user_id} is at home in {home} already, and players do not move"
        elif not homes[user_id] and (why := why_no_new_user_id(user_id)):
            problem = f"user_id: {why}"
        else:
            problem = None
        if problem is None:
            homes[user_id] = home
            by_home.setdefault(home, []).append(state)
        else:
            problems.append(Problem(state.line, problem))
    return Judged(by_home, problems)


def rows_of(region: str, states: Iterable[State], known: Mapping[str, Known], before: Before) -> Rows:
    """Make rows of states of players who are at home in a region, or are to be made there.

    Who has no card gets one with 0, before whatever else is said of it. What a deletion came after is left out, and so
    is what both Postgres and Redis have already.
    """
    by_player: dict[str, list[State]] = {}
    for state in states:
        by_player.setdefault(state.user_id, []).append(state)
    events: list[ScoreEvent] = []
    outcomes: list[tuple[str, Outcome]] = []
    for user_id in sorted(by_player):  # as every batch: nobody waits for rows in another order
        own, player = by_player[user_id], known[user_id]
        alive = [state for state in own if state.clock > player.deleted_at]
        said: list[Outcome] = ["deleted"] * (len(own) - len(alive))
        event = _event(region, alive, player, before, said) if alive else None
        if event is not None:
            events.append(event)
        outcomes += ((user_id, one) for one in said)
    return Rows(events, outcomes)


def _event(
    region: str, states: Sequence[State], player: Known, before: Before, outcomes: list[Outcome]
) -> ScoreEvent | None:
    user_id, deleted_at = states[0].user_id, player.deleted_at
    entries = tuple(merge_all(_entries(states, before, deleted_at, outcomes)))
    cards = [state for state in states if state.board.is_main]
    row = before.cards.get(user_id, _NO_CARD)
    latest = max(row.clock, player.updated_at)
    for state in cards:
        outcomes.append("kept" if state.clock <= latest or _is_card(player, state) else "changed" if latest else "new")
        latest = max(latest, state.clock)
    if player.region and row == (player.updated_at, player.submits):
        cards = [state for state in cards if state.clock > row.clock or state.submits > row.submits]
    if player.region and not cards and not entries:
        return None
    named = next((state.name for state in states if state.name), "")
    # As with a submit: the same score keeps what was said of it.
    card = max(cards, key=lambda state: state.clock, default=None)
    made = max(MADE, deleted_at + 1)
    kept = player.metadata if card and player.region and player.score == card.score else ""
    return ScoreEvent(
        user_id=user_id,
        name=(card.name if card else "") or player.name or named or user_id,
        region=region,
        score=card.score if card else None if player.region else 0,
        timestamp=card.clock if card else max(state.clock for state in states) if player.region else made,
        request_id=REQUEST_ID,
        protected=player.protected,
        credential=player.credential if player.region else _MADE_BY,
        submits=max(player.submits, *(state.submits for state in cards)) if card else 0,
        metadata=(card.metadata or kept) if card else "",
        entries=entries,
    )


def _is_card(player: Known, state: State) -> bool:
    """Whether a player's card says already what a state does, whatever the times."""
    said = (
        state.name or player.name,
        state.score,
        state.metadata or player.metadata,
        max(state.submits, player.submits),
    )
    return bool(player.region) and said == (player.name, player.score, player.metadata, player.submits)


def _entries(states: Sequence[State], before: Before, deleted_at: int, outcomes: list[Outcome]) -> Iterable[Entry]:
    stands: dict[int, Entry | None] = {}
    for state in states:
        board = state.board
        if board.is_main:
            continue
        if board.id not in stands:
            stands[board.id] = before.entries.get((state.user_id, board.id))
        earlier = stands[board.id]
        entry = _entry(state, earlier, deleted_at)
        merged = entry if earlier is None else merge(earlier, entry)
        outcomes.append("new" if earlier is None else "kept" if _looks_as(earlier, merged) else "changed")
        stands[board.id] = merged
        if merged != earlier or (state.user_id, board.id) not in before.same:
            yield entry


def _entry(state: State, earlier: Entry | None, deleted_at: int) -> Entry:
    board, key = state.board, state.board.sign * state.score
    entry = Entry(
        user_id=state.user_id,
        board_id=board.id,
        board=board.name,
        window=ALL,
        key=key,
        member=board.member_of(state.user_id, state.clock),
        clock=state.clock,
        submits=state.submits,
        base_at=deleted_at,
        best=board.rules.operator == "best",
        metadata=state.metadata,
    )
    if earlier is None or earlier.removed or earlier.key != key:
        return entry
    # As with a submit: who has the score keeps the moment at which it was reached, and what was said of it.
    member = max(entry.member, earlier.member) if tie_of(earlier.member, state.user_id) else entry.member
    if entry.best and state.clock < earlier.clock:
        # It was reached before; what was said last stands all the same.
        metadata, submits = earlier.metadata or entry.metadata, max(earlier.submits, entry.submits)
        return replace(earlier, member=member, submits=submits, metadata=metadata)
    return replace(entry, member=member, metadata=entry.metadata or earlier.metadata)


def _looks_as(one: Entry, other: Entry) -> bool:
    """Whether nobody sees a difference, whatever the times at which they were written."""
    return one == replace(other, clock=one.clock, base_at=one.base_at, last_key=one.last_key)
