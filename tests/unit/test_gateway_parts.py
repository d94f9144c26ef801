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
from api_gateway.body import read_body
from api_gateway.headers import read_request_head, response_headers
from api_gateway.health import says_stopping
from api_gateway.observe import Exchange, Metrics, log_fields, route_of
from api_gateway.proxy import may_repeat
from leaderboard_core.access_log import AccessLog
from leaderboard_core.errors import PayloadTooLarge, RequestTimeout


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
        ("host", "h"), ("authorization", "Bearer t"), ("idempotency-key", "k"),
        ("x-forwarded-for", "1.1.1.1, 2.2.2.2, 3.3.3.3"), ("x-forwarded-proto", "http"), ("x-request-id", "id"),
    ]  # fmt: skip


def test_a_request_without_a_body_has_none() -> None:
    assert not read_request_head([], None, "http").has_body
    assert not read_request_head([(b"content-length", b"0")], None, "http").has_body
    assert read_request_head([(b"transfer-encoding", b"chunked")], None, "http").has_body


@pytest.mark.parametrize("proto", [b"ftp", b"", b"https, http"])
def test_a_strange_forwarded_proto_is_replaced(proto: bytes) -> None:
    head = read_request_head([(b"x-forwarded-proto", proto)], None, "http")
    assert dict(head.forward)["x-forwarded-proto"] == "http"


@given(st.binary(max_size=140))
def test_a_request_id_is_always_sane(sent: bytes) -> None:
    head = read_request_head([(b"x-request-id", sent)], None, "http")
    assert 1 <= len(head.request_id) <= 128
    assert all(0x21 <= ord(letter) <= 0x7E for letter in head.request_id)
    if 1 <= len(sent) <= 128 and all(0x21 <= byte <= 0x7E for byte in sent):
        assert head.request_id == sent.decode()


def test_made_request_ids_differ() -> None:
    assert len({read_request_head([], None, "http").request_id for _ in range(100)}) == 100


def test_an_answer_without_a_body_announces_none() -> None:
    raw = [(b"Content-Length", b"5"), (b"ETag", b"x")]
    kept = response_headers(raw, request_id="i", upstream_address="u:1")
    dropped = response_headers(raw, request_id="i", upstream_address="u:1", drop_length=True)
    assert kept == [(b"content-length", b"5"), (b"etag", b"x"), (b"x-request-id", b"i"), (b"x-upstream-addr", b"u:1")]
    assert dropped == kept[1:]


@given(st.text(max_size=30), st.text(max_size=12), st.integers(200, 599))
def test_metric_labels_are_bounded(path: str, method: str, status: int) -> None:
    known = {"/top", "/score", "/rank/{user_id}", "/around/{user_id}", "other"}
    assert route_of("/rank/" + path) == "/rank/{user_id}"
    assert route_of("/around/" + path) == "/around/{user_id}"
    assert route_of("/x/" + path) == "other"
    assert route_of(path) in known
    metrics = Metrics()
    metrics.answered(Exchange(method="X" + method, path="/x", request_id="i", status=status))
    labels = {"method": "other", "route": "other", "status": str(status)}
    assert metrics.registry.get_sample_value("gateway_requests_total", labels) == 1


def test_what_may_be_repeated() -> None:
    for path in ("/score", "/scores", "/score/add", "/score/update", "/score/create"):
        assert may_repeat("POST", path, has_key=True)
        assert not may_repeat("POST", path, has_key=False)
    for path in ("/auth/register", "/auth/login", "/top", "/scoreboard"):
        assert not may_repeat("POST", path, has_key=True)
    assert may_repeat("GET", "/anything", has_key=False)
    assert may_repeat("HEAD", "/anything", has_key=False)


def test_where_the_door_asks_for_a_token() -> None:
    assert all(needs_token("POST", path) for path in ("/score", "/score/", "/score/add", "/score/x", "/scores"))
    assert not any(needs_token("POST", path) for path in ("/", "/top", "/scoreboard", "/auth/login", "/rank/score"))
    assert not needs_token("OPTIONS", "/score/add")


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
