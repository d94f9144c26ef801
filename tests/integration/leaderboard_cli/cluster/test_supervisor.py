"""Test the supervisor with real Redis, Postgres and NGINX, and stand-ins for our own processes."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from leaderboard_cli.cluster.pidfile import identity_of
from leaderboard_cli.cluster.probes import redis_answers
from leaderboard_cli.cluster.process_tree import descendants
from tests.support.command import run_command
from tests.support.waiting import wait_until

RUN_UP = "import typer; from leaderboard_cli.commands.up import up; typer.run(up)"
STAND_IN = """
import os, signal, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["INSTANCE_NAME"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print(os.environ["INSTANCE_NAME"], "serves", os.environ["REDIS_URL"], flush=True)
ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
"""
PACKAGES = ("leaderboard_service", "worker_service", "api_gateway")
ALL_NAMES = {
    "redis",
    "postgres",
    "nginx",
    "worker-1",
    *(f"{kind}-{number}" for kind in ("service", "gateway") for number in (1, 2, 3)),
}


class Cluster:
    """`leaderboard up` as a child, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.stand_ins = folder / "stand_ins"
        self.processes: list[subprocess.Popen[str]] = []
        for package in PACKAGES:
            self.replace(package, STAND_IN)

    def replace(self, package: str, source: str) -> None:
        place = self.stand_ins / package
        place.mkdir(parents=True, exist_ok=True)
        (place / "__init__.py").touch()
        (place / "__main__.py").write_text(source)

    def up(self, *options: str, **environ: str) -> subprocess.Popen[str]:
        base = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        command = [sys.executable, "-c", RUN_UP, "--data-dir", str(self.data), "--servers", "wheels", *options]
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env={**base, "PYTHONPATH": str(self.stand_ins), **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.processes.append(process)
        return process

    def state(self) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads((self.data / "cluster.json").read_text())
        except FileNotFoundError:
            return {}
        return content

    def has_another_pid(self, name: str, killed: int) -> bool:
        return self.state()["pids"][name] not in (None, killed)

    def ready(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        def current() -> bool:
            assert process.poll() is None, process.stdout.read() if process.stdout else ""
            state = self.state()
            return bool(state.get("state") == "ready" and state["supervisor_pid"] == process.pid)

        wait_until(current, seconds=30)
        return self.state()


def output_of(process: subprocess.Popen[str], seconds: float = 25.0) -> str:
    output, _ = process.communicate(timeout=seconds)
    return output


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        content: bytes = answer.read()
    return content.decode()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path)
    yield cluster
    for process in cluster.processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_up_serves_restarts_what_crashes_and_leaves_nothing(cluster: Cluster) -> None:
    up = cluster.up("--free-ports", "--logs")
    state = cluster.ready(up)
    assert set(state["pids"]) == set(state["ports"]) == set(state["logs"]) == ALL_NAMES
    assert get(state["url"] + "/top") in {"gateway-1", "gateway-2", "gateway-3"}
    assert f"service-2 serves {state['redis_url']}" in Path(state["logs"]["service-2"]).read_text()
    assert Path(state["jwt_secret_file"]).stat().st_mode & 0o077 == 0

    for name in ("service-2", "nginx", "redis", "postgres"):
        killed = state["pids"][name]
        os.kill(killed, signal.SIGKILL)
        wait_until(partial(cluster.has_another_pid, name, killed))
    wait_until(lambda: get_or_none(state["urls"]["service-2"]) == "service-2")
    wait_until(lambda: get_or_none(state["url"] + "/health"))

    second = cluster.up("--free-ports")
    assert "already runs" in output_of(second)
    assert second.returncode == 1

    pids = cluster.state()["pids"].values()
    up.send_signal(signal.SIGTERM)
    output = output_of(up)
    assert up.returncode == 0
    assert "service-2 | service-2 serves" in output
    assert "service-2 ended (killed by SIGKILL)" in output
    assert [pid for pid in pids if identity_of(pid)] == []
    assert cluster.state() == {}


def test_a_redis_cluster_is_formed_once_and_found_again_on_other_ports(cluster: Cluster) -> None:
    def keys(state: dict[str, Any]) -> list[str]:
        password, found = urlsplit(state["redis_url"]).password, []
        for number in range(6):
            port = state["ports"][f"redis-{number + 1}"]
            with redis.Redis(port=port, password=password, decode_responses=True) as client:
                found += [str(key) for key in client.keys("*")]
        return sorted(set(found))

    up = cluster.up("--free-ports", "--redis-cluster", "3", "--stores")
    state = cluster.ready(up)
    assert {name for name in state["pids"] if name.startswith("redis")} == {
        f"redis-{number + 1}" for number in range(6)
    }
    assert state["redis_url"].endswith("/?partitions=6")
    code, said, complaint = asyncio.run(run_command("rebuild", LEADERBOARD_DATA_DIR=str(cluster.data)))
    assert (code, said.count("players read, complete")) == (0, 6), complaint
    before = keys(state)
    assert len([key for key in before if key.endswith("shard:admission")]) == 6
    killed = state["pids"]["redis-2"]
    os.kill(killed, signal.SIGKILL)
    wait_until(partial(cluster.has_another_pid, "redis-2", killed))
    up.send_signal(signal.SIGTERM)
    output_of(up)
    assert up.returncode == 0
    again = cluster.up("--free-ports", "--redis-cluster", "3", "--stores")
    assert set(keys(cluster.ready(again))) <= set(before)
    again.send_signal(signal.SIGTERM)
    output_of(again)
    assert again.returncode == 0


def test_the_stores_ask_for_passwords_that_only_the_owner_of_the_folder_can_read(cluster: Cluster) -> None:
    up = cluster.up("--free-ports", "--quiet")
    state = cluster.ready(up)
    secrets = [urlsplit(state[url]).password or "" for url in ("redis_url", "postgres_dsn")]
    assert [len(secret) for secret in secrets] == [64, 64]
    assert secrets[0] != secrets[1]
    assert not redis_answers("127.0.0.1", state["ports"]["redis"]), "nobody gets in without it"
    for name in ("redis", "postgres"):
        shown = subprocess.run(["ps", "-o", "args=", "-p", str(state["pids"][name])], capture_output=True, check=True)
        assert not [secret for secret in secrets if secret in shown.stdout.decode()], "everybody can list processes"
    holders = [path for path in cluster.data.rglob("*") if path.is_file() and path.parent.name != "logs"]
    holders = [path for path in holders if any(secret.encode() in path.read_bytes() for secret in secrets)]
    assert {path.name for path in holders} >= {"cluster.json", "redis_password", "postgres_password", "pgpass"}
    assert [path for path in holders if path.stat().st_mode & 0o077] == []
    assert {cluster.data.stat().st_mode & 0o777} <= ({0o755} if os.geteuid() == 0 else {0o700})
    if state["psql"]:
        pasted = f"{state['psql'].removesuffix('leaderboard_asia')} postgres -At -c 'SELECT 6 * 7'"
        done = subprocess.run(
            ["sh", "-c", pasted], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        assert (done.stdout, done.stderr) == ("42\n", "")
    up.send_signal(signal.SIGTERM)
    output_of(up)
    again = cluster.ready(cluster.up("--free-ports", "--quiet"))
    assert [urlsplit(again[url]).password for url in ("redis_url", "postgres_dsn")] == secrets


def test_a_record_that_cannot_be_written_is_said_and_a_crashed_process_is_restarted(cluster: Cluster) -> None:
    up = cluster.up("--free-ports", "--quiet")
    state = cluster.ready(up)
    in_the_way = [cluster.data / f"{name}.json.{up.pid}.new" for name in ("pids", "cluster")]
    for place in in_the_way:
        place.mkdir()
    for name in ("service-2", "redis"):
        os.kill(state["pids"][name], signal.SIGKILL)
    wait_until(lambda: get_or_none(state["urls"]["service-2"]) == "service-2")
    password = urlsplit(state["redis_url"]).password or ""
    wait_until(lambda: redis_answers("127.0.0.1", state["ports"]["redis"], password))
    assert cluster.state()["pids"] == state["pids"], "the record is the old one"
    for place in in_the_way:
        place.rmdir()
    for name in ("service-2", "redis"):
        wait_until(partial(cluster.has_another_pid, name, state["pids"][name]))
    up.send_signal(signal.SIGTERM)
    output = output_of(up)
    assert up.returncode == 0
    assert output.count("what runs cannot be recorded") == 1
    assert "what runs is recorded again" in output
    assert cluster.state() == {}


def test_a_redis_that_cannot_load_its_file_is_set_aside_and_said_so(cluster: Cluster) -> None:
    up = cluster.up("--free-ports", "--quiet")
    cluster.ready(up)
    up.send_signal(signal.SIGTERM)
    output_of(up)
    (manifest,) = cluster.data.glob("*/appendonlydir/*.manifest")
    manifest.write_bytes(b"\0" * 80)
    again = cluster.up("--free-ports", "--quiet")
    state = cluster.ready(again)
    again.send_signal(signal.SIGTERM)
    output = output_of(again)
    assert "redis: it cannot load its data" in output
    (aside,) = cluster.data.glob("*.damaged-*")
    assert (aside / "appendonlydir" / manifest.name).read_bytes() == b"\0" * 80
    assert aside.name in output.replace("\n", "")
    assert f"set aside in {aside}" in Path(state["logs"]["redis"]).read_text()


def get_or_none(url: str) -> str | None:
    try:
        return get(url)
    except OSError:
        return None


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is a Linux feature")
def test_a_killed_supervisor_leaves_nothing_and_can_be_started_again(cluster: Cluster) -> None:
    up = cluster.up("--free-ports", "--quiet")
    recorded = cluster.ready(up)["pids"]
    held = descendants(recorded["postgres"])[0]
    pids = [*recorded.values(), *descendants(recorded["postgres"])]
    os.kill(held, signal.SIGSTOP)  # a fast shutdown of Postgres would wait for it for ever
    up.kill()
    up.wait()
    wait_until(lambda: not [pid for pid in pids if identity_of(pid)])
    again = cluster.up("--free-ports", "--quiet")
    cluster.ready(again)
    again.send_signal(signal.SIGINT)
    output_of(again)
    assert again.returncode == 0


def test_what_cannot_start_is_named_with_its_log(cluster: Cluster) -> None:
    cluster.replace("worker_service", "import sys; sys.exit('no such queue')")
    up = cluster.up("--free-ports", "--quiet")
    output = output_of(up, 60)
    assert up.returncode == 1
    assert "worker-1 did not start: exit code 1" in output
    assert "  no such queue" in output
    assert "Traceback" not in output
    assert cluster.state() == {}


def test_a_server_that_the_environment_names_is_not_started(cluster: Cluster) -> None:
    up = cluster.up("--free-ports", POSTGRES_HOST="127.0.0.1", POSTGRES_PORT="1")
    output = output_of(up, 60)
    assert up.returncode == 1
    assert "check POSTGRES_HOST" in output
    assert not list(cluster.data.glob("pg-*"))


def test_a_busy_port_is_told_before_anything_starts(cluster: Cluster) -> None:
    up = cluster.up("--gateway-port", "5000", "--service-port", "5002")
    output = output_of(up)
    assert up.returncode == 1
    assert "port 5002 is wanted by both service-1 and gateway-3" in output
    assert not (cluster.data / "logs").exists()
