"""The gateway serves the dashboard: headers that keep it safe, caching that keeps it fresh, and nothing else."""

from __future__ import annotations

import gzip
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.integration.api_gateway.support import gateway, refusing_port, services
from tests.integration.api_gateway.test_app import is_envelope

PAGE = Path(__file__).resolve().parents[4] / "api_gateway" / "page"
SHARED = PAGE.parents[1] / "leaderboard_core" / "http" / "pages" / "assets"
POLICY = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "font-src 'self'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
}


class Links(HTMLParser):
    """What a page loads, and what in it the policy would refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.refused: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "img"):
            self.loaded.append(given.get("src") or "inline")
        if tag == "link":
            self.loaded.append(given["href"] or "")
        self.refused += [f"{tag} {name}" for name in given if name == "style" or name.startswith("on")]
        if tag == "style":
            self.refused.append(tag)


async def test_the_page_and_everything_that_it_loads_is_there_while_no_service_is() -> None:
    with refusing_port() as port:
        async with gateway(f"http://127.0.0.1:{port}") as gate:
            page = await gate.get("/")
            links = Links()
            links.feed(page.text)
            assert page.headers["content-type"] == "text/html; charset=utf-8"
            assert len(links.loaded) > 10
            assert links.refused == []
            for path in links.loaded:
                assert path.startswith("/assets/")
                asset = await gate.get(path)
                assert asset.status_code == 200, path
                kind = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}[path.rpartition(".")[2]]
                assert asset.headers["content-type"].startswith(kind)


async def test_every_module_is_preloaded_and_imports_only_what_is_there() -> None:
    html = (PAGE / "index.html").read_text("utf-8")
    paths = {path.name: path for folder in (SHARED, PAGE / "assets") for path in folder.glob("*.js")}
    del paths["theme.js"]  # no module: it must run before the page is drawn
    modules = set(paths)
    assert set(re.findall(r'(?:modulepreload|module)" (?:href|src)="/assets/([\w.]+)"', html)) == modules
    for path in paths.values():
        source = path.read_text("utf-8")
        assert set(re.findall(r'from "\./([\w.]+)"', source)) <= modules
        assert len(source.splitlines()) <= 350
        assert max(map(len, source.splitlines())) <= 120


@pytest.mark.parametrize("path", ["/", "/assets/main.js", "/assets/theme.css", "/assets/icon.svg"])
async def test_headers_keep_a_page_safe(path: str) -> None:
    async with services(1) as (service,), gateway(service) as gate:
        answer = await gate.get(path)
        policy = set(answer.headers["content-security-policy"].split("; "))
        assert policy >= POLICY
        assert not [directive for directive in policy if "unsafe" in directive or "data:" in directive]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["x-request-id"]
        assert service.requests == []


async def test_a_browser_asks_again_and_gets_304_until_a_file_changes() -> None:
    async with services(1) as (service,), gateway(service) as gate:
        first = await gate.get("/assets/main.js")
        etag = first.headers["etag"]
        assert first.headers["cache-control"] == "no-cache"
        for known in (etag, f'"other", W/{etag}', "*"):
            again = await gate.get("/assets/main.js", headers={"If-None-Match": known})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == etag
            assert "content-length" not in again.headers
        other = await gate.get("/assets/main.js", headers={"If-None-Match": '"other"'})
        assert (other.status_code, other.content) == (200, first.content)


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("deflate, gzip ; q=1.0", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("xgzip", False),
    ],
)
async def test_who_takes_gzip_gets_it(accepted: str, packed: bool) -> None:
    async with services(1) as (service,), gateway(service) as gate:
        lines = ("GET /assets/main.js HTTP/1.1", "Host: x", f"Accept-Encoding: {accepted}", "Connection: close", "", "")
        raw = await gate.raw("\r\n".join(lines).encode())
        head, _, body = raw.partition(b"\r\n\r\n")
        assert (b"content-encoding: gzip" in head.lower()) == packed
        assert b"vary: accept-encoding" in head.lower()
        content = gzip.decompress(body) if packed else body
        assert content == (PAGE / "assets" / "main.js").read_bytes()
        tags = re.findall(rb"etag: (\S+)", head)
        assert [tag.endswith(b'-gzip"') for tag in tags] == [packed]


async def test_head_is_get_without_the_body() -> None:
    async with services(1) as (service,), gateway(service) as gate:
        whole, head = await gate.get("/"), await gate.head("/")
        assert (head.status_code, head.content) == (200, b"")
        assert {**head.headers, "x-request-id": "", "date": ""} == {**whole.headers, "x-request-id": "", "date": ""}


async def test_other_verbs_are_refused() -> None:
    async with services(1) as (service,), gateway(service) as gate:
        for path in ("/", "/assets/main.js"):
            refused = await gate.post(path)
            assert is_envelope(refused, 405, "method_not_allowed")
            assert refused.headers["allow"] == "GET, HEAD"


NOWHERE = (
    "/assets/",
    "/assets/nothing.js",
    "/assets/index.html",
    "/assets/../app.py",
    "/assets/..%2fapp.py",
    "/assets/%2e%2e/%2e%2e/app.py",
    "/assets/..%5c..%5capp.py",
    "/assets//etc/passwd",
    "/assets/main.js/",
    "/assets/main.js%00.css",
    "/assets/__init__.py",
)


@pytest.mark.parametrize("target", NOWHERE)
async def test_nothing_else_is_under_assets(target: str) -> None:
    async with services(1) as (service,), gateway(service) as gate:
        raw = await gate.raw(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert raw.startswith(b"HTTP/1.1 404 ")
        assert b'"error":"not_found"' in raw
        assert service.requests == []


async def test_pages_are_counted_by_class() -> None:
    async with services(1) as (service,), gateway(service) as gate:
        for path in ("/", "/assets/main.js", "/assets/board.js", "/assets/nothing.js"):
            await gate.get(path)
        count = gate.metric
        assert count("gateway_requests_total", method="GET", route="/", status="200") == 1
        assert count("gateway_requests_total", method="GET", route="/assets/{file}", status="200") == 2
        assert count("gateway_requests_total", method="GET", route="/assets/{file}", status="404") == 1
