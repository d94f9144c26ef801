"""`leaderboard boards import`: bring scores of another system onto boards, through Postgres, with a progress bar."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from io import SEEK_END
from typing import Annotated, BinaryIO, NamedTuple

import typer

from leaderboard_cli.commands.environment import stores_environment
from leaderboard_cli.commands.stores import open_stores
from leaderboard_cli.console import console, errors, fail
from leaderboard_cli.imports.homes import Homes
from leaderboard_cli.imports.lanes import LANES, in_lanes
from leaderboard_cli.imports.lines import BadLine, Reading, read_time
from leaderboard_cli.imports.progress import Shown
from leaderboard_cli.imports.reading import MAX_LINE, Line, lines_of, opened, pages_of
from leaderboard_core.boards import MAIN, Board
from leaderboard_core.settings import LimitSettings, load
from leaderboard_service.definitions.rules import effective
from worker_service.importing.importer import Importer, Interrupted, OnWait, Taken
from worker_service.importing.players import Known
from worker_service.importing.states import BEFORE_ALL, Outcome, Problem, State, judge

LINES_PER_LANE = 2_000
SHOWN = 20
_OBJECTS_BETWEEN_COLLECTIONS = 50_000
_SAID: tuple[tuple[Outcome, str], ...] = (
    ("new", "new"),
    ("changed", "changed"),
    ("kept", "as they were, or newer or better here"),
    ("deleted", "of players who were deleted here since"),
    ("left_out", "left out"),
)


class _Read(NamedTuple):
    """A page of lines that can be read, and those that cannot; `position` is how far the file is read (bytes)."""

    states: list[State]
    bad: list[Problem]
    lines: int
    position: int


@dataclass(slots=True)
class _Run:
    """One import: what it reads, and how lines are read."""

    file: BinaryIO
    reading: Reading
    importer: Importer
    shown: Shown
    skip_bad: bool
    bad: list[Problem] = field(default_factory=list)
    number_bad: int = 0
    lines: int = 0

    def pages(self) -> Iterator[_Read]:
        for page in pages_of(lines_of(self.file), LANES * LINES_PER_LANE):
            states, bad = [], []
            for line in page:
                try:
                    states.append(_state(line, self.reading))
                except BadLine as problem:
                    bad.append(Problem(line.number, str(problem)))
            yield _Read(states, bad, len(page), page[-1].position)

    async def check(self) -> Counter[str]:
        """Read every line and hold it against the players who are there; count those of `new` and of `known` ones."""
        counted = Counter[str]()
        with self.shown.step("check"), Homes() as homes:
            async with aclosing(in_lanes(self.pages(), lambda page: page.states, self._find)) as found:
                async for page, several in found:
                    known = {user_id: player for one in several for user_id, player in one.items()}
                    new_ones = [user_id for user_id, player in known.items() if not player.region]
                    by_home, problems = judge(page.states, known, homes.of(new_ones))
                    homes.keep({state.user_id: home for home, own in by_home.items() for state in own})
                    self._note([*page.bad, *problems])
                    states = [state for own in by_home.values() for state in own]
                    new = sum(not known[state.user_id].region for state in states)
                    counted += Counter(new=new, known=len(states) - new)
                    self.lines += page.lines
                    self.shown.read(page.lines, page.position)
        return counted

    async def take(self) -> Taken:
        """Import every line that can be read. Raises Interrupted."""
        taken = Taken()
        with self.shown.step("import"):
            async with aclosing(in_lanes(self.pages(), self._good, self.importer.take)) as done:
                async for page, several in done:
                    for one in several:
                        taken.add(one)
                    taken.outcomes["left_out"] += len(page.bad)
                    taken.problems = sorted(taken.problems)[:SHOWN]
                    self.shown.read(page.lines, page.position)
        await self.importer.end()
        return taken

    async def _find(self, states: Sequence[State]) -> dict[str, Known]:
        return await self.importer.find(list({state.user_id: None for state in states}))

    def _good(self, page: _Read) -> list[State]:
        if page.bad and not self.skip_bad:
            raise Interrupted(f"line {page.bad[0].line}: {page.bad[0].text}, and was good when it was checked")
        return page.states

    def _note(self, problems: list[Problem]) -> None:
        self.number_bad += len(problems)
        self.bad += sorted(problems)[: max(0, SHOWN - len(self.bad))]


def import_command(
    file: Annotated[str, typer.Argument(help="One JSON object a line; - reads standard input.")],
    board: Annotated[str, typer.Option(help="The board of lines that name none.")] = "",
    region: Annotated[str, typer.Option(help="The region of lines that name none, of players who are new here.")] = "",
    as_of: Annotated[
        str, typer.Option(help="When it was so as lines say that have no reached_at; default: before all that is here.")
    ] = "",
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out the lines that cannot be taken.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check every line.")] = False,
) -> None:
    """Bring scores of another system onto boards, while this one runs; the same file once more changes nothing.

    A line is {"user_id": …, "score": …} and, if you like, name, region, board, submits, metadata, reached_at. What is
    newer here stays, and of a board that counts the best the better. No line is taken where one cannot be.
    """
    try:
        with opened(file) as found:
            asyncio.run(_import(found, board, region, as_of, skip_bad=skip_bad, dry_run=dry_run))
    except KeyboardInterrupt:
        fail("It was interrupted. Run it again: what is in stays, and counts once.")
    except OSError as error:
        fail(f"{'standard input' if file == '-' else file} cannot be read: {error}")


async def _import(file: BinaryIO, board: str, region: str, as_of: str, *, skip_bad: bool, dry_run: bool) -> None:
    async with open_stores() as (shard_map, databases):
        # The millions of objects that lines become have no cycles: what was loaded before is not searched for them, and
        # they are searched less often.
        gc.freeze()
        gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
        with Shown(errors, file.seek(0, SEEK_END)) as shown:
            importer = Importer(shard_map, databases, _say_waits())
            try:
                reading = await _reading(importer, shard_map.regions, board, region, as_of)
                run = _Run(file, reading, importer, shown, skip_bad)
                counted = await run.check()
            except Interrupted as problem:
                fail(f"Nothing was changed: {problem}")
            _say_bad(run)
            try:
                taken = None if dry_run else await run.take()
            except Interrupted as problem:
                fail(f"Not all lines are in: {problem}. Run it again: what is in stays, and counts once.")
    if taken is None:
        console.print(f"{run.lines} lines: {counted['new']} of new players, {counted['known']} of others.")
    else:
        _say_taken(run, taken)


async def _reading(importer: Importer, regions: tuple[str, ...], board: str, region: str, as_of: str) -> Reading:
    boards = await importer.boards()
    boards[MAIN.name] = _as_heeded(boards[MAIN.name])
    if board and board not in boards:
        fail(f"--board: there is none of the name {board}; `leaderboard boards apply` makes it.")
    if region and region.upper() not in regions:
        fail(f"--region: {region} is none of {', '.join(regions)}.")
    now = await importer.now()
    try:
        micros = read_time("--as-of", as_of, now) if as_of else BEFORE_ALL
    except BadLine as problem:
        fail(f"{problem}.")
    return Reading(boards, regions, now, board, region.upper(), micros)


def _as_heeded(main: Board) -> Board:
    return replace(main, rules=effective(main.rules, load(LimitSettings, stores_environment())))


def _state(line: Line, reading: Reading) -> State:
    if line.text is None:
        raise BadLine(f"is longer than {MAX_LINE} bytes")
    return reading.read(line.number, line.text)


def _say_waits() -> OnWait:
    said = set[str]()

    def say(why: str) -> None:
        if why not in said:
            said.add(why)
            errors.print(f"It waits: {why}", style="yellow", markup=False)

    return say


def _say_bad(run: _Run) -> None:
    for problem in run.bad:
        errors.print(f"line {problem.line}: {problem.text}", markup=False)
    if run.number_bad > len(run.bad):
        errors.print(f"… and {run.number_bad - len(run.bad)} more.")
    if run.number_bad and not run.skip_bad:
        wrong = f"{run.number_bad} of {run.lines} lines cannot be taken"
        fail(f"{wrong}, and nothing was changed. --skip-bad leaves them out.")


def _say_taken(run: _Run, taken: Taken) -> None:
    parts = [f"{taken.outcomes[outcome]} {text}" for outcome, text in _SAID if taken.outcomes[outcome]]
    console.print(f"{run.lines} lines: {', '.join(parts) or 'nothing to do'}.")
    if taken.problems and not run.skip_bad:
        for problem in sorted(taken.problems):
            errors.print(f"line {problem.line}: {problem.text}", markup=False)
        fail("These lines could not be taken after all; the others are in.")
