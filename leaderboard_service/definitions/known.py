"""Keep what this process knows of boards: their definitions, and which one each shard has, for reads and writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from leaderboard_core.boards import ALL, MAIN, Board, Definition, Place, Rules
from leaderboard_core.errors import BoardNotFound
from leaderboard_core.redis.definitions import read_definition
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL
from leaderboard_core.settings import MAX_EXACT_INTEGER, LimitSettings
from leaderboard_service.definitions.rules import effective
from leaderboard_service.definitions.store import DefinitionStore

TRIES = 3
"""How often a call is tried that finds a definition which its process does not know."""
_REFUSES_NOTHING: Final = "- - - - latest 1 0 0 0"
"""The main board's rules as they begin."""


@dataclass(frozen=True, slots=True)
class HeededRules:
    """Rules as the write scripts take them, for scores of players and of servers, and the definition they are of.

    `field` names the board's entries, "" where a score stands on the player's card.
    """

    board: Board
    state: str
    field: str
    of_players: str
    of_servers: str

    @classmethod
    def of(cls, definition: Definition, limits: LimitSettings) -> HeededRules:
        board = definition.board
        rules = effective(board.rules, limits) if board.is_main else board.rules
        closed = "" if rules.open else "board_closed"
        by_servers = closed or ("forbidden" if rules.submit == "server" else "")
        field = "" if board.is_main else Place(board, ALL, GLOBAL).entry_field
        return cls(board, definition.state, field, _encode(board, rules, by_servers), _encode(board, rules, closed))

    def for_write(self, *, players_own: bool) -> str:
        return self.of_players if players_own else self.of_servers


class KnownBoards:
    """The boards that this process has heard of, until a call is told that another definition stands on a shard.

    Scripts compare, so that a process that was paused, or that nobody has told, cannot go by rules of before.
    """

    def __init__(self, store: DefinitionStore, limits: LimitSettings) -> None:
        self._store = store
        self._limits = limits
        self._boards = {MAIN.name: MAIN}
        self._heeded: dict[tuple[Shard, str], HeededRules] = {}

    async def board(self, name: str) -> Board:
        """Return a board as it was last heard of; an unknown name is asked for each time.

        Raises BoardNotFound and Unavailable.
        """
        return self.heard_of(name) or await self.look_again(name)

    def heard_of(self, name: str) -> Board | None:
        """Return a board as it was last heard of, None for an unknown name: for whoever would not wait otherwise."""
        return self._boards.get(name)

    async def look_again(self, name: str) -> Board:
        """Ask what the board of a name is now. Raises as `board`."""
        saved = await self._store.read(name)
        if saved is None:
            self._boards.pop(name, None)
            raise BoardNotFound
        board, known = saved.definition.board, self._boards.get(name)
        if known is not None and (known.id, known.version) > (board.id, board.version):
            return known  # an answer that was on its way for long
        self._boards[name] = board
        return board

    def heeded(self, shard: Shard, board: Board) -> HeededRules:
        """Return the rules by which this process writes to a board on a shard: the latest that it has heard of.

        For one that has been made anew since they are those of before, by which nothing is written any more.
        """
        known = self._heeded.get((shard, board.name))
        if known is not None and known.board is board:
            return known
        if known is not None and known.board.id > board.id:
            return HeededRules.of(Definition(board), self._limits)
        if known is None or (board.id, board.version) > (known.board.id, known.board.version):
            known = self._heeded[shard, board.name] = HeededRules.of(Definition(board), self._limits)
        return known

    async def read_again(self, shard: Shard, name: str) -> Board:
        """Read from a shard which board it has, for writes there. Raises BoardNotFound, Unavailable and WarmingUp."""
        definition = await read_definition(shard, name)
        if definition is None or definition.gone:
            self._heeded.pop((shard, name), None)
            self._boards.pop(name, None)
            raise BoardNotFound
        self._heeded[shard, name] = HeededRules.of(definition, self._limits)
        board, known = definition.board, self._boards.get(name, MAIN)
        if (known.id, known.version) <= (board.id, board.version):
            self._boards[name] = board
        return board


def _encode(board: Board, rules: Rules, refusal: str) -> str:
    """Write rules as the scripts have them; '' for those of the main board that refuse nothing."""
    lowest = "-" if rules.min_score == -MAX_EXACT_INTEGER else rules.min_score
    highest = "-" if rules.max_score == MAX_EXACT_INTEGER else rules.max_score
    step = "-" if rules.max_step is None else rules.max_step
    bounds = (lowest, highest, step, refusal or "-")
    kind = (rules.operator, board.sign, board.tie_digits)
    heeded = " ".join(map(str, (*bounds, *kind, rules.max_submits, rules.metadata_bytes)))
    return "" if board.is_main and heeded == _REFUSES_NOTHING else heeded
