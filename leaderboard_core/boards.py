"""Define what a board is, its rules, and a place on it: what reads, writes, keys and rows take to say where."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final, Literal, NamedTuple, Self

import orjson

from leaderboard_core.settings import MAX_EXACT_INTEGER

Operator = Literal["latest", "best", "sum"]
Order = Literal["desc", "asc"]
Ties = Literal["shared", "earliest"]
Submitter = Literal["player", "server"]

GONE: Final = "gone"
DIFFERS: Final = " differs"
ALL: Final = "all"
"""The window that never ends."""
TIE_DIGITS: Final = 16
"""How long the number is that a member begins with where ties go to the earliest: as long for every time."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a definition says of a board; the defaults are those of `main`.

    `max_step` bounds one add or one submit to a sum (None: no bound), `max_submits` an entry's accepted submits
    (0: no limit), `metadata_bytes` the JSON object that a submit may carry (0: none).
    """

    title: str = ""
    operator: Operator = "latest"
    order: Order = "desc"
    ties: Ties = "shared"
    windows: tuple[str, ...] = (ALL,)
    regions: bool = True
    min_score: int = -MAX_EXACT_INTEGER
    max_score: int = MAX_EXACT_INTEGER
    max_step: int | None = None
    max_submits: int = 0
    submit: Submitter = "player"
    metadata_bytes: int = 0
    decimals: int = 0
    keep_windows: int = 400
    open: bool = True

    def encode(self) -> str:
        """Write all of them as JSON."""
        return orjson.dumps(asdict(self)).decode()

    @classmethod
    def decode(cls, text: str) -> Self:
        """Read what `encode` has made; what a later version has added is ignored. Raises ValueError."""
        found: dict[str, Any] = orjson.loads(text)
        known = {field.name: found[field.name] for field in fields(cls) if field.name in found}
        if "windows" in known:
            known["windows"] = tuple(known["windows"])
        return cls(**known)


@dataclass(frozen=True, slots=True, eq=False)
class Board:
    """A board: `id` names one creation of it and is never used again, `version` counts the changes of its rules.

    A board is in descending order of (key, member). The key is the score, or its negative where low scores are good;
    the member is the user_id, behind TIE_DIGITS digits where who reached the score first stands higher.

    What follows from these is worked out once, since every call asks for it: how many characters of a member are not
    the user_id's (`tie_digits`), what makes a key of a score, and a score of a key, by multiplication (`sign`), and how
    shards name this definition (`state`).
    """

    name: str
    id: int
    version: int
    rules: Rules
    is_main: bool = field(init=False, repr=False)
    tie_digits: int = field(init=False, repr=False)
    sign: int = field(init=False, repr=False)
    state: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_main", self.id == 0)
        object.__setattr__(self, "tie_digits", TIE_DIGITS if self.rules.ties == "earliest" else 0)
        object.__setattr__(self, "sign", 1 if self.rules.order == "desc" else -1)
        object.__setattr__(self, "state", f"{self.id} {self.version}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Board) and (self.id, self.version) == (other.id, other.version)

    def __hash__(self) -> int:
        return hash((self.id, self.version))

    def member_of(self, user_id: str, reached_at: int) -> str:
        """Return the member of a player who reached its score at that time (µs)."""
        if self.rules.ties == "shared":
            return user_id
        return f"{MAX_EXACT_INTEGER - reached_at:0{TIE_DIGITS}d}{user_id}"

    def user_id_of(self, member: str) -> str:
        return member[self.tie_digits :]

    def key_range(self, low: int | None, high: int | None) -> tuple[int | None, int | None]:
        """Return the lowest and the greatest key of a range of scores, whose bounds may be None."""
        if self.sign == 1:
            return low, high
        return None if high is None else -high, None if low is None else -low


MAIN: Final = Board("main", 0, 0, Rules())
"""The board that is always there, and of a call that names none."""


class Definition(NamedTuple):
    """What is said of a name: the board that has it, or that the last one which had it is gone.

    `text` is how a shard says which definition that is, to which a later version may add.
    """

    board: Board
    gone: bool = False
    text: str = ""

    @property
    def name(self) -> str:
        return self.board.name

    @property
    def state(self) -> str:
        """What names it on every shard, where a write compares it: `<id> <version>`, or `<id> gone`."""
        return self.text or (f"{self.board.id} {GONE}" if self.gone else self.board.state)

    @property
    def age(self) -> tuple[int, bool, int, bool]:
        """How late it is: of two definitions of one name the greater one counts.

        One whose shard said that it has other rules under that version is later than what it was told.
        """
        return self.board.id, self.gone, 0 if self.gone else self.board.version, self.text.endswith(DIFFERS)

    def of_rules(self, rules: Rules) -> Self:
        """Return the same definition with other rules."""
        return self._replace(board=replace(self.board, rules=rules))

    @classmethod
    def parse(cls, name: str, state: str | None, rules: str | None) -> Self:
        """Read what a shard has of a name; the main board that nobody has defined is as it begins.

        Raises ValueError.
        """
        if state is None:
            if name != MAIN.name:
                raise ValueError(f"{name} is not defined")
            return cls(MAIN)
        board_id, version, *_ = state.split(" ")
        gone = version == GONE
        known = Rules() if not rules else Rules.decode(rules)
        return cls(Board(name, int(board_id), 0 if gone else int(version), known), gone, state)


class Place(NamedTuple):
    """One ranking of a board: those of a region, or of GLOBAL, in one of its windows."""

    board: Board
    window: str
    region: str

    @classmethod
    def on_main(cls, region: str) -> Place:
        return cls(MAIN, ALL, region)

    @property
    def is_default(self) -> bool:
        """Whether it is a ranking of the scores that stand on players' cards."""
        return self.board.id == 0 and self.window == ALL

    @property
    def name(self) -> str:
        """Name the ranking in keys and cursors; the default ones have the names of their regions."""
        if self.board.id == 0 and self.window == ALL:  # is_default, which every read would call
            return self.region
        return f"{self.entry_field}:{self.region}"

    @property
    def entry_field(self) -> str:
        """Name the board and window in the hash of a player's entries."""
        return f"{self.board.name}.{self.board.id}:{self.window}"

    def in_region(self, region: str) -> Place:
        """Return the ranking of another region, or of GLOBAL, in the same window of the board."""
        return Place(self.board, self.window, region)
