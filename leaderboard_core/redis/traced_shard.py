"""A shard whose script calls are traced; without a collector none is made, and `Shard` knows nothing of spans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from leaderboard_core.redis.shard import Shard

ScriptSpan: TypeAlias = Callable[[str, str], AbstractContextManager[Any]]
"""Makes the span of one call: a script's name and its shard's."""


@dataclass(slots=True, eq=False)
class TracedShard(Shard):
    """A shard that runs each script inside a span."""

    script_span: ScriptSpan = field(kw_only=True)

    async def run(self, script: str, keys: Sequence[str], args: Sequence[str | int] = ()) -> Any:
        """As Shard.run."""
        with self.script_span(script, self.name):
            return await Shard.run(self, script, keys, args)
