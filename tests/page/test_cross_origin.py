"""Test in a real browser that a page of another site uses the API when CORS_ORIGINS lists it, and else cannot."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver

from tests.acceptance.cluster import LocalCluster, local_cluster
from tests.page.browser import Page, page_in

READ = """
const [api, done] = [arguments[0], arguments[arguments.length - 1]];
(async () => {
    const body = JSON.stringify({ user_id: arguments[1], name: "Ada", region: "EU" });
    const json = { "Content-Type": "application/json" };
    const entered = await fetch(`${api}/auth/register`, { method: "POST", headers: json, body });
    const { token } = await entered.json();
    const owner = { Authorization: `Bearer ${token}` };
    const signed = { ...json, ...owner, "Idempotency-Key": "page-1" };
    const added = await fetch(`${api}/score/add`, { method: "POST", headers: signed, body: '{"delta": 5}' });
    const top = await fetch(`${api}/top?region=EU`);
    const refused = await fetch(`${api}/score/add`, { method: "POST", headers: json, body: "{}" });
    const large = await fetch(`${api}/score/add`, { method: "POST", headers: signed, body: " ".repeat(20000) });
    const stream = await fetch(`${api}/stream/top?region=EU`, { headers: { "Last-Event-ID": "none" } });
    const [reader, decoder] = [stream.body.getReader(), new TextDecoder()];
    let streamed = "";
    while (!streamed.includes("event: snapshot")) streamed += decoder.decode((await reader.read()).value);
    await reader.cancel();
    const source = new EventSource(`${api}/stream/rank/${arguments[1]}?region=EU`);
    const event = await new Promise((resolve) => source.addEventListener("snapshot", resolve));
    source.close();
    const gone = await fetch(`${api}/users/${arguments[1]}`, { method: "DELETE", headers: owner });
    return {
        score: (await added.json()).score,
        source: top.headers.get("X-Leaderboard-Source"),
        gateway: top.headers.get("X-Upstream-Addr"),
        rows: (await top.json()).rows.map((row) => row.user_id),
        refused: [(await refused.json()).error, refused.headers.get("X-Request-ID")?.length > 0],
        large: (await large.json()).error,
        streamed: streamed.startsWith("retry:"),
        listened: JSON.parse(event.data).self.rank,
        gone: gone.status,
    };
})().then(done, (error) => done(String(error)));
"""


@contextmanager
def foreign_page() -> Iterator[str]:
    """Serve an empty page; yield its origin."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>game</title><link rel=icon href=data:>")

        def log_message(self, format: str, *args: object) -> None:
            """Keep standard error quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def sites() -> Iterator[tuple[str, str]]:
    """Serve pages of two other sites."""
    with ExitStack() as stack:
        yield stack.enter_context(foreign_page()), stack.enter_context(foreign_page())


@pytest.fixture(scope="module")
def sharing(tmp_path_factory: pytest.TempPathFactory, sites: tuple[str, str]) -> Iterator[LocalCluster]:
    """Run a cluster that shares with the first of the sites."""
    folder: Path = tmp_path_factory.mktemp("sharing") / "data"
    with local_cluster(folder, environ={"CORS_ORIGINS": sites[0]}) as running:
        yield running


@pytest.mark.parametrize("way", ["", "gateway-1", "service-1"])
def test_a_page_of_a_listed_site_plays(
    chromium: webdriver.Chrome, sharing: LocalCluster, sites: tuple[str, str], way: str
) -> None:
    with page_in(chromium, sites[0]) as page:
        page.allowed += ["401", "413"]
        page.open()
        found: Any = chromium.execute_async_script(
            READ, sharing.state["urls"][way] if way else sharing.url, f"page-{way}"
        )
        assert found == {
            "score": 5,
            "source": "redis",
            "gateway": found["gateway"],
            "rows": [f"page-{way}"],
            "refused": ["missing_token", True],
            "large": "payload_too_large",
            "streamed": True,
            "listened": 1,
            "gone": 200,
        }
        assert (found["gateway"] is None) == (way == "service-1")
        assert page.complaints() == []


def test_a_page_of_another_site_reads_nothing(
    chromium: webdriver.Chrome, sharing: LocalCluster, sites: tuple[str, str]
) -> None:
    page: Page
    with page_in(chromium, sites[1]) as page:
        page.open()
        assert "TypeError" in chromium.execute_async_script(READ, sharing.url, "page-foreign")
        script = "fetch(arguments[0] + '/top').then(() => 'read', String).then(arguments[1])"
        assert "TypeError" in chromium.execute_async_script(script, sharing.url)
