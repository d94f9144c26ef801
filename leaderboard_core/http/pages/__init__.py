"""Web pages of our own: their files are read once, and answered from memory with strict headers.

`assets/` has what the pages of several processes share; each process mounts it beside its own files.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final, NamedTuple

from fastapi import APIRouter, Request, Response

from leaderboard_core.errors import NotFound
from leaderboard_core.http.routing import CompiledRoute

Header = tuple[bytes, bytes]

CONTENT_TYPES: Final = {
    ".css": b"text/css; charset=utf-8",
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
CONTENT_SECURITY_POLICY: Final = b"; ".join(
    (
        b"default-src 'none'",
        b"script-src 'self'",
        b"style-src 'self'",
        b"img-src 'self'",
        b"connect-src 'self'",
        b"font-src 'self'",
        b"base-uri 'none'",
        b"form-action 'self'",
        b"frame-ancestors 'none'",
        # No string ever becomes markup or code, whatever a script of ours does with a player's name.
        b"require-trusted-types-for 'script'",
        b"trusted-types 'none'",
    )
)
_HEADERS: Final[tuple[Header, ...]] = (
    # Asked again each time, and answered with 304: pages and scripts of two versions never mix for long.
    (b"cache-control", b"no-cache"),
    (b"vary", b"Accept-Encoding"),
    (b"content-security-policy", CONTENT_SECURITY_POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
# A packed copy that saves less than this is not worth unpacking.
_WORTH_PACKING_BYTES: Final = 256


class Variant(NamedTuple):
    """One representation of a file; `headers` lack the length, which 304 does not have."""

    etag: bytes
    headers: tuple[Header, ...]
    body: bytes


class PageResponse(Response):
    """A file as it is sent, or 304."""

    def __init__(self, status_code: int, headers: list[Header], body: bytes) -> None:
        self.status_code = status_code
        self.background = None
        self.raw_headers = headers
        self.body = body


@dataclass(frozen=True, slots=True)
class WebFile:
    """A file as it is, and packed where that is smaller."""

    plain: Variant
    packed: Variant | None

    @classmethod
    def of(cls, content: bytes, content_type: bytes) -> WebFile:
        digest = hashlib.sha256(content).hexdigest()[:32].encode()
        packed = gzip.compress(content, 9, mtime=0)
        headers = ((b"content-type", content_type), *_HEADERS)
        plain = _variant(b'"%b"' % digest, headers, content)
        if len(packed) > len(content) - _WORTH_PACKING_BYTES:
            return cls(plain, None)
        return cls(plain, _variant(b'"%b-gzip"' % digest, (*headers, (b"content-encoding", b"gzip")), packed))

    def answer(self, request_headers: Iterable[Header]) -> PageResponse:
        """The answer to a GET or HEAD with these headers (names in lower case)."""
        accepted = b""
        known: list[bytes] = []
        for name, value in request_headers:
            if name == b"accept-encoding":
                accepted += b"," + value
            elif name == b"if-none-match":
                known += [tag.strip().removeprefix(b"W/") for tag in value.split(b",")]
        variant = self.packed if self.packed is not None and takes_gzip(accepted) else self.plain
        if variant.etag in known or b"*" in known:
            return PageResponse(304, list(variant.headers), b"")
        length = (b"content-length", b"%d" % len(variant.body))
        return PageResponse(200, [*variant.headers, length], variant.body)


def router(files: Mapping[str, WebFile], assets: str) -> APIRouter:
    """The routes of pages and their assets, as `load` gives them."""
    routes = APIRouter(route_class=CompiledRoute, include_in_schema=False)
    for path, page in files.items():
        if not path.startswith(assets):
            routes.add_api_route(path, _answer_with(page), methods=["GET"], name=path)

    @routes.get(f"{assets}{{file:path}}")
    async def asset(file: str, request: Request) -> Response:
        found = files.get(assets + file)
        if found is None:
            raise NotFound
        return found.answer(request.scope["headers"])

    return routes


def _answer_with(page: WebFile) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return page.answer(request.scope["headers"])

    return answer


def _variant(etag: bytes, headers: tuple[Header, ...], body: bytes) -> Variant:
    return Variant(etag, (*headers, (b"etag", etag)), body)


def takes_gzip(accept_encoding: bytes) -> bool:
    """Whether gzip is named in an Accept-Encoding, and not with a weight of 0."""
    for part in accept_encoding.lower().split(b","):
        coding, _, weight = part.partition(b";")
        if coding.strip() == b"gzip":
            return weight.replace(b" ", b"").rstrip(b"0") not in (b"q=", b"q=0.")
    return False


def load(package: str, folder: str, paths: Mapping[str, str], assets: str) -> dict[str, WebFile]:
    """The pages in `folder` of a package, by URL path.

    `paths` gives each page's path by its file name. What is in `assets/` of the folder, and in the one that all
    pages share, stands under the path `assets` (with a slash at its end).
    """
    own = resources.files(package) / folder
    files = {path: _read(own / name) for name, path in paths.items()}
    for place in (resources.files(__name__) / "assets", own / "assets"):
        files |= {assets + entry.name: _read(entry) for entry in place.iterdir() if _suffix(entry) in CONTENT_TYPES}
    return files


def _read(entry: Traversable) -> WebFile:
    return WebFile.of(entry.read_bytes(), CONTENT_TYPES[_suffix(entry)])


def _suffix(entry: Traversable) -> str:
    return entry.name[entry.name.rfind(".") :]
