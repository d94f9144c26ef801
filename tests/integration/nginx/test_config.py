"""Test the front proxy on a real NGINX, with upstreams that answer, break off, or are unreachable."""

import gzip
import http.client
import json
import os
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from leaderboard_cli.cluster.binaries import Servers, find_nginx
from leaderboard_cli.cluster.errors import StartError
from leaderboard_cli.cluster.nginx_server import (
    TUNABLE,
    NginxServer,
    gateway_servers,
    real_ip,
    render,
    shared_with,
    template_path,
)
from leaderboard_cli.cluster.ports import find_free_ports
from leaderboard_cli.cluster.server import running
from leaderboard_core.calls import CALLS
from tests.support.waiting import wait_until


@dataclass
class Upstream:
    """A gateway's stand-in: records requests, may hang up instead of answering, and be silent on who does."""

    breaks: bool = False
    silent: bool = False
    requests: list[tuple[str, str, dict[str, str], int]] = field(default_factory=list)
    address: str = ""
    next_event: threading.Event = field(default_factory=threading.Event)

    def count(self, method: str) -> int:
        return sum(1 for request in self.requests if request[0] == method and request[1] != "/health")


def handler_for(upstream: Upstream) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            upstream.requests.append((self.command, self.path, headers, len(body)))
            if upstream.breaks and self.path != "/health":
                self.close_connection = True
                return
            if self.path.startswith("/stream/"):
                self.stream()
                return
            found = self.path != "/missing"
            content = json.dumps({"from": upstream.address} if found else {"error": "from_the_gateway"}).encode()
            if self.path == "/long":
                content = json.dumps({"rows": ["the same"] * 1000}).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if not upstream.silent:
                self.send_header("X-Upstream-Addr", "service-of-" + upstream.address)
            self.send_header("X-Request-ID", headers.get("x-request-id", "none"))
            self.end_headers()
            self.wfile.write(content)

        def stream(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"9\r\ndata: 1\n\n\r\n")
            self.wfile.flush()
            upstream.next_event.wait(10)
            self.wfile.write(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - names that http.server looks for

        def log_message(self, format: str, *args: object) -> None:
            """Keep standard error quiet."""

    return Handler


@contextmanager
def serving(upstream: Upstream) -> Iterator[Upstream]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler_for(upstream)) as server:
        server.daemon_threads = True
        server.block_on_close = False
        upstream.address = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield upstream
        finally:
            server.shutdown()
            thread.join()


def closed_address() -> str:
    return f"127.0.0.1:{find_free_ports(1)[0]}"


StartNginx = Callable[..., NginxServer]


@pytest.fixture
def start_nginx(tmp_path: Path) -> Iterator[StartNginx]:
    """Start NGINX with the given upstreams (an address where nothing listens is a string)."""
    with ExitStack() as stack:

        def start(*gateways: Upstream | str, **environ: str) -> NginxServer:
            addresses = [
                gateway if isinstance(gateway, str) else stack.enter_context(serving(gateway)).address
                for gateway in gateways
            ]
            server = NginxServer(find_nginx(Servers.WHEELS), tmp_path, find_free_ports(1)[0], addresses, environ)
            up: AbstractContextManager[NginxServer] = running(server)
            return stack.enter_context(up)

        yield start


Reply = tuple[int, dict[str, str], bytes]


def call(
    server: NginxServer,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def raw(server: NginxServer, data: bytes) -> tuple[int, dict[str, object]]:
    """Send bytes that no client library would; return status and JSON body."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/json" in head
    return int(head.split()[1]), json.loads(body)


def test_nginx_accepts_the_configuration(tmp_path: Path) -> None:
    server = NginxServer(find_nginx(Servers.WHEELS), tmp_path, 8080, [f"127.0.0.1:{n}" for n in (4000, 4001)])
    server.prepare()
    assert "syntax is ok" in server.check()
    assert ("user nobody" in server.config_path.read_text()) == (os.geteuid() == 0)


def test_a_configuration_that_is_wrong_is_refused_with_nginx_words(tmp_path: Path) -> None:
    server = NginxServer(find_nginx(Servers.WHEELS), tmp_path, 8080, ["127.0.0.1:4000"], {"NGINX_AUTH_RATE": "fast"})
    with pytest.raises(StartError, match="invalid rate"):
        server.prepare()


def test_a_port_that_is_taken_shows_the_log(tmp_path: Path) -> None:
    with serving(Upstream()) as upstream, socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        server = NginxServer(find_nginx(Servers.WHEELS), tmp_path, holder.getsockname()[1], [upstream.address])
        with pytest.raises(StartError, match="in use"), running(server):
            pass


def test_round_robin_and_the_headers(start_nginx: StartNginx) -> None:
    upstreams = [Upstream(), Upstream(), Upstream()]
    server = start_nginx(*upstreams)
    served = []
    for _ in range(9):
        status, headers, body = call(server, "GET", "/rank/%E2%98%83%20x%2Fy?region=EU&a=%20")
        assert status == 200
        served.append(headers["x-upstream-addr"])
        assert headers["x-service-addr"] == f"service-of-{served[-1]}"
        assert json.loads(body)["from"] == served[-1]
    assert all(served.count(upstream.address) == 3 for upstream in upstreams)
    _, path, headers, _ = upstreams[0].requests[-1]
    assert path == "/rank/%E2%98%83%20x%2Fy?region=EU&a=%20"
    assert headers["host"] == f"127.0.0.1:{server.port}"
    assert headers["x-forwarded-for"] == headers["x-real-ip"] == "127.0.0.1"
    assert headers["x-forwarded-proto"] == "http"
    assert "connection" not in headers


def test_the_gateway_is_named_to_whom_it_names_the_service(start_nginx: StartNginx) -> None:
    _, headers, _ = call(start_nginx(Upstream(silent=True)), "GET", "/top")
    assert not {"x-upstream-addr", "x-service-addr"} & headers.keys()


def test_a_request_id_is_passed_on_or_made(start_nginx: StartNginx) -> None:
    upstream = Upstream()
    server = start_nginx(upstream)
    ids = {}
    for given in ("mine-1", "", "with space", 'quote"', "x" * 40):
        call(server, "GET", "/top", headers={"X-Request-ID": given} if given else {})
        ids[given] = upstream.requests[-1][2]["x-request-id"]
    assert ids["mine-1"] == "mine-1"
    assert ids["x" * 40] == "x" * 40
    made = {ids[""], ids["with space"], ids['quote"']}
    assert len(made) == 3
    assert all(len(value) == 32 and value.isalnum() for value in made)


def test_a_trace_is_passed_on_and_never_made(start_nginx: StartNginx) -> None:
    upstream = Upstream()
    server = start_nginx(upstream)
    trace = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": "vendor=1"}
    call(server, "GET", "/top", headers=trace)
    assert {name: upstream.requests[-1][2].get(name) for name in trace} == trace
    call(server, "POST", "/score", b"{}", {**trace, "Idempotency-Key": "k"})
    assert {name: upstream.requests[-1][2].get(name) for name in trace} == trace
    call(server, "GET", "/top")
    assert trace.keys() & upstream.requests[-1][2].keys() == set()


def test_the_answer_of_a_gateway_passes_untouched(start_nginx: StartNginx) -> None:
    status, _, body = call(start_nginx(Upstream()), "GET", "/missing")
    assert (status, json.loads(body)) == (404, {"error": "from_the_gateway"})


@pytest.mark.parametrize("path", ["/boards", "/boards?cursor=main", "/boards/main"])
def test_a_path_and_those_below_it_reach_a_gateway(start_nginx: StartNginx, path: str) -> None:
    gateway = Upstream()
    status, headers, body = call(start_nginx(gateway), "GET", path)
    assert (status, headers.get("location"), json.loads(body)) == (200, None, {"from": gateway.address})


def test_long_answers_are_packed_for_who_asks_and_events_never(start_nginx: StartNginx) -> None:
    upstream = Upstream()
    server = start_nginx(upstream)
    asked = {"Accept-Encoding": "gzip"}
    _, headers, body = call(server, "GET", "/long", headers=asked)
    assert (headers["content-encoding"], headers["vary"]) == ("gzip", "Accept-Encoding")
    assert len(body) < len(gzip.decompress(body)) / 5
    for path, wanted in (("/long", {}), ("/short", asked)):
        _, headers, body = call(server, "GET", path, headers=wanted)
        assert "content-encoding" not in headers
        assert json.loads(body)
    upstream.next_event.set()
    assert "content-encoding" not in call(server, "GET", "/stream/top", headers=asked)[1]


def test_http_1_0_needs_no_host_and_may_keep_its_connection(start_nginx: StartNginx) -> None:
    upstream = Upstream()
    server = start_nginx(upstream)
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        answers = connection.makefile("rb")
        for _ in range(2):
            connection.sendall(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            head = b"".join(iter(answers.readline, b"\r\n"))
            assert head.startswith(b"HTTP/1.1 200")
            assert b"Connection: keep-alive" in head
            answers.read(int(re.findall(rb"Content-Length: (\d+)", head)[0]))
    assert [headers["host"] for method, path, headers, _ in upstream.requests if path == "/a"] == ["localhost"] * 2


def test_a_gateway_that_is_not_there_is_passed_over_whatever_the_method(start_nginx: StartNginx) -> None:
    alive = Upstream()
    server = start_nginx(closed_address(), alive, closed_address())
    for method in ("POST", "GET", "PUT", "DELETE"):
        for _ in range(6):
            status, headers, _ = call(server, method, "/score/add", b'{"delta":1}')
            assert status == 200
            assert headers["x-upstream-addr"] == alive.address
        assert alive.count(method) == 6, "each request arrived once"


def test_a_post_that_may_have_been_done_is_never_repeated(start_nginx: StartNginx) -> None:
    alive, breaking = Upstream(), Upstream(breaks=True)
    server = start_nginx(alive, breaking)
    statuses = []
    for _ in range(8):
        status, _, body = call(server, "POST", "/score/add", b'{"delta":1}')
        statuses.append(status)
        if status != 200:
            assert json.loads(body)["error"] == "bad_gateway"
    assert breaking.count("POST") > 0
    assert statuses.count(502) == breaking.count("POST")
    assert alive.count("POST") + breaking.count("POST") == 8


def test_every_call_reaches_a_gateway_as_it_was_sent(start_nginx: StartNginx) -> None:
    gateway = Upstream()
    gateway.next_event.set()
    server = start_nginx(gateway, NGINX_AUTH_RATE="1000r/s")
    sent = [(each.method, re.sub(r"\{\w+\}", "one", each.path)) for each in CALLS]
    answers = {(method, path): call(server, method, path)[0] for method, path in sent}
    assert {one: status for one, status in answers.items() if status != 200} == {}
    seen = [request[:2] for request in gateway.requests]
    assert [one for one in sent if one not in seen] == []


def test_a_get_that_broke_off_is_repeated(start_nginx: StartNginx) -> None:
    alive, breaking = Upstream(), Upstream(breaks=True)
    server = start_nginx(alive, breaking)
    assert {call(server, "GET", "/top")[0] for _ in range(8)} == {200}
    assert breaking.count("GET") > 0


def test_a_post_with_an_idempotency_key_is_repeated(start_nginx: StartNginx) -> None:
    alive, breaking = Upstream(), Upstream(breaks=True)
    server = start_nginx(alive, breaking)
    for number in range(8):
        headers = {"Idempotency-Key": f"key-{number}"}
        status, answered, _ = call(server, "POST", "/score/add", b'{"delta":1}', headers)
        assert status == 200
        assert answered["x-service-addr"] == f"service-of-{alive.address}"
    assert breaking.count("POST") > 0
    assert alive.count("POST") == 8
    assert alive.requests[-1][:2] == ("POST", "/score/add")
    assert alive.requests[-1][2]["idempotency-key"] == "key-7"
    assert alive.requests[-1][3] == len(b'{"delta":1}')


def test_a_read_with_a_body_that_broke_off_is_repeated(start_nginx: StartNginx) -> None:
    alive, breaking = Upstream(), Upstream(breaks=True)
    server = start_nginx(alive, breaking)
    body = b'{"user_ids":["a"]}'
    assert {call(server, "POST", "/ranks", body)[0] for _ in range(8)} == {200}
    assert breaking.count("POST") > 0
    assert alive.requests[-1][3] == len(body)


def test_connections_to_the_gateways_are_kept(start_nginx: StartNginx) -> None:
    upstream = Upstream()
    server = start_nginx(upstream)
    before = threading.active_count()
    for _ in range(50):
        assert call(server, "GET", "/top")[0] == 200
    # One thread per connection; more than one only as every worker of NGINX keeps its own.
    assert threading.active_count() - before <= (os.cpu_count() or 1) + 1


def test_a_large_body_goes_through_whoever_runs_nginx(start_nginx: StartNginx) -> None:
    upstream = Upstream()
    server = start_nginx(upstream)
    assert call(server, "POST", "/scores", b"x" * 1_048_576)[0] == 200
    assert upstream.requests[-1][3] == 1_048_576


def test_a_body_that_is_too_large_is_refused_in_the_envelope(start_nginx: StartNginx) -> None:
    upstream = Upstream()
    status, headers, body = call(start_nginx(upstream), "POST", "/score", b"x" * 20_000, {"X-Request-ID": "req-1"})
    assert (status, json.loads(body)["error"]) == (413, "payload_too_large")
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"] == "req-1"
    assert upstream.count("POST") == 0


def test_no_gateway_at_all_is_a_bad_gateway_in_the_envelope(start_nginx: StartNginx) -> None:
    upstream = Upstream()
    server = start_nginx(upstream)
    upstream.breaks = True
    for method in ("POST", "GET"):
        status, headers, body = call(server, method, "/score/add", b"{}")
        assert (status, json.loads(body)["error"]) == (502, "bad_gateway")
        assert headers["content-type"] == "application/json"
        assert len(headers["x-request-id"]) == 32


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n", 400, "bad_request"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "bad_request"),
        (b"G\x01T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request"),
        (b"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "uri_too_long"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 9000 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method_not_allowed"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n", 501, "not_implemented"),
        (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505, "http_version_not_supported"),
        (b"GET /.nginx/413 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 404, "not_found"),
    ],
)
def test_refusals_of_nginx_are_json(start_nginx: StartNginx, request_bytes: bytes, status: int, code: str) -> None:
    upstream = Upstream()
    found, body = raw(start_nginx(upstream), request_bytes)
    assert (found, body["error"]) == (status, code)
    assert body["message"]
    assert [request[1] for request in upstream.requests] == ["/health"]


@pytest.mark.parametrize(
    ("target", "verbs"),
    [
        ("/top?limit=1", "GET, HEAD"),
        ("/users/%C3%A9", "DELETE, GET, HEAD"),
        ("/score", "POST"),
        ("/users/alice/password", "PUT"),
        ("http://game.example/auth/login", "POST"),
        ("/docs", "GET, HEAD"),
        ("/score/no", "GET, HEAD"),
    ],
)
def test_a_verb_that_nginx_refuses_is_told_the_others(start_nginx: StartNginx, target: str, verbs: str) -> None:
    server = start_nginx(Upstream())
    status, headers, body = call(server, "TRACE", target, headers={"X-Request-ID": "req-1"})
    assert (status, headers["allow"], json.loads(body)["error"]) == (405, verbs, "method_not_allowed")
    assert headers["x-request-id"] == "req-1"


def test_logins_are_limited_per_address_and_other_calls_are_not(start_nginx: StartNginx) -> None:
    server = start_nginx(Upstream(), NGINX_AUTH_RATE="1r/s", NGINX_AUTH_BURST="3")
    replies = [call(server, "POST", "/auth/login", b"{}") for _ in range(8)]
    statuses = [reply[0] for reply in replies]
    assert statuses[:4] == [200] * 4
    assert statuses.count(429) >= 3
    _, headers, body = next(reply for reply in replies if reply[0] == 429)
    assert headers["retry-after"] == "1"
    assert headers["content-type"] == "application/json"
    assert "x-request-id" in headers
    content = json.loads(body)
    assert (content["error"], content["retry_after"]) == ("rate_limited", 1)
    assert {call(server, "GET", "/top")[0] for _ in range(8)} == {200}


def test_reads_with_a_body_are_limited_per_address(start_nginx: StartNginx) -> None:
    server = start_nginx(Upstream(), NGINX_LISTS_RATE="1r/s", NGINX_LISTS_BURST="3")
    replies = [call(server, "POST", "/ranks", b"{}") for _ in range(8)]
    assert [reply[0] for reply in replies[:4]] == [200] * 4
    assert [reply[0] for reply in replies].count(429) >= 3
    assert json.loads(replies[-1][2])["error"] == "rate_limited"


def test_live_streams_are_limited_per_address(start_nginx: StartNginx) -> None:
    upstream = Upstream()
    server = start_nginx(upstream, NGINX_STREAMS="2")

    def open_stream(path: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        stack.callback(connection.close)
        connection.request("GET", path)
        return connection.getresponse()

    with ExitStack() as stack:
        streams = [open_stream("/stream/top"), open_stream("/stream/rank/alice")]
        assert [stream.status for stream in streams] == [200, 200]
        refused = open_stream("/stream/top")
        assert (refused.status, json.loads(refused.read())["error"]) == (429, "rate_limited")
        assert call(server, "GET", "/top")[0] == 200
        upstream.next_event.set()
        assert b"data: 2" in streams[0].read()
        wait_until(lambda: open_stream("/stream/top").status == 200, "a place for another stream")


def test_errors_of_nginx_are_shared_with_listed_sites(start_nginx: StartNginx) -> None:
    game, long = "https://game.example", f"https://{'a' * 60}.{'b' * 60}.example"
    limits = {"NGINX_AUTH_RATE": "1r/m", "NGINX_AUTH_BURST": "1"}
    server = start_nginx(Upstream(), closed_address(), CORS_ORIGINS=f"{game}/, {long}", **limits)

    def shared(reply: Reply) -> str | None:
        names = ("access-control-allow-origin", "access-control-expose-headers", "vary")
        found = [reply[1].get(name) for name in names]
        assert found == [None] * 3 or (found[2] == "Origin" and "Retry-After" in (found[1] or "")), found
        return found[0]

    for _ in range(2):
        assert call(server, "POST", "/auth/login", b"{}", {"Origin": game})[0] == 200
    for origin in (game, long, "https://evil.example", "null", None):
        headers = {"Origin": origin} if origin else {}
        for status, path, body in ((413, "/score", b"x" * 20_000), (429, "/auth/login", b"{}")):
            reply = call(server, "POST", path, body, headers)
            assert (reply[0], shared(reply)) == (status, origin if origin in (game, long) else None)
        assert shared(call(server, "GET", "/missing", headers=headers)) is None, "that is for the gateway to say"


FORWARDED = {
    "X-Forwarded-For": "192.0.2.1, 203.0.113.9, 10.0.0.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "play.example",
}


def test_a_stranger_cannot_say_who_it_is(start_nginx: StartNginx) -> None:
    upstream = Upstream()
    server = start_nginx(upstream)
    call(server, "GET", "/top", headers=FORWARDED)
    headers = upstream.requests[-1][2]
    assert headers["x-forwarded-for"] == headers["x-real-ip"] == "127.0.0.1"
    assert headers["x-forwarded-proto"] == "http"
    assert headers["x-forwarded-host"] == headers["host"] == f"127.0.0.1:{server.port}"


def test_behind_a_trusted_load_balancer_its_client_counts(start_nginx: StartNginx) -> None:
    upstream = Upstream()
    limits = {"NGINX_AUTH_RATE": "1r/m", "NGINX_AUTH_BURST": "1"}
    server = start_nginx(upstream, NGINX_TRUSTED_PROXIES="127.0.0.1, 10.0.0.0/8", **limits)
    call(server, "GET", "/top", headers=FORWARDED)
    headers = upstream.requests[-1][2]
    assert headers["x-forwarded-for"] == headers["x-real-ip"] == "203.0.113.9"
    assert (headers["x-forwarded-proto"], headers["x-forwarded-host"]) == ("https", "play.example")

    def login(address: str) -> int:
        return call(server, "POST", "/auth/login", b"{}", {"X-Forwarded-For": address})[0]

    assert [login("203.0.113.9") for _ in range(3)] == [200, 200, 429]
    assert login("192.0.2.2, 203.0.113.9") == 429, "what the client itself wrote does not count"
    assert login("203.0.113.10") == 200


def through_balancer(server: NginxServer, line: bytes, method: str, path: str, headers: dict[str, str]) -> Reply:
    """Call as a load balancer does that speaks the PROXY protocol: `line`, and then what its client sends."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.connect()
        connection.sock.sendall(line)
        connection.request(method, path, b"{}" if method == "POST" else None, headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def client(address: str) -> bytes:
    family = 6 if ":" in address else 4
    return f"PROXY TCP{family} {address} {'::1' if family == 6 else '127.0.0.1'} 4711 80\r\n".encode()


PROXY_PROTOCOL = {"NGINX_PROXY_PROTOCOL": "true", "NGINX_AUTH_RATE": "1r/m", "NGINX_AUTH_BURST": "1"}


def test_the_client_of_a_load_balancer_that_speaks_the_proxy_protocol_counts(start_nginx: StartNginx) -> None:
    upstream = Upstream()
    log = "/dev/stderr leaderboard"
    server = start_nginx(upstream, NGINX_TRUSTED_PROXIES="127.0.0.1", NGINX_ACCESS_LOG=log, **PROXY_PROTOCOL)
    assert server.ready()
    for address in ("203.0.113.9", "2001:db8::9"):
        assert through_balancer(server, client(address), "GET", "/top", FORWARDED)[0] == 200
        headers = upstream.requests[-1][2]
        assert headers["x-forwarded-for"] == headers["x-real-ip"] == address
        assert headers["x-forwarded-proto"] == "http", "what the client wrote came through untouched"
        assert headers["x-forwarded-host"] == headers["host"]

    def login(address: str) -> int:
        return through_balancer(server, client(address), "POST", "/auth/login", FORWARDED)[0]

    assert [login("203.0.113.9") for _ in range(3)] == [200, 200, 429]
    assert login("203.0.113.10") == 200
    wait_until(lambda: '"client":"2001:db8::9"' in server.log_path.read_text(), "the access log")
    assert through_balancer(server, b"PROXY UNKNOWN\r\n", "GET", "/top", FORWARDED)[0] == 200
    assert upstream.requests[-1][2]["x-forwarded-for"] == "127.0.0.1"
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        call(server, "GET", "/top")


def test_a_stranger_cannot_say_by_the_proxy_protocol_who_it_is(start_nginx: StartNginx) -> None:
    upstream = Upstream()
    server = start_nginx(upstream, NGINX_TRUSTED_PROXIES="10.0.0.0/8", **PROXY_PROTOCOL)
    assert through_balancer(server, client("203.0.113.9"), "GET", "/top", FORWARDED)[0] == 200
    headers = upstream.requests[-1][2]
    assert headers["x-forwarded-for"] == headers["x-real-ip"] == "127.0.0.1"
    assert (headers["x-forwarded-proto"], headers["x-forwarded-host"]) == ("http", headers["host"])


def test_an_event_arrives_before_the_next_one_is_made(start_nginx: StartNginx) -> None:
    upstream = Upstream()
    server = start_nginx(upstream)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request("GET", "/stream/top")
    answer = connection.getresponse()
    assert answer.read(9) == b"data: 1\n\n"
    upstream.next_event.set()
    assert answer.read() == b"data: 2\n\n"
    connection.close()


@pytest.mark.parametrize(
    "connections",
    [
        {"NGINX_LISTEN": "8080", "NGINX_REAL_IP_HEADER": "X-Forwarded-For"},
        {"NGINX_LISTEN": "8080 proxy_protocol; listen 127.0.0.1:8079", "NGINX_REAL_IP_HEADER": "proxy_protocol"},
    ],
    ids=["http", "proxy-protocol"],
)
def test_nginx_accepts_what_the_container_gets(tmp_path: Path, connections: dict[str, str]) -> None:
    """Check `nginx/nginx.conf` with the template rendered as the image does it; only paths differ."""
    root = template_path().parents[1]
    variables = {**TUNABLE, **connections, "NGINX_ACCESS_LOG": "/dev/stdout leaderboard"}
    variables["NGINX_REAL_IP"] = real_ip("10.0.0.0/8,::1")
    variables["NGINX_ORIGINS"] = shared_with("https://game.example,http://localhost:3000")
    variables["NGINX_GATEWAYS"] = gateway_servers([f"127.0.0.1:400{number}" for number in range(3)])
    (tmp_path / "default.conf").write_text(render(template_path().read_text(), variables))
    temp_paths = "".join(f"{name}_temp_path {tmp_path}/{name};" for name in ("client_body", "proxy"))
    main = (root / "nginx.conf").read_text()
    for original, ours in {
        "user nginx;": "",
        "/var/run/nginx.pid": f"{tmp_path}/nginx.pid",
        "include /etc/nginx/conf.d/*.conf;": f"{temp_paths} include {tmp_path}/*.conf;",
    }.items():
        assert original in main
        main = main.replace(original, ours)
    config = tmp_path / "main"
    config.write_text(main)
    done = subprocess.run(
        [str(find_nginx(Servers.WHEELS).path), "-p", f"{tmp_path}/", "-c", str(config), "-e", "stderr", "-t"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
