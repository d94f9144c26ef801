"""The gateway's small decisions: headers, routes, repeats, bodies, log lines."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_gateway.app import needs_token
from api_gateway.asgi import ClientGoneError
from api_gateway.metrics import Exchange, Metrics, log_fields, route_of
from api_gateway.proxy.body import read_body
from api_gateway.proxy.forwarding import may_repeat
from api_gateway.proxy.headers import read_request_head
from api_gateway.upstream.client import encode_request
from api_gateway.upstream.headers import read_response_head
from api_gateway.upstream.health import says_stopping
from api_gateway.upstream.pool import Upstream
from leaderboard_core.errors import PayloadTooLarge, RequestTimeout
from leaderboard_core.http.access_log import AccessLog


def test_a_request_head_in_one_pass() -> None:
    head = read_request_head(
        [
            (b"host", b"h"), (b"authorization", b"Bearer t"), (b"content-length", b"12"), (b"x-request-id", b"id"),
            (b"idempotency-key", b"k"), (b"x-forwarded-for", b"1.1.1.1"), (b"x-forwarded-for", b"2.2.2.2"),
        ],
        "3.3.3.3",
        "http",
    )  # fmt: skip
    assert (head.authorization, head.content_length, head.has_body) == ("Bearer t", 12, True)
    assert (head.request_id, head.has_idempotency_key) == ("id", True)
    assert head.forward == [
        (b"host", b"h"), (b"authorization", b"Bearer t"), (b"idempotency-key", b"k"),
        (b"x-forwarded-for", b"1.1.1.1, 2.2.2.2, 3.3.3.3"), (b"x-forwarded-proto", b"http"), (b"x-request-id", b"id"),
    ]  # fmt: skip


def test_a_request_without_a_body_has_none() -> None:
    assert not read_request_head([], None, "http").has_body
    assert not read_request_head([(b"content-length", b"0")], None, "http").has_body
    assert read_request_head([(b"transfer-encoding", b"chunked")], None, "http").has_body


@pytest.mark.parametrize("proto", [b"ftp", b"", b"https, http"])
def test_a_strange_forwarded_proto_is_replaced(proto: bytes) -> None:
    head = read_request_head([(b"x-forwarded-proto", proto)], None, "http")
    assert dict(head.forward)[b"x-forwarded-proto"] == b"http"


@given(st.binary(max_size=140))
def test_a_request_id_is_always_sane(sent: bytes) -> None:
    head = read_request_head([(b"x-request-id", sent)], None, "http")
    assert 1 <= len(head.request_id) <= 128
    assert all(0x21 <= ord(letter) <= 0x7E for letter in head.request_id)
    if 1 <= len(sent) <= 128 and all(0x21 <= byte <= 0x7E for byte in sent):
        assert head.request_id == sent.decode()


def test_made_request_ids_differ() -> None:
    assert len({read_request_head([], None, "http").request_id for _ in range(100)}) == 100


def test_a_response_head_in_one_pass() -> None:
    head = read_response_head(
        [
            (b"content-length", b"5"), (b"etag", b"x"), (b"connection", b"X-Mine, keep-alive, content-length"),
            (b"x-mine", b"1"), (b"server", b"s"), (b"date", b"d"), (b"x-request-id", b"i"), (b"keep-alive", b"1"),
        ]
    )  # fmt: skip
    assert head.headers == [(b"content-length", b"5"), (b"etag", b"x")]
    assert (head.content_length, head.transfer_encoding) == (5, None)


def test_codings_of_several_lines_are_one_list() -> None:
    head = read_response_head([(b"transfer-encoding", b" Chunked"), (b"transfer-encoding", b"gzip")])
    assert (head.headers, head.content_length, head.transfer_encoding) == ([], None, b"chunked,gzip")


def upstream_request(method: str, headers: list[tuple[bytes, bytes]], body: bytes | None) -> bytes:
    return encode_request(Upstream("http://service:5001"), method, b"/x?y=1", headers, body)


def test_a_request_on_the_wire() -> None:
    host = (b"host", b"h")
    assert upstream_request("GET", [host], None) == b"GET /x?y=1 HTTP/1.1\r\nhost: h\r\n\r\n"
    assert upstream_request("DELETE", [host], None).endswith(b"content-length: 0\r\n\r\n")
    assert upstream_request("POST", [host], b"{}").endswith(b"host: h\r\ncontent-length: 2\r\n\r\n{}")
    assert upstream_request("GET", [], None) == b"GET /x?y=1 HTTP/1.1\r\nhost: service:5001\r\n\r\n"


@pytest.mark.parametrize(
    ("url", "host", "port", "address"),
    [
        ("http://127.0.0.1:5001", "127.0.0.1", 5001, "127.0.0.1:5001"),
        ("http://[::1]:5001", "::1", 5001, "[::1]:5001"),
        ("http://service", "service", 80, "service"),
    ],
)
def test_where_a_service_is(url: str, host: str, port: int, address: str) -> None:
    upstream = Upstream(url)
    assert (upstream.host, upstream.port, upstream.address) == (host, port, address)


@given(st.text(max_size=30), st.text(max_size=12), st.integers(200, 599))
def test_metric_labels_are_bounded(path: str, method: str, status: int) -> None:
    known = {"/", "/top", "/score", "/rank/{user_id}", "/around/{user_id}", "other"}
    assert route_of("/rank/" + path) == "/rank/{user_id}"
    assert route_of("/around/" + path) == "/around/{user_id}"
    assert route_of("/x/" + path) == "other"
    assert route_of(path) in known
    metrics = Metrics()
    metrics.answered(Exchange(method="X" + method, path="/x", request_id="i", status=status))
    labels = {"method": "other", "route": "other", "status": str(status)}
    assert metrics.registry.get_sample_value("gateway_requests_total", labels) == 1


def test_the_latency_is_a_histogram() -> None:
    metrics, upstream = Metrics(), Upstream("http://u:1")
    for seconds in (0.0005, 0.003, 0.005, 0.2, 60):
        metrics.upstream_answered(upstream, 200 if seconds < 1 else 503, seconds)

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"gateway_upstream_seconds_{name}", {"upstream": "u:1", **labels})

    edges = {"0.001": 1, "0.0025": 1, "0.005": 3, "0.1": 3, "0.25": 4, "10.0": 4, "+Inf": 5}
    assert {edge: value("bucket", le=edge) for edge in edges} == edges
    assert value("count") == 5
    assert value("sum") == pytest.approx(60.2085)
    assert b'gateway_upstream_seconds_bucket{le="0.005",upstream="u:1"} 3.0' in metrics.render()
    by_outcome = {
        outcome: metrics.registry.get_sample_value(
            "gateway_upstream_requests_total", {"upstream": "u:1", "outcome": outcome}
        )
        for outcome in ("200", "503")
    }
    assert by_outcome == {"200": 4, "503": 1}


def test_a_request_is_counted_and_timed_by_its_route() -> None:
    metrics = Metrics()
    for user_id, status, seconds in (("a", 200, 0.002), ("b", 404, 0.3), ("c", 200, 0.002)):
        metrics.answered(Exchange("GET", f"/rank/{user_id}", "i", status=status, seconds=seconds))
    metrics.answered(Exchange("POST", "/score/add", "i", status=200, seconds=7))

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, labels)

    rank = {"route": "/rank/{user_id}"}
    assert value("gateway_requests_total", method="GET", status="200", **rank) == 2
    assert value("gateway_requests_total", method="GET", status="404", **rank) == 1
    assert value("gateway_request_seconds_count", **rank) == 3
    assert value("gateway_request_seconds_sum", **rank) == pytest.approx(0.304)
    assert value("gateway_request_seconds_bucket", le="0.0025", **rank) == 2
    assert value("gateway_request_seconds_bucket", le="5.0", route="/score/add") == 0


def test_what_may_be_repeated() -> None:
    for path in ("/score", "/scores", "/score/add", "/score/update", "/score/create"):
        assert may_repeat("POST", path, has_key=True)
        assert not may_repeat("POST", path, has_key=False)
    assert may_repeat("DELETE", "/users/alice", has_key=False)
    assert not may_repeat("DELETE", "/top", has_key=False)
    for path in ("/auth/register", "/auth/login", "/top", "/scoreboard"):
        assert not may_repeat("POST", path, has_key=True)
    assert may_repeat("GET", "/anything", has_key=False)
    assert may_repeat("HEAD", "/anything", has_key=False)
    assert may_repeat("POST", "/ranks", has_key=False), "a read with a body"


def test_where_the_door_asks_for_a_token() -> None:
    assert all(needs_token("POST", path) for path in ("/score", "/score/", "/score/add", "/score/x", "/scores"))
    assert not any(
        needs_token("POST", path) for path in ("/", "/top", "/ranks", "/scoreboard", "/auth/login", "/rank/score")
    )
    assert needs_token("GET", "/users/alice")
    assert needs_token("DELETE", "/users/alice")
    assert not needs_token("OPTIONS", "/score/add")
    assert not needs_token("OPTIONS", "/users/alice")


@pytest.mark.parametrize(
    ("body", "stopping"),
    [
        (b'{"ok":false,"stopping":true}', True),
        (b'{"stopping":false}', False),
        (b'{"stopping":"true"}', False),
        (b'{"ok":true}', False),
        (b"[true]", False),
        (b"<html>stopping</html>", False),
        (b"", False),
    ],
)
def test_who_says_that_it_is_stopping(body: bytes, stopping: bool) -> None:
    assert says_stopping(body) is stopping


def receiver(*messages: dict[str, Any]) -> Any:
    left = list(messages)

    async def receive() -> dict[str, Any]:
        if left:
            return left.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    return receive


def part(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_is_read_whole_up_to_the_limit() -> None:
    parts = [part(b"ab", more=True), part(b"", more=True), part(b"cd", more=False)]
    assert await read_body(receiver(*parts), max_bytes=4, timeout=1) == b"abcd"
    with pytest.raises(PayloadTooLarge):
        await read_body(receiver(*parts), max_bytes=3, timeout=1)
    with pytest.raises(PayloadTooLarge):
        await read_body(receiver(part(b"abcd", more=True)), max_bytes=3, timeout=1)


async def test_a_body_that_stops_coming() -> None:
    with pytest.raises(RequestTimeout):
        await read_body(receiver(part(b"ab", more=True)), max_bytes=10, timeout=0.01)
    with pytest.raises(ClientGoneError):
        await read_body(receiver(part(b"ab", more=True), {"type": "http.disconnect"}), max_bytes=10, timeout=1)


def say(log: AccessLog, exchange: Exchange) -> None:
    log.answered(exchange.path, log_fields(exchange))


async def test_access_lines_are_json_and_come_by_themselves() -> None:
    written: list[bytes] = []
    flushed = asyncio.Event()

    def write(lines: bytes) -> None:
        written.append(lines)
        flushed.set()

    log = AccessLog("gateway-1", "api_gateway.access", write=write)
    for number in range(3):
        say(log, Exchange("GET", "/rank/\ufffd\u738b\n\x00", f"id-{number}", status=200))
    await asyncio.wait_for(flushed.wait(), 5)
    lines = [json.loads(line) for line in b"".join(written).splitlines()]
    assert [line["request_id"] for line in lines] == ["id-0", "id-1", "id-2"]
    assert {"time", "level", "process", "logger", "method", "path", "status", "upstream", "ms", "retries"} <= set(
        lines[0]
    )


async def test_probes_leave_no_line_unless_wanted() -> None:
    written: list[bytes] = []
    for probes in (False, True):
        log = AccessLog("g", "api_gateway.access", probes=probes, write=written.append)
        for path in ("/health", "/metrics", "/top"):
            say(log, Exchange("GET", path, "i", status=200))
        log.flush()
    assert [lines.count(b"\n") for lines in written] == [1, 3]


async def test_many_access_lines_do_not_wait_and_none_come_when_turned_off() -> None:
    written: list[bytes] = []
    log = AccessLog("g", "api_gateway.access", write=written.append)
    for _ in range(450):
        say(log, Exchange("GET", "/top", "i", status=200))
    assert sum(lines.count(b"\n") for lines in written) == 400
    log.flush()
    assert sum(lines.count(b"\n") for lines in written) == 450
    silent = AccessLog("g", "api_gateway.access", enabled=False, write=written.append)
    say(silent, Exchange("GET", "/top", "i", status=200))
    silent.flush()
    assert len(written) == 3
