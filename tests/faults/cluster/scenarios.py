"""Compose the faults of a cluster into scenarios."""

from __future__ import annotations

from tests.faults.cluster import injections
from tests.faults.scenarios import Scenario

PROMOTED, BEHIND = injections.replaced(behind=False), injections.replaced(behind=True)

EACH = Scenario(
    "each fault of a cluster",
    always=(BEHIND, injections.back_from_disk, injections.slot_moved, injections.paused_and_replaced),
    mixed=((PROMOTED, 1),),
)
MASTERS = Scenario(
    "masters of a cluster",
    always=(),
    mixed=(
        (PROMOTED, 4),
        (BEHIND, 6),
        (injections.back_from_disk, 10),
        (injections.killed_while_a_slot_moves, 1),
        (injections.paused_and_replaced, 1),
        (injections.slot_moved, 2),
    ),
)
COUNTED = (
    Scenario("a replica is promoted", always=(), mixed=((PROMOTED, 1),)),
    Scenario("a replica that was 10 to 50 ms behind is promoted", always=(), mixed=((BEHIND, 1),)),
    Scenario("it comes back from its disk", always=(), mixed=((injections.back_from_disk, 1),)),
)
"""One kind each, to say what it cost."""
