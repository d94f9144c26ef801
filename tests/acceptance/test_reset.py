"""Test `leaderboard reset`: all of a local cluster's data, nothing else, and never under a running cluster."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from leaderboard_client import Client, Unauthorized
from tests.acceptance.cluster import local_cluster
from tests.support.command import run_command
from tests.support.waiting import wait_until

pytestmark = pytest.mark.local_cluster
SMALL = ("--replicas", "1", "--gateways", "1")


def reset(folder: Path, *words: str, typed: str = "") -> tuple[int | None, str, str]:
    """Return exit code, output and error output."""
    return asyncio.run(run_command("reset", "--data-dir", str(folder), *words, typed=typed))


def test_a_cluster_begins_anew(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with local_cluster(folder, *SMALL) as running, Client(running.url) as client:
        token = client.register("ada", "Ada", "EU", 5).token
        code, _, complaint = reset(folder, "--yes")
        assert code == 1
        assert complaint.startswith(f"Stop it first: a cluster already runs on {folder}")
        assert client.rank("ada").score == 5
    notes = folder / "notes.txt"
    notes.write_text("of the person")
    before = set(folder.iterdir())
    code, output, complaint = reset(folder, typed="n\n")
    assert (code, complaint) == (1, "Nothing was removed.")
    assert "jwt_secret" in output
    assert set(folder.iterdir()) == before
    code, output, complaint = reset(folder, typed="y\n")
    assert (code, complaint) == (0, "")
    assert set(folder.iterdir()) == {notes, folder / "cluster.lock"}
    with local_cluster(folder, *SMALL) as running, Client(running.url, token=token) as client:
        assert client.top().total == 0
        with pytest.raises(Unauthorized):
            client.create("EU")


def test_what_a_killed_supervisor_left_running_is_ended_first(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with local_cluster(folder, *SMALL) as running:
        left = [pid for pid in running.state["pids"].values() if pid is not None]
        running.process.kill()
        running.process.wait()
        code, _, complaint = reset(folder, "--yes")
        assert (code, complaint) == (0, "")
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left), "the end of the processes")
    assert [path.name for path in folder.iterdir()] == ["cluster.lock"]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    code, _, complaint = reset(tmp_path, "--yes")
    assert (code, complaint) == (1, f"No cluster has kept anything in {tmp_path}.")
    assert (tmp_path / "logs").is_dir()
