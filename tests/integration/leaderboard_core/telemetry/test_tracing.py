"""One request is one trace from the gateway to Postgres; without a collector nothing is traced, loaded or carried."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from leaderboard_cli.cluster.plan import AppServer
from leaderboard_cli.cluster.ports import LOOPBACK, find_free_ports
from leaderboard_cli.cluster.server import running
from leaderboard_core.settings import AuthSettings, load
from leaderboard_core.tokens import Tokens
from tests.support.collector import Collector, Span, collector
from tests.support.processes import Processes, processes
from tests.support.waiting import wait_until

MODULES = ("api_gateway", "leaderboard_service", "worker_service")


class Traced:
    """The processes, the collector that gets their spans, and a client with a server's token."""

    def __init__(self, running: Processes, received: Collector, client: httpx.Client) -> None:
        self.running = running
        self.received = received
        self.client = client

    def spans(self, trace: str, enough: Callable[[list[Span]], bool]) -> list[Span]:
        """The trace's spans once there are enough."""
        return wait_until(
            lambda: found if enough(found := self.received.spans(trace)) else [], f"enough spans of {trace}"
        )


@pytest.fixture(scope="module")
def traced(emptied_environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    token = Tokens(load(AuthSettings, emptied_environ)).issue("server", "server", "GLOBAL", role="server")
    with collector() as received:
        told = {**emptied_environ, "OTEL_EXPORTER_OTLP_ENDPOINT": f"{received.url}/", "OTEL_BSP_SCHEDULE_DELAY": "50"}
        with (
            processes(tmp_path_factory.mktemp("traced"), told) as running,
            httpx.Client(base_url=running.gateway, headers={"Authorization": f"Bearer {token}"}) as http,
        ):
            yield Traced(running, received, http)


def a_trace(flags: str = "01") -> tuple[str, str, dict[str, str]]:
    """A client's trace id and span id, and the headers that name them."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    return trace, span, {"traceparent": f"00-{trace}-{span}-{flags}", "tracestate": "vendor=abc"}


def saved(spans: list[Span]) -> bool:
    """Whether all of a score's spans are here: each process sends its own when it likes."""
    return len(spans) >= 5 and any(span.process == "worker_service" for span in spans)


def test_one_score_is_one_trace_from_the_gateway_to_postgres(traced: Traced) -> None:
    traced.client.post("/score", json={"user_id": "alice", "region": "EU", "score": 1}).raise_for_status()
    secret = traced.client.post("/users/alice/secret").raise_for_status().json()["secret"]
    token = traced.client.post("/auth/login", json={"user_id": "alice", "secret": secret}).json()["token"]
    trace, caller, headers = a_trace()
    headers |= {"Authorization": f"Bearer {token}", "X-Request-ID": "request-1"}
    answer = traced.client.post("/score/add", json={"delta": 5}, headers=headers)
    assert (answer.status_code, answer.json()["score"]) == (200, 6)
    spans = traced.spans(trace, saved)
    assert [(span.process, span.name) for span in spans] == [
        ("api_gateway", "POST /score/add"),
        ("api_gateway", "POST"),
        ("leaderboard_service", "POST /score/add"),
        ("leaderboard_service", "redis write_score"),
        ("worker_service", "postgres upsert_scores"),
    ]
    gateway, attempt, service, script, upsert = spans
    assert [span.parent for span in spans] == [caller, gateway.id, attempt.id, service.id, script.id]
    assert [span.state for span in spans[:4]] == ["vendor=abc"] * 4
    for span in (gateway, service):
        assert span.attributes["http.response.status_code"] == 200
        assert span.attributes["http.route"] == "/score/add"
        assert span.attributes["leaderboard.request_id"] == "request-1"
    assert gateway.attributes["leaderboard.upstream"] == traced.running.service.removeprefix("http://")
    address = urlsplit(traced.running.service)
    assert attempt.attributes == {
        "http.request.method": "POST",
        "url.full": f"{traced.running.service}/score/add",
        "server.address": address.hostname,
        "server.port": address.port,
        "http.response.status_code": 200,
    }
    assert gateway.attributes["url.scheme"] == "http"
    assert gateway.attributes["network.protocol.version"] == "1.1"
    assert gateway.attributes["server.port"] == urlsplit(traced.running.gateway).port
    assert gateway.attributes["user_agent.original"].startswith("python-httpx/")
    assert script.attributes["db.stored_procedure.name"] == "write_score"
    assert script.attributes["server.address"] == "127.0.0.1"
    for span, kind in ((script, "send"), (upsert, "process")):
        assert span.attributes["messaging.operation.type"] == kind
        assert span.attributes["messaging.destination.name"] == "queue:scores:EU"
    assert upsert.attributes["leaderboard.region"] == "EU"
    assert upsert.attributes["leaderboard.events"] == 1
    # Whether the service's span or the gateway's ends first is open: the answer is out before the service's ends.
    assert gateway.began <= service.began <= script.began <= script.ended <= min(service.ended, gateway.ended)
    assert script.began < upsert.began <= upsert.ended
    assert traced.received.paths == {"/v1/traces"}


def test_the_scores_of_a_batch_share_its_trace(traced: Traced) -> None:
    trace, _, headers = a_trace()
    scores = [{"user_id": f"b{number % 4}", "region": "NA", "score": number} for number in range(8)]
    answer = traced.client.post("/scores", json={"scores": scores}, headers=headers)
    assert answer.json()["accepted"] == 8

    def all_saved(spans: list[Span]) -> bool:
        upserts = [span for span in spans if span.process == "worker_service"]
        return sum(int(span.attributes["leaderboard.events"]) for span in upserts) == 8

    spans = {span.id: span for span in traced.spans(trace, all_saved)}
    upserts = [span for span in spans.values() if span.process == "worker_service"]
    assert all(spans[span.parent].name.startswith("redis write_score") for span in upserts)


def test_a_read_has_no_upsert(traced: Traced) -> None:
    trace, _, headers = a_trace()
    traced.client.get("/top?region=EU", headers=headers).raise_for_status()
    spans = traced.spans(trace, lambda found: len(found) == 4)
    assert [span.name for span in spans] == ["GET /top", "GET", "GET /top", "redis read_top"]


def test_who_names_no_trace_gets_one(traced: Traced) -> None:
    before = {span.trace for span in traced.received.spans()}
    assert traced.client.get("/rank/nobody").status_code == 404
    new = wait_until(
        lambda: [span for span in traced.received.spans() if span.trace not in before and not span.parent],
        "a trace",
    )
    assert [span.name for span in new] == ["GET /rank/{user_id}"]


def test_what_is_not_sampled_is_not_sent_and_leaves_no_trace_in_the_event(traced: Traced) -> None:
    unsampled, _, headers = a_trace("00")
    assert traced.client.post("/score", json={"user_id": "c", "region": "EU", "score": 1}, headers=headers).is_success
    sampled, _, headers = a_trace()
    assert traced.client.post("/score", json={"user_id": "c", "region": "EU", "score": 2}, headers=headers).is_success
    traced.spans(sampled, saved)
    assert traced.received.spans(unsampled) == []


def test_probes_are_not_traced(traced: Traced) -> None:
    for url in traced.running.urls.values():
        for page in ("/health", "/metrics"):
            assert httpx.get(f"{url}{page}", headers=a_trace()[2]).is_success
    assert not [span for span in traced.received.spans() if "health" in span.name or "metrics" in span.name]


def test_a_live_feed_is_not_traced_and_neither_is_what_it_reads(traced: Traced) -> None:
    trace, _, headers = a_trace()
    with traced.client.stream("GET", "/stream/top?region=ASIA", headers=headers) as feed:
        assert "snapshot" in "".join(line for line, _ in zip(feed.iter_lines(), range(4), strict=False))
        later, _, headers = a_trace()
        assert traced.client.get("/top?region=ASIA", headers=headers).is_success
        traced.spans(later, lambda found: len(found) == 4)
    assert traced.received.spans(trace) == []


def test_an_attempt_that_is_repeated_has_a_span_and_a_number_of_its_own(
    traced: Traced, emptied_environ: dict[str, str], tmp_path: Path
) -> None:
    ports = find_free_ports(2)
    environ = {
        **emptied_environ,
        "LEADERBOARD_SERVICE_URLS": f"http://{LOOPBACK}:{ports[0]},{traced.running.service}",
        "HEALTH_CHECK_INTERVAL_SECONDS": "60",  # a request finds out first that a service has ended
        "OTEL_EXPORTER_OTLP_ENDPOINT": traced.received.url,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    ending = AppServer("ending", "leaderboard_service", ports[0], tmp_path, environ)
    server = AppServer("gateway", "api_gateway", ports[1], tmp_path, environ)
    with ExitStack() as stack:
        service = stack.enter_context(ExitStack())
        service.enter_context(running(ending))
        gateway = stack.enter_context(running(server))
        service.close()
        found = []
        for _ in range(2):  # in turn: one of two requests begins at the service that has ended
            trace, _, headers = a_trace()
            httpx.get(f"{gateway.url}/top", headers=headers, trust_env=False).raise_for_status()
            spans = traced.spans(
                trace, lambda spans: any(span.name == "GET /top" and span.process == "api_gateway" for span in spans)
            )
            found.append([span for span in spans if span.process == "api_gateway" and span.name == "GET"])
        assert sorted(map(len, found)) == [1, 2]
        first, second = max(found, key=len)
        (only,) = min(found, key=len)
    assert first.parent == second.parent
    assert first.attributes["server.port"] == ports[0]
    assert first.attributes["error.type"] == "ConnectFailedError"
    assert second.attributes["server.port"] == urlsplit(traced.running.service).port
    assert second.attributes["http.response.status_code"] == 200
    counts = [span.attributes.get("http.request.resend_count") for span in (first, second, only)]
    assert counts == [None, 1, None]


@pytest.mark.parametrize("value", ["", "nonsense", f"00-{'0' * 32}-{'1' * 16}-01", f"ff-{'1' * 32}-{'1' * 16}-01"])
def test_a_traceparent_that_is_none_begins_a_new_trace(traced: Traced, value: str) -> None:
    assert traced.client.get("/top?region=NA", headers={"traceparent": value}).is_success
    assert not [span for span in traced.received.spans() if span.parent == "1" * 16]


def environment(**more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "JWT_SECRET": secrets.token_hex(32), **more}


@pytest.mark.parametrize("module", MODULES)
def test_without_the_variable_nothing_of_it_is_loaded(module: str) -> None:
    loaded = "[name for name in sys.modules if 'opentelemetry' in name or 'otel' in name]"
    code = f"import sys, {module}.__main__; print({loaded})"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "leaderboard_core.telemetry.opentelemetry" not in output
    assert "opentelemetry.sdk.trace" not in output
    assert "opentelemetry.exporter" not in output


@pytest.mark.parametrize("module", MODULES)
def test_a_start_without_the_extra_says_so(module: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['opentelemetry.sdk'] = None\n")
    done = subprocess.run(
        [sys.executable, "-m", module],
        env=environment(PYTHONPATH=str(tmp_path), OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1"),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "OTEL_EXPORTER_OTLP_ENDPOINT: is set" in done.stderr
    assert "leaderboard-system[otel]" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_endpoint_that_is_no_url_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "api_gateway"],
        env=environment(OTEL_EXPORTER_OTLP_ENDPOINT="collector:4318"),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[1].startswith("OTEL_EXPORTER_OTLP_ENDPOINT:")


async def test_a_collector_that_is_unavailable_or_hangs_disturbs_nobody() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        for collector_port in (1, silent.getsockname()[1]):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "api_gateway"),
                env=environment(
                    PORT=str(port),
                    OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{collector_port}",
                    OTEL_BSP_SCHEDULE_DELAY="10",
                    LEADERBOARD_SERVICE_URLS="http://127.0.0.1:1",
                ),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
                deadline = time.monotonic() + 20
                while True:
                    try:
                        assert (await client.get("/health")).status_code == 503, "it has no service"
                        break
                    except httpx.ConnectError:
                        assert time.monotonic() < deadline
                        await asyncio.sleep(0.05)
                for _ in range(20):
                    began = time.monotonic()
                    assert (await client.get("/top")).status_code == 503
                    assert time.monotonic() - began < 5, "it waited for the collector"
            process.terminate()
            began = time.monotonic()
            await asyncio.wait_for(process.communicate(), 10)
            assert process.returncode == 0
            assert time.monotonic() - began < 8
