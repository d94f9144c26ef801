"""Keep the records of all players: what clients were told, and what every answer from now on must be."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from leaderboard_core.boards import Rules
from tests.faults.records import MAIN, NEVER, Kind, Outcome, Player, Record

SNAPSHOT_SECONDS = 6.0
"""Reads from Postgres are of a snapshot, a second old, or older in a replica that was stopped (decision 18)."""
_CHECKPOINT_SECONDS = 0.1


def scope(board: str, region: str) -> str:
    """Name the ranking of a region, or of GLOBAL, on a board."""
    return region if board == MAIN else f"{board} {region}"


class Checkpoint(NamedTuple):
    """The ledger's clock, and the players known to be saved by ranking, at a moment (monotonic)."""

    at: float
    clock: int
    saved: Counter[str]


class Ledger:
    """All players, how many must be in each ranking, and the violations found during the run.

    `boards` are those besides `main` that players write to.
    """

    def __init__(self, regions: Iterable[str]) -> None:
        self.regions = tuple(regions)
        self.boards: Mapping[str, Rules] = {}
        self.players: dict[str, Player] = {}
        self.begun: Counter[str] = Counter()
        self.there: Counter[str] = Counter()
        self.saved: Counter[str] = Counter()
        self.leaving: Counter[str] = Counter()
        self.clock = 0
        self.snapshot_seconds = SNAPSHOT_SECONDS
        self._checkpoints: deque[Checkpoint] = deque()
        self.acknowledged = 0
        self.answers: Counter[str] = Counter()
        self.violations: list[str] = []

    def new_player(self, user_id: str, name: str, region: str, *, adds: bool, leaves: bool = False) -> Player:
        """Record a player before its creation is sent; one that `leaves` may be missing at any time."""
        player = self.players[user_id] = Player(
            user_id,
            MAIN,
            Kind.ADDS if adds else Kind.SETS,
            tuple({region, "GLOBAL"}),
            name=name,
            region=region,
        )
        if not adds:
            player.begin()
        self._count(self.begun, player)
        if leaves:
            self._leaves(player)
        return player

    def entry(self, player: Player, board: str) -> Record:
        """Return the record of a player's entry on a board, before its first write is sent."""
        if board not in player.entries:
            rules = self.boards[board]
            kind = Kind.BEST if rules.operator == "best" else Kind.ADDS if rules.operator == "sum" else player.kind
            regions = {player.region, "GLOBAL"} if rules.regions else {"GLOBAL"}
            entry = Record(player.user_id, board, kind, tuple(scope(board, region) for region in regions))
            player.entries[board] = entry
            self._count(self.begun, entry)
        return player.entries[board]

    def created(self, player: Player) -> None:
        """Record that its creation was acknowledged, be it anew after a deletion."""
        if player.created_at == NEVER:
            self._appears(player)
            self.acknowledged += 1
            if not player.adds and not player.kept_from:
                player.outcomes[0] = Outcome.ACKNOWLEDGED
                player.done_at[0] = self.clock

    def settle(self, record: Record, number: int, outcome: Outcome) -> None:
        """Record the outcome of a write."""
        record.outcomes[number] = outcome
        if outcome is Outcome.ACKNOWLEDGED:
            self._advance()
            record.done_at[number] = self.clock
            self.acknowledged += 1
            if record.created_at == NEVER and record.board != MAIN:
                self._appears(record)

    def begin_removal(self, *records: Record) -> None:
        """Record before it is sent that these are to be taken away."""
        for record in records:
            record.begin_removal()
            self._leaves(record)

    def removed(self, *records: Record) -> None:
        """Record that they were taken away."""
        self._advance()
        self.acknowledged += 1
        for record in records:
            record.removed(self.clock)

    def _appears(self, record: Record) -> None:
        self._advance()
        record.created_at = self.clock
        if not record.counted:
            record.counted = True
            self._count(self.there, record)

    def _leaves(self, record: Record) -> None:
        if not record.leaves:
            record.leaves = True
            self._count(self.leaving, record)

    @staticmethod
    def _count(counts: Counter[str], record: Record) -> None:
        for name in record.scopes:
            counts[name] += 1

    def before_snapshot(self) -> Checkpoint:
        """Return what was known before any snapshot was taken that may answer a read of now from Postgres."""
        now = time.monotonic()
        checkpoints, oldest = self._checkpoints, now - self.snapshot_seconds
        if not checkpoints or now - checkpoints[-1].at >= _CHECKPOINT_SECONDS or self.snapshot_seconds == 0:
            checkpoints.append(Checkpoint(now, self.clock, Counter(self.saved)))
        while len(checkpoints) > 1 and checkpoints[1].at <= oldest:
            checkpoints.popleft()
        return checkpoints[0] if checkpoints[0].at <= oldest else Checkpoint(oldest, 0, Counter())

    def _advance(self) -> None:
        self.clock += 1

    def saw_row(self, record: Record, found: frozenset[int]) -> None:
        """Record that Postgres has a row with these writes: from now on never fewer."""
        if record.leaves and not any(number >= record.kept_from for number in found):
            return  # it may be of before a removal
        self._advance()  # a read that was sent before may have been answered before
        record.saved_at = min(record.saved_at, self.clock)
        if record.adds:
            for number in found:
                record.write_saved_at.setdefault(number, self.clock)
        elif record.kind is Kind.BEST and len(found) == 1:
            (number,) = found
            record.write_saved_at.setdefault(number, self.clock)

    def all_is_saved(self) -> None:
        """Record that Postgres has all acknowledged writes: none is in flight and the queues are empty."""
        self._advance()
        living: Counter[str] = Counter()
        for player in self.players.values():
            for record in player.records:
                if record.created_at != NEVER:
                    record.saved_at = min(record.saved_at, self.clock)
                    self._count(living, record)
                if record.absent_at != NEVER:
                    record.absent_saved_at = min(record.absent_saved_at, self.clock)
                for number in record.done_at:
                    record.write_saved_at.setdefault(number, self.clock)
                for number in record.gone_at:
                    record.gone_saved_at.setdefault(number, self.clock)
        for name, count in living.items():
            self.see_total(name, count)

    def see_saved(self, counts: dict[str, int]) -> None:
        """Record how many players of each home region Postgres has: from now on never fewer."""
        for region, count in counts.items():
            if region != "GLOBAL":
                self.see_total(region, count)
        self.see_total("GLOBAL", sum(counts.values()))

    def see_total(self, name: str, count: int) -> None:
        """Record the total of a ranking in an answer from Postgres."""
        self.saved[name] = max(self.saved[name], count)
        others = sum(self.saved[region] for region in self.regions if region != "GLOBAL")
        self.saved["GLOBAL"] = max(self.saved["GLOBAL"], others)

    def report(self, problem: str) -> None:
        """Record a violation."""
        self.violations.append(problem)


def board_order(rows: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """Sort (user_id, score) pairs in board order."""
    return sorted(rows, key=lambda row: (row[1], row[0].encode()), reverse=True)


def ranks(rows: list[tuple[str, int]]) -> list[int]:
    """Return the standard competition ranks of rows in board order."""
    found: list[int] = []
    for index, (_, score) in enumerate(rows):
        found.append(found[-1] if index and rows[index - 1][1] == score else index + 1)
    return found
