"""Test Prometheus' config and alerts and Grafana's dashboard: valid, on existing metrics, and returning data."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

import httpx
import pytest

from leaderboard_cli.cluster.ports import find_free_ports
from leaderboard_core.settings import AuthSettings, load
from leaderboard_core.tokens import Tokens
from tests.conftest import TestDatabases, environment_on
from tests.support.catalogue import catalogue
from tests.support.compose import needs_compose
from tests.support.processes import Processes, processes
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "observability"
ALERTS = FOLDER / "prometheus" / "alerts.yml"
DASHBOARD = FOLDER / "grafana" / "dashboards" / "leaderboard.json"
COMPOSE = ("docker", "compose", "--env-file", os.devnull, "--profile", "observability")
NEEDS_TROUBLE = (
    *("gateway_retries_total", "gateway_ejections_total", "leaderboard_worker_upsert_failures_total"),
    *("leaderboard_streams_dropped_total", "leaderboard_worker_batches_fenced_total"),
    *(
        "leaderboard_worker_task_failures_total",
        "leaderboard_players_repaired_total",
        "leaderboard_entries_of_no_board_total",
    ),
    *("leaderboard_worker_events_taken_over_total", 'outcome!~"[1234].."', "queue_full"),
)
"""Metrics of queries that rightly return nothing while all is healthy."""

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="there is no promtool; on Debian and Ubuntu: apt-get install prometheus (as .ci/run does when it is root)",
)
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None,
    reason="there is no prometheus; on Debian and Ubuntu: apt-get install prometheus",
)


@pytest.fixture(scope="module")
def system(emptied_environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Run the three processes, and send some traffic."""
    with processes(tmp_path_factory.mktemp("processes"), emptied_environ) as running:
        make_traffic(running, emptied_environ)
        yield running


def make_traffic(running: Processes, environ: dict[str, str]) -> None:
    token = Tokens(load(AuthSettings, environ)).issue("server", "server", "GLOBAL", role="server")
    with httpx.Client(base_url=running.gateway, headers={"Authorization": f"Bearer {token}"}, timeout=10) as client:
        for number in range(5):
            score = {"user_id": f"p{number}", "region": "EU", "score": number}
            assert client.post("/score", json=score).status_code == 200
        assert client.get("/top").status_code == 200
        assert client.get("/rank/nobody").status_code == 404
        secret = client.post("/users/p1/secret").json()["secret"]
        assert client.post("/auth/login", json={"user_id": "p1", "secret": secret}).status_code == 200
        with client.stream("GET", "/stream/top?region=EU") as feed:
            next(feed.iter_lines())


def promtool(*words: str, stdin: str | None = None) -> None:
    done = subprocess.run(["promtool", *words], input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr, done.stderr


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return found


def targets() -> list[tuple[str, str]]:
    """List the queries of the dashboard, with their legends."""
    return [(target["expr"], target["legendFormat"]) for panel in panels() for target in panel.get("targets", ())]


def expressions() -> list[str]:
    return [expression for expression, _ in targets()]


def metrics_named(text: str) -> set[str]:
    """List the metrics, ours or of the processes, that a PromQL expression names."""
    return set(re.findall(r"\b(?:gateway|leaderboard|process)_[a-z0-9_]+\b", text))


@needs_promtool
@pytest.mark.parametrize("name", ["prometheus.yml", "local.yml"])
def test_the_config_is_valid(name: str) -> None:
    promtool("check", "config", str(FOLDER / "prometheus" / name))


@needs_promtool
def test_the_alerts_fire_when_they_should_and_only_then() -> None:
    promtool("check", "rules", str(ALERTS))
    promtool("test", "rules", str(FOLDER / "prometheus" / "alerts_test.yml"))


def test_every_alert_is_tested_both_ways() -> None:
    alerts = re.findall(r"- alert: (\w+)", ALERTS.read_text("utf-8"))
    tested = (FOLDER / "prometheus" / "alerts_test.yml").read_text("utf-8")
    well, _, trouble = tested.partition("- name: the only worker")
    assert len(alerts) == len(set(alerts)) >= 8
    operations = (ROOT / "docs" / "operations.md").read_text("utf-8")
    for alert in alerts:
        assert f"`{alert}`" in operations, f"what to do about {alert}?"
        assert f"alertname: {alert}}}" in well, f"{alert} must be quiet while all is well"
        assert re.search(rf"alertname: {alert}\n\s+exp_alerts:", trouble), f"{alert} must be seen firing"


@needs_promtool
def test_our_pages_pass_prometheus_own_lint(system: Processes) -> None:
    for url in system.urls.values():
        page = httpx.get(f"{url}/metrics").text
        # The client library's own histograms of the garbage collector and the like are not ours to name.
        ours = "\n".join(line for line in page.splitlines() if re.match(r"(# \w+ )?(gateway|leaderboard)_", line))
        without_creation_times = re.sub(r"^.*_created.*\n", "", f"{ours}\n", flags=re.MULTILINE)
        promtool("check", "metrics", stdin=without_creation_times)


def test_every_metric_of_dashboard_and_alerts_is_shown_by_a_process(system: Processes) -> None:
    shown: set[str] = set()
    for url in system.urls.values():
        for line in httpx.get(f"{url}/metrics").text.splitlines():
            if line.startswith("# TYPE"):
                _, _, name, kind = line.split()
                shown |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"} if kind == "histogram" else {name}
    assert metrics_named(ALERTS.read_text("utf-8")) <= shown
    assert metrics_named("\n".join(expressions())) <= shown


def test_every_metric_that_we_make_is_on_the_dashboard() -> None:
    drawn = metrics_named("\n".join(expressions()))
    missing = [
        metric.name
        for metric in catalogue()
        if not drawn & {metric.name, f"{metric.name}_bucket", f"{metric.name}_count"}
    ]
    assert missing == []


def test_the_dashboard_is_in_order() -> None:
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids))
    places = []
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        places.append(
            {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
        )
        assert panel["type"] == "row" or panel["datasource"]["uid"] == "prometheus"
    assert not [pair for pair in combinations(places, 2) if pair[0] & pair[1]], "panels overlap"
    source = (FOLDER / "grafana" / "provisioning" / "datasources" / "prometheus.yml").read_text("utf-8")
    assert "uid: prometheus\n" in source


@needs_compose
def test_the_profile_adds_prometheus_and_grafana_and_scrapes_what_compose_runs() -> None:
    done = subprocess.run(
        [*COMPOSE, "config", "--format", "json"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    services = json.loads(done.stdout)["services"]
    for name in ("prometheus", "grafana"):
        assert services[name]["profiles"] == ["observability"]
        assert all(port["host_ip"] == "127.0.0.1" for port in services[name]["ports"])
        for volume in services[name]["volumes"]:
            assert volume["type"] != "bind" or Path(volume["source"]).exists()
    config = (FOLDER / "prometheus" / "prometheus.yml").read_text("utf-8")
    wanted = {
        f"{name}:{service['environment']['PORT']}"
        for name, service in services.items()
        if name.startswith(("api-gateway-", "leaderboard-"))
    }
    assert set(re.findall(r'"([a-z0-9-]+:\d+)"', config)) == wanted
    assert "names: [worker]" in config
    assert f"port: {services['worker']['environment']['PORT']}" in config
    networks = services["prometheus"]["networks"].keys()
    assert all(networks & services[name]["networks"].keys() for name in ("api-gateway-1", "leaderboard-1", "worker"))


@contextmanager
def prometheus(folder: Path, running: Processes) -> Iterator[httpx.Client]:
    """Run a Prometheus that scrapes the processes every second; yield its API."""
    jobs = "".join(
        f"  - job_name: {job}\n    static_configs: [{{targets: ['{url.removeprefix('http://')}']}}]\n"
        for job, url in running.urls.items()
    )
    config = folder / "prometheus.yml"
    config.write_text(
        f"global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{ALERTS}']\nscrape_configs:\n{jobs}"
    )
    (port,) = find_free_ports(1)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:

            def ready() -> bool:
                assert process.poll() is None, (folder / "log").read_text()
                try:
                    return client.get("/-/ready").status_code == 200
                except httpx.ConnectError:
                    return False

            wait_until(ready, "a Prometheus that is ready", seconds=30)
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@needs_prometheus
def test_a_real_prometheus_gives_data_for_every_panel(
    system: Processes, test_databases: TestDatabases, tmp_path: Path
) -> None:
    with prometheus(tmp_path, system) as client:

        def answer(path: str, **query: str) -> Any:
            response = client.get(f"/api/v1/{path}", params=query)
            assert response.status_code == 200, f"{query}: {response.text}"
            return response.json()["data"]

        def targets_up() -> bool:
            active = answer("targets", state="active")["activeTargets"]
            return len(active) == 3 and all(target["health"] == "up" for target in active)

        waiting = [target for target in targets() if not any(word in target[0] for word in NEEDS_TROUBLE)]
        done: list[str] = []

        def all_have_data() -> bool:
            """Poll until all have data, with traffic in between: a rate needs two scrapes of a series."""
            make_traffic(system, environment_on(test_databases))
            for expression, legend in list(waiting):
                found = answer("query", query=expression.replace("$__rate_interval", "10s"))["result"]
                if found:
                    labels = set(re.findall(r"{{(\w+)}}", legend))
                    assert all(labels <= series["metric"].keys() for series in found), (
                        f"{expression}: not all of {labels}"
                    )
                    waiting.remove((expression, legend))
                    done.append(expression)
            return not waiting

        wait_until(targets_up, "three targets that are up", seconds=30)
        try:
            wait_until(all_have_data, "data for every query", seconds=30)
        except AssertionError as error:
            raise AssertionError(f"{error}; without data: {waiting}") from error
        for expression in set(expressions()) - set(done):
            answer("query", query=expression.replace("$__rate_interval", "10s"))
        rules = [rule for group in answer("rules")["groups"] for rule in group["rules"]]
        assert len(rules) == len(re.findall(r"- alert:", ALERTS.read_text("utf-8")))
        assert [(rule["name"], rule["lastError"]) for rule in rules if rule.get("lastError")] == []
        assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []
