"""Test reserving ports between processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from leaderboard_cli.cluster.reservations import Reservations

PORT = 20_001
TAKE = """
import subprocess, sys
from pathlib import Path
from leaderboard_cli.cluster.reservations import Reservations
reserved = Reservations(Path(sys.argv[1]))
print(reserved.take(int(sys.argv[2])), flush=True)
"""
WAIT = "sys.stdin.read()"
LEAVE_A_CHILD = "print(subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL, close_fds=False).pid, flush=True)"


@contextmanager
def taking(path: Path, after: str) -> Iterator[subprocess.Popen[str]]:
    """Run a process that takes the port and then does something else."""
    command = [sys.executable, "-c", TAKE + after, str(path), str(PORT)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        yield process
        process.kill()


def test_a_port_is_taken_once_in_a_process(tmp_path: Path) -> None:
    reserved = Reservations(tmp_path / "lock")
    assert reserved.take(PORT)
    assert not reserved.take(PORT)
    assert reserved.take(PORT + 1)


def test_another_process_has_it_until_it_is_killed(tmp_path: Path) -> None:
    with taking(tmp_path / "lock", WAIT):
        ours = Reservations(tmp_path / "lock")
        assert not ours.take(PORT)
        assert ours.take(PORT + 1)
    assert ours.take(PORT)


def test_a_child_that_stays_does_not_keep_it(tmp_path: Path) -> None:
    with taking(tmp_path / "lock", LEAVE_A_CHILD) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            process.wait()
            assert Reservations(tmp_path / "lock").take(PORT)
        finally:
            os.kill(child, 9)


def a_link(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))


def a_file_that_others_can_lock(path: Path) -> None:
    path.touch()
    path.chmod(0o666)


@pytest.mark.parametrize("make", [a_link, a_file_that_others_can_lock, Path.mkdir, os.mkfifo])
def test_what_others_left_under_the_name_is_not_used(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "lock")
    first, second = Reservations(tmp_path / "lock"), Reservations(tmp_path / "lock")
    assert first.take(PORT)
    assert not first.take(PORT)
    assert second.take(PORT)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch(0o600)
    os.chown(path, 65_534, 65_534)
    with taking(path, WAIT):
        assert Reservations(path).take(PORT)
