"""Say which life of a Redis server may be served: its admission, written by a worker that compared it with Postgres."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, cast

from leaderboard_core.errors import Repartitioning, WarmingUp
from leaderboard_core.redis import lua
from leaderboard_core.redis.keys import Keys
from leaderboard_core.redis.partition import WHOLE, Partition

CLOSED = "closed"
REPARTITIONING = "repartitioning"
"""The note of an admission under which a shard is drained before its players are spread anew."""
_TEXT = re.compile(r"(\S+) (\S+) (\w+) (\w+)(?: (.*))?")
# It stands in the text of scripts, between quotes.
_SAFE = re.compile(r"[\w,. :/-]+")

Ask = Callable[..., Awaitable[Any]]
"""Runs one command, on one connection."""


@dataclass(frozen=True, slots=True)
class Admission:
    """A worker's word that one life of a server has every player of some regions, or its part of them.

    `nonce` names this admission, also in the databases of those regions; it is `closed` once a process has found
    another life of the server. `run_id` and `replid` name the life: a server that was demoted and is promoted again
    keeps its run_id, and has a new replid (`master_replid`). With the `note` REPARTITIONING it is for workers alone,
    which save what waits in the queues: players' calls are refused. Other notes are a later version's.
    """

    nonce: str
    regions: tuple[str, ...]
    run_id: str
    replid: str
    partition: Partition = WHOLE
    note: str = ""

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Parse what `shard:admission` holds; None when there is none, or nothing that can be read."""
        found = _TEXT.fullmatch(text)
        if found is None or not _SAFE.fullmatch(text):
            return None
        nonce, scope, run_id, replid, note = found.groups()
        try:
            regions, partition = Partition.parse_scope(scope)
        except ValueError:
            return None
        return cls(nonce, regions, run_id, replid, partition, note if note == REPARTITIONING else "")

    def encode(self) -> str:
        text = f"{self.nonce} {self.partition.encode_scope(self.regions)} {self.run_id} {self.replid}"
        return f"{text} {self.note}" if self.note else text

    def encode_marker(self) -> str:
        """Encode what the version before looks for in `shard:ready`."""
        return f"{self.run_id} {self.partition.encode_scope(self.regions)}"


@dataclass(frozen=True, slots=True)
class ServerState:
    """What a look at a server found.

    `open`: its admission is for this life of it. `closed`: there is none, or one for another life or other regions.
    `replica`: it is one, and says nothing of its own. `admission` is the last one that it knows, `text` its wording.
    """

    state: Literal["open", "closed", "replica"]
    text: str
    admission: Admission | None
    run_id: str
    replid: str

    @property
    def is_open(self) -> bool:
        return self.state == "open" and self.admission is not None

    @property
    def refusal(self) -> WarmingUp:
        """What is said to who asks while it is not open."""
        draining = self.admission is not None and self.admission.note == REPARTITIONING
        return Repartitioning() if draining else WarmingUp()

    @property
    def life(self) -> tuple[str, str]:
        return self.run_id, self.replid


def look_keys(keys: Keys) -> tuple[str, str]:
    """Build the KEYS of `look_at_server`."""
    return keys.admission, keys.ready


def read_look(answer: Sequence[str]) -> ServerState:
    """Read the result of `look_at_server`."""
    state, text, run_id, replid = answer
    return ServerState(cast(Any, state), text, Admission.parse(text), run_id, replid)


async def look(ask: Ask, keys: Keys, scope: str) -> ServerState:
    """Look at the server behind one connection; `scope` as the admission has it. Raises redis-py's errors."""
    script = lua.load("look_at_server")
    words = (*look_keys(keys), scope)
    return read_look(await ask("EVAL", script.source, script.number_of_keys, *words))
