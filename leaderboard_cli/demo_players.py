"""Makes the demo players of `leaderboard seed`, and tells them from everybody else's."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from leaderboard_client import Row, Submission

_FIRST = ("Amber", "Bold", "Clever", "Daring", "Eager", "Fierce", "Gentle", "Happy", "Icy", "Jolly", "Keen", "Lucky")
_SECOND = ("Badger", "Condor", "Dragon", "Falcon", "Gecko", "Heron", "Ibis", "Jaguar", "Koala", "Lynx", "Otter", "Wolf")
_NAME = re.compile(rf"(?:{'|'.join(_FIRST)}) (?:{'|'.join(_SECOND)}) ([0-9]+)")


def demo_players(
    count: int, regions: tuple[str, ...], lowest: int, highest: int, board: str | None = None
) -> Iterator[Submission]:
    """Yield players with random names, and scores of a board from `lowest` to `highest`, over all regions in turn."""
    chance = random.Random()  # noqa: S311 - demo scores need no secrecy
    for number in range(count):
        yield Submission(
            user_id=_user_id(number),
            name=f"{chance.choice(_FIRST)} {chance.choice(_SECOND)} {number}",
            region=regions[number % len(regions)],
            score=min(max(round(chance.lognormvariate(7, 1)), lowest), highest),
            board=board,
        )


def is_demo_player(row: Row) -> bool:
    """Whether a player has the user_id and name of one demo player; a person may have such a user_id too."""
    name = _NAME.fullmatch(row.name)
    return name is not None and row.user_id == _user_id(int(name[1]))


def _user_id(number: int) -> str:
    return f"demo-{number:06d}"
