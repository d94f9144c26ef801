"""Upgrade from the version before, process by process under load; `make test-upgrade` does it with faults, often."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.upgrade import release
from tests.upgrade.upgrading import BRIEF, THOROUGH, upgrade_under_load

ROUNDS = int(os.environ.get("UPGRADE_ROUNDS") or 0)
"""Thorough rounds, each with another seed; 0: one that is brief and without faults, which is part of `make test`."""

pytestmark = [
    pytest.mark.local_cluster,
    pytest.mark.skipif(
        not release.is_there(),
        reason=f"the history lacks the version before ({release.VERSION_BEFORE[:7]}): a shallow clone or an archive",
    ),
]


@pytest.mark.parametrize("seed", range(1, max(ROUNDS, 1) + 1))
async def test_the_versions_lose_and_double_nothing_side_by_side(tmp_path: Path, seed: int) -> None:
    old = release.unpack(tmp_path / "old")
    summary = await upgrade_under_load(tmp_path, old, seed, THOROUGH if ROUNDS else BRIEF)
    print(summary)  # noqa: T201 - `make test-upgrade` shows it
