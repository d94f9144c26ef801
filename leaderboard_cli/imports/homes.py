"""Remember where new players of an import are at home, on disk: there may be more of them than fit into memory."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping
from importlib import resources
from types import TracebackType
from typing import Self

_CREATE, _FIND, _KEEP, _ = (resources.files(__package__) / "homes.sql").read_text("utf-8").split(";")


class Homes:
    """Regions by user_id, in a database of its own that is gone with it."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("")  # a temporary one, which goes to disk when it is large
        self._database.execute(_CREATE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def of(self, user_ids: Collection[str]) -> dict[str, str]:
        """Return the homes of those of whom one is known."""
        return dict(self._database.execute(_FIND, (json.dumps(list(user_ids)),)))

    def keep(self, homes: Mapping[str, str]) -> None:
        """Remember homes; one that is known stays."""
        self._database.executemany(_KEEP, homes.items())
