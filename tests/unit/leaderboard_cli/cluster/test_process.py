"""Test supervised processes: launcher, restarts, stops, records and log files."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from leaderboard_cli.cluster.errors import AlreadyRunningError, ClusterError, StartError
from leaderboard_cli.cluster.logfiles import Follower, rotate, tail
from leaderboard_cli.cluster.pidfile import PidFile, exclusive, identity_of, write_json
from leaderboard_cli.cluster.process import RESTARTS, Child, Command, describe_exit
from tests.support.waiting import wait_until

SLEEPER = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}"


def python(source: str, stop_seconds: float = 5.0) -> Command:
    return Command((sys.executable, "-c", source), dict(os.environ), stop=((signal.SIGTERM, stop_seconds),))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_record_that_a_full_disk_does_not_take_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_json(path, {"old": 1})
    draft = tmp_path / f"record.json.{os.getpid()}.new"
    draft.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space"):
        write_json(path, {"new": 2})
    assert json.loads(path.read_text()) == {"old": 1}
    assert not draft.is_symlink()
    write_json(path, {"new": 2})
    assert json.loads(path.read_text()) == {"new": 2}


class Harness:
    """A child that counts as ready once it has printed something."""

    def __init__(self, folder: Path, command: Command) -> None:
        self.log = folder / "child.log"
        self.notes: list[str] = []
        self.pids: list[int | None] = []
        self.child = Child(
            "child",
            command,
            self.log,
            lambda: "up" in tail(self.log),
            on_change=lambda child: self.pids.append(child.pid),
            note=self.notes.append,
        )

    async def load(self) -> int:
        """Load the child ahead of time; return its pid."""
        await self.child.load()
        assert self.child.pid is not None
        return self.child.pid


async def test_a_killed_child_is_started_again_and_then_stopped(tmp_path: Path) -> None:
    harness = Harness(tmp_path, python(SLEEPER))
    await harness.child.start(10)
    first = harness.child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await asyncio.to_thread(wait_until, lambda: len(harness.pids) == 3)
    second = harness.pids[-1]
    await harness.child.stop()
    assert harness.pids == [first, None, second, None]
    assert "killed by SIGKILL" in harness.notes[0]
    assert second is not None
    assert identity_of(second) is None


def loaded(folder: Path, source: str) -> Command:
    """A command whose program can be loaded ahead of time: `source` is what its package runs."""
    (folder / "ours").mkdir()
    (folder / "ours" / "__main__.py").write_text(f"def start():\n    {source}\n\nif __name__ == '__main__': start()\n")
    environ = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{Path.cwd()}"}
    ahead = (sys.executable, "-m", "leaderboard_cli.cluster.loaded", "ours")
    return Command((sys.executable, "-m", "ours"), environ, loaded=ahead)


async def test_a_child_is_loaded_ahead_of_time_and_runs_when_it_is_started(tmp_path: Path) -> None:
    harness = Harness(tmp_path, loaded(tmp_path, f"import sys; print(repr(sys.stdin.read())); {SLEEPER}"))
    first = await harness.load()
    assert not harness.log.read_text()
    await harness.child.start(10)
    assert harness.child.pid == first
    assert harness.log.read_text().splitlines() == ["''", "up"], "its standard input is empty, as that of others"
    os.kill(first, signal.SIGKILL)
    await asyncio.to_thread(wait_until, lambda: harness.log.read_text().count("up") == 2)
    await harness.child.stop()


async def test_a_loaded_child_that_ended_is_started_as_any_other(tmp_path: Path) -> None:
    harness = Harness(tmp_path, loaded(tmp_path, SLEEPER))
    first = await harness.load()
    os.kill(first, signal.SIGKILL)
    await asyncio.to_thread(wait_until, lambda: harness.child.pid is None)
    await harness.child.start(10)
    assert harness.child.pid not in (None, first)
    await harness.child.stop()


async def test_a_loaded_child_ends_with_a_stop(tmp_path: Path) -> None:
    harness = Harness(tmp_path, loaded(tmp_path, SLEEPER))
    pid = await harness.load()
    await harness.child.stop()
    assert identity_of(pid) is None
    assert not harness.log.read_text()


async def test_a_child_that_is_started_while_it_is_loaded_is_one_process(tmp_path: Path) -> None:
    harness = Harness(tmp_path, loaded(tmp_path, SLEEPER))
    await asyncio.gather(harness.child.load(), harness.child.start(10))
    await harness.child.load()
    assert harness.pids == [harness.child.pid]
    await harness.child.stop()


async def test_a_child_that_cannot_be_loaded_fails_when_it_is_started(tmp_path: Path) -> None:
    harness = Harness(tmp_path, loaded(tmp_path, "pass"))
    (tmp_path / "ours" / "__main__.py").write_text("import no_such_module\n")
    await harness.child.load()
    with pytest.raises(StartError, match="no_such_module"):
        await harness.child.start(10)
    await harness.child.stop()


async def test_a_child_that_cannot_be_started_again_is_tried_again(tmp_path: Path) -> None:
    harness = Harness(tmp_path, python(SLEEPER))
    await harness.child.start(10)
    first = harness.child.pid
    assert first is not None
    harness.log.unlink()
    harness.log.mkdir()  # in the way of its log, as a full disk would be
    os.kill(first, signal.SIGKILL)
    await asyncio.to_thread(wait_until, lambda: any("cannot be started" in note for note in harness.notes))
    assert harness.child.keeper is not None
    assert not harness.child.keeper.done()
    harness.log.rmdir()
    await asyncio.to_thread(wait_until, lambda: len(harness.pids) == 3)
    assert harness.pids[-1] not in (None, first)
    await harness.child.stop()


async def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    harness = Harness(tmp_path, python(STUBBORN, stop_seconds=0.2))
    await harness.child.start(10)
    await harness.child.stop()
    assert harness.child.pid is None
    assert harness.notes == ["child did not stop within 0.2 s of SIGTERM: SIGKILL follows"]


async def test_a_child_that_fails_shows_the_end_of_its_log(tmp_path: Path) -> None:
    harness = Harness(tmp_path, python("import sys; sys.exit('no such thing')"))
    with pytest.raises(StartError, match="child did not start: exit code 1") as raised:
        await harness.child.start(10)
    assert raised.value.log_tail == ("no such thing",)
    await harness.child.stop()


async def test_a_child_that_is_never_ready_is_given_up(tmp_path: Path) -> None:
    harness = Harness(tmp_path, python("import time; time.sleep(60)"))
    with pytest.raises(StartError, match="not ready after"):
        await harness.child.start(0.3)
    await harness.child.stop()
    assert harness.child.pid is None


def test_a_program_that_is_missing_is_named() -> None:
    done = subprocess.run(Command(("/no/such/program",), {}).launch_argv(), capture_output=True, text=True, check=False)
    assert done.returncode == 127
    assert "/no/such/program" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is a Linux feature")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc")
def test_a_child_heeds_the_signals_that_a_shell_has_its_background_ignore() -> None:
    command = Command(("/bin/cat", "/proc/self/status"), dict(os.environ))
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGQUIT)}
    try:
        status = subprocess.run(command.launch_argv(), capture_output=True, text=True, check=True).stdout
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    ignored = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigIgn")), 16)
    assert not ignored & (1 << signal.SIGINT - 1 | 1 << signal.SIGQUIT - 1)


def test_a_child_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    parent = (
        "import subprocess, sys, time, os; from leaderboard_cli.cluster.process import Command\n"
        f"child = subprocess.Popen(Command((sys.executable, '-c', {SLEEPER!r}), dict(os.environ)).launch_argv(),"
        "stdout=subprocess.DEVNULL, start_new_session=True)\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        # Only after exec it is certainly tied to its parent.
        wait_until(lambda: SLEEPER.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[2:3])
        process.kill()
        process.wait()
    wait_until(lambda: identity_of(pid) is None)


def test_back_off_grows_to_a_limit() -> None:
    waits = [RESTARTS.pause(crashes) for crashes in range(11)]
    assert waits[:3] == [0.2, 0.4, 0.8]
    assert waits == sorted(waits)
    assert waits[-1] == 10.0


def test_describe_exit() -> None:
    assert describe_exit(3) == "exit code 3"
    assert describe_exit(-9) == "killed by SIGKILL"


def test_leftovers_are_ended_but_strangers_are_not(tmp_path: Path) -> None:
    pid_file = PidFile(tmp_path)
    with (
        subprocess.Popen([sys.executable, "-c", SLEEPER], stdout=subprocess.PIPE) as ours,
        subprocess.Popen([sys.executable, "-c", SLEEPER], stdout=subprocess.PIPE) as stranger,
    ):
        pid_file.write([("redis", ours.pid), ("nginx", stranger.pid)])
        records = json.loads((tmp_path / "pids.json").read_text())
        records[1]["identity"] = "another boot/1"  # its pid belongs to another process
        write_json(tmp_path / "pids.json", records)
        try:
            assert pid_file.end_leftovers() == ["redis"]
            assert ours.wait(5) == -signal.SIGTERM
            assert stranger.poll() is None
        finally:
            stranger.kill()
    assert pid_file.read() == []
    assert pid_file.end_leftovers() == []


def test_a_pid_file_that_is_not_ours_is_not_guessed_at(tmp_path: Path) -> None:
    (tmp_path / "pids.json").write_text("[{}]")
    with pytest.raises(ClusterError, match=r"pids\.json"):
        PidFile(tmp_path).end_leftovers()


def test_one_supervisor_per_folder(tmp_path: Path) -> None:
    taken = pytest.raises(AlreadyRunningError, match=f"pid {os.getpid()}")
    with exclusive(tmp_path), taken, exclusive(tmp_path):
        pass
    with exclusive(tmp_path):
        pass


def test_following_a_log(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    seen: list[str] = []
    follower = Follower("x", path, lambda _, lines: seen.extend(lines))
    assert follower.poll() is False
    with path.open("ab") as log:
        log.write(b"one\ntwo\nthr")
        log.flush()
        assert follower.poll() is True
        assert seen == ["one", "two"]
        log.write(b"ee\n\xff\n")
        log.flush()
        follower.poll()
        assert seen == ["one", "two", "three", "�"]
        assert follower.poll() is False
        os.truncate(path, 0)
        log.write(b"new\n")
        log.flush()
        follower.poll()
    assert seen[-1] == "new"
    assert tail(path) == ["new"]
    rotate(path)
    assert (path.read_text(), (tmp_path / "x.log.1").read_text()) == ("", "new\n")


def test_a_log_that_grows_too_large_is_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leaderboard_cli.cluster.logfiles.MAX_LOG_BYTES", 100)
    path = tmp_path / "x.log"
    seen: list[str] = []
    follower = Follower("x", path, lambda _, lines: seen.extend(lines))
    with path.open("ab") as log:
        for number in range(60):
            log.write(f"line {number}\n".encode())
            log.flush()
            follower.poll()
    assert seen == [f"line {number}" for number in range(60)]
    assert path.stat().st_size <= 110
    assert (tmp_path / "x.log.1").stat().st_size > 100


def test_a_large_log_of_which_no_copy_can_be_made_is_emptied_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leaderboard_cli.cluster.logfiles.MAX_LOG_BYTES", 100)
    path = tmp_path / "x.log"
    (tmp_path / "x.log.1").mkdir()
    seen: list[str] = []
    follower = Follower("x", path, lambda _, lines: seen.extend(lines))
    path.write_bytes(b"x" * 100 + b"\n")
    assert follower.poll() is True
    assert path.stat().st_size == 0
    assert "without a copy" in seen[-1]
    path.write_bytes(b"next\n")
    follower.poll()
    assert seen[-1] == "next"


def test_without_a_sink_a_log_is_only_kept_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leaderboard_cli.cluster.logfiles.MAX_LOG_BYTES", 100)
    path = tmp_path / "x.log"
    follower = Follower("x", path, None)
    path.write_bytes(b"x" * 99)
    assert follower.poll() is False
    assert path.stat().st_size == 99
    path.write_bytes(b"x" * 101)
    follower.poll()
    assert path.stat().st_size == 0
