"""Every script that an answer, or Postgres, rests on waits for replicas; the others have a reason not to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from leaderboard_core.redis import lua

REPOSITORY = Path(__file__).resolve().parents[4]
WRITES = re.compile(r"call\('(DEL|HDEL|HSET|LMOVE|LPUSH|LREM|PEXPIRE|PEXPIREAT|RPOP|RPUSH|SET|ZADD|ZREM)'")
PROMISE_NOTHING = {
    "release_claim": "one that is lost ends by itself",
    "take_tokens": "a token that comes back lets one call more pass",
    "restore_deletions": "Postgres has the deletion",
    "take_entries": "the deletion of the player finds those that come back",
    "look_at_server": "whoever looks again closes the admission again",
    "inspect_queue": "whoever looks again sets a heartbeat that is ahead",
    "restore_boards": "Postgres has the definitions",
}
"""Scripts that the service runs, itself or by what it shares, and that write something no answer speaks of."""
GIVES_OUT = {"take_batch", "claim_users"}
"""Those of the workers' and of an import that do: what Postgres has next, a failover must not take back."""


def scripts_run_by(package: str) -> Iterator[str]:
    for path in (REPOSITORY / package).rglob("*.py"):
        yield from re.findall(r'\.run\(\s*"(\w+)"', path.read_text("utf-8"))


def test_every_script_that_an_answer_rests_on_is_acknowledged() -> None:
    run = {*scripts_run_by("leaderboard_service"), *scripts_run_by("leaderboard_core")}
    writing = {name for name in run if WRITES.search(lua.load(name).source)}
    assert {name for name in writing if not lua.load(name).acknowledged} == PROMISE_NOTHING.keys()
    assert {name for name, script in lua.all_scripts().items() if script.acknowledged} == (
        writing - {*PROMISE_NOTHING} | GIVES_OUT
    )


@pytest.mark.parametrize(("package", "waiting"), [("worker_service", GIVES_OUT), ("leaderboard_cli", set())])
def test_workers_wait_for_replicas_of_what_they_take_alone(package: str, waiting: set[str]) -> None:
    """What they put back is in Postgres, or still in a queue."""
    found = set(scripts_run_by(package))
    assert found
    assert {name for name in found if lua.load(name).acknowledged} == waiting


def test_the_service_writes_by_scripts() -> None:
    """A command has no WAIT behind it."""
    found = set()
    for path in (REPOSITORY / "leaderboard_service").rglob("*.py"):
        found |= set(re.findall(r'\.command\(\s*"([A-Z ]+)"', path.read_text("utf-8")))
    assert found <= {"DEL"}, "DEL forgets attempts to log in"
