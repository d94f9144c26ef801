"""Test `leaderboard status` of a running cluster: once, as JSON, by its address alone, and down."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import Any

import pytest

from tests.acceptance.cluster import LocalCluster, clean_environment, command
from tests.acceptance.conftest import Register
from tests.support.waiting import wait_until

pytestmark = pytest.mark.local_cluster


def run(*words: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("status", *words), env=environ, capture_output=True, text=True, timeout=60, check=False
    )


def as_json(cluster: LocalCluster, *words: str) -> dict[str, Any]:
    done = run("--json", *words, environ=cluster.environment())
    found: dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0 if found["ok"] else 1, "")
    return found


def test_everything_of_a_local_cluster(cluster: LocalCluster, register: Register) -> None:
    player = register("EU", 5)
    process = subprocess.Popen(
        command("status", "--json", "--interval", "4"), env=cluster.environment(), stdout=subprocess.PIPE, text=True
    )
    # Requests go on until the second poll is done, whenever the first one was.
    sent = 0
    while process.poll() is None:
        assert player.http.post("/score/add", json={"delta": 1}).status_code in (200, 429)
        assert player.http.get(f"/rank/{player.user_id}").status_code == 200
        sent += 1
    output, _ = process.communicate()
    assert process.returncode == 0
    found = json.loads(output)
    assert found["problems"] == []
    assert found["url"] == cluster.url
    assert found["status"]["reads"] == "redis"
    assert [queue["region"] for queue in found["status"]["queues"]] == ["ASIA", "EU", "NA", "GLOBAL"]
    assert [(one["healthy_for"], one["seen_by"], one["state"]) for one in found["upstreams"]] == [(3, 3, "healthy")] * 3
    routes = {route["name"]: route for route in found["routes"]}
    for name in ("/score/add", "/rank/{user_id}"):
        assert 0 < routes[name]["per_second"] <= sent / 4
        assert routes[name]["failed_per_second"] == 0
        assert 0 < routes[name]["p50"] <= routes[name]["p99"] < 10
    assert len(found["services"]) == 3
    assert found["reads_per_second"]["redis"] > 0
    assert found["saved_per_second"] > 0


def test_a_screen_also_by_the_public_address_alone(cluster: LocalCluster) -> None:
    screen = run("--once", "--interval", "0.2", environ=cluster.environment())
    assert screen.returncode == 0
    assert f"Leaderboard {cluster.url}" in screen.stdout
    assert "upsert p99" in screen.stdout
    remote = run("--url", cluster.url, environ=clean_environment(LEADERBOARD_DATA_DIR="/nowhere"))
    assert remote.returncode == 0, "no terminal: once"
    assert "healthy" in remote.stdout
    assert "GLOBAL" in remote.stdout
    assert "upsert p99" not in remote.stdout


def test_a_process_that_hangs_is_named(cluster: LocalCluster) -> None:
    address = cluster.state["urls"]["service-2"]
    cluster.kill("service-2", signal.SIGSTOP)
    try:
        found = as_json(cluster, "--interval", "0.2")
        assert found["ok"] is False
        assert [problem for problem in found["problems"] if problem.startswith(address)]
    finally:
        cluster.kill("service-2", signal.SIGCONT)
        wait_until(lambda: as_json(cluster, "--interval", "0.2")["ok"], "a cluster that is well again")


def test_when_nothing_answers() -> None:
    done = run("--url", "http://127.0.0.1:1", environ=clean_environment(LEADERBOARD_DATA_DIR="/nowhere"))
    assert done.returncode == 1
    assert done.stderr.startswith("Nothing answers at http://127.0.0.1:1.\n")
    assert "leaderboard_cli up', or give --url" in done.stderr
    assert "Traceback" not in done.stderr
