"""Kill, pause and relieve masters of a real cluster under load; `make ledger-cluster` does it a hundred times."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.cluster.scenarios import EACH
from tests.faults.cluster.system import Keeping, system_on_a_cluster
from tests.faults.run import run_scenario

pytestmark = pytest.mark.local_cluster

KILLS = 3


async def test_nothing_acknowledged_is_lost_with_a_master_and_nothing_counts_twice(tmp_path: Path) -> None:
    with system_on_a_cluster(tmp_path, Keeping()) as system:
        result = await run_scenario(system, EACH, 11, kills=KILLS)
    print(result.evidence())  # noqa: T201 - pytest shows it with the failure
    assert not result.violations
    assert result.kills.total() >= KILLS
    assert result.acknowledged >= 100
