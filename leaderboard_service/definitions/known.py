"""Keep which rules of the main board this process knows each shard to have, for the writes that go by them."""

from __future__ import annotations

from dataclasses import dataclass

from leaderboard_core.boards import MAIN, Definition, Rules
from leaderboard_core.redis.definitions import read_definition
from leaderboard_core.redis.shard import Shard
from leaderboard_core.settings import MAX_EXACT_INTEGER, LimitSettings
from leaderboard_service.definitions.rules import effective

TRIES = 3
"""How often a write is tried that finds a definition which its process does not know."""


@dataclass(frozen=True, slots=True)
class HeededRules:
    """Rules as the write scripts take them, for scores of players and of servers, and the definition they are of."""

    state: str
    of_players: str
    of_servers: str

    @classmethod
    def of(cls, definition: Definition, limits: LimitSettings) -> HeededRules:
        rules = effective(definition.board.rules, limits)
        closed = "" if rules.open else "board_closed"
        by_servers = closed or ("forbidden" if rules.submit == "server" else "")
        return cls(definition.state, _encode(rules, by_servers), _encode(rules, closed))

    def for_write(self, *, players_own: bool) -> str:
        return self.of_players if players_own else self.of_servers


class KnownRules:
    """The rules by which this process writes to each shard, until a write is told that another definition stands there.

    The script compares, so that a process that was paused, or that nobody has told, cannot write by rules of before.
    """

    def __init__(self, limits: LimitSettings) -> None:
        self._limits = limits
        self._at_first = HeededRules.of(Definition(MAIN), limits)
        self._known: dict[Shard, HeededRules] = {}

    def of(self, shard: Shard) -> HeededRules:
        """Return the rules that were last read from that shard."""
        return self._known.get(shard, self._at_first)

    async def read_again(self, shard: Shard) -> None:
        """Read them from the shard. Raises Unavailable and WarmingUp."""
        definition = await read_definition(shard, MAIN.name) or Definition(MAIN)
        self._known[shard] = HeededRules.of(definition, self._limits)


def _encode(rules: Rules, refusal: str) -> str:
    bounded = (rules.min_score, rules.max_score) != (-MAX_EXACT_INTEGER, MAX_EXACT_INTEGER)
    if not bounded and rules.max_step is None and not refusal:
        return ""
    step = "-" if rules.max_step is None else rules.max_step
    return f"{rules.min_score} {rules.max_score} {step} {refusal or '-'}"
