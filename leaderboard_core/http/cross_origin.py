"""Let pages of listed sites read what is answered: CORS, by Starlette's middleware."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import partial
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Scope, Send

REQUEST_HEADERS: Final = (
    *("Authorization", "Cache-Control", "Idempotency-Key", "Last-Event-ID", "X-Request-ID"),
    *("baggage", "traceparent", "tracestate"),
)
"""What a page may send; what browsers allow anyway is added."""
ANSWER_HEADERS: Final = (
    *("Allow", "Retry-After", "WWW-Authenticate"),
    *("X-Leaderboard-Source", "X-Request-ID", "X-Service-Addr", "X-Upstream-Addr"),
)
"""What a page may read; NGINX names the same."""
VARY: Final = (b"vary", b"Origin")
"""Of an answer that another origin, or none, would have got with other headers."""
_MAX_AGE_SECONDS: Final = 7200  # Chromium's limit


class CrossOrigin(CORSMiddleware):
    """The headers by which a browser gives an answer to a page of a listed site, also behind a gateway that adds them.

    Its parts are used one by one: who is not listed costs nothing, and a preflight is answered with a path's verbs.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        super().__init__(
            app,
            allow_origins=frozenset(origins),
            allow_headers=REQUEST_HEADERS,
            expose_headers=ANSWER_HEADERS,
            max_age=_MAX_AGE_SECONDS,
        )
        self._listed = frozenset(origin.encode("ascii") for origin in origins)

    def lists(self, headers: Mapping[bytes, bytes]) -> bool:
        """Tell whether a request is of a page of a listed site."""
        return headers.get(b"origin") in self._listed

    def shared(self, scope: Scope, send: Send) -> Send:
        """Send answers to a page of a listed site."""
        return partial(self.send, send=send, request_headers=Headers(scope=scope))

    def headers_for(self, headers: Mapping[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        """What an answer has of this that no application gives; `headers` are those that were sent."""
        answer = MutableHeaders(raw=[VARY])
        if self.lists(headers):
            answer.update(self.simple_headers)
            self.allow_explicit_origin(answer, headers[b"origin"].decode("ascii"))
        return answer.raw

    def preflight(self, verbs: Iterable[str]) -> Response:
        """Answer what a browser asks before a call; whether it makes the call is for it to decide."""
        headers = {**self.preflight_headers, "Access-Control-Allow-Methods": ", ".join(sorted(verbs))}
        return Response(status_code=204, headers=headers)

    @staticmethod
    def allow_explicit_origin(headers: MutableHeaders, origin: str) -> None:
        headers["Access-Control-Allow-Origin"] = origin
        if "origin" not in headers.get("vary", "").lower():
            headers.add_vary_header("Origin")


def is_preflight(method: str, headers: Mapping[bytes, bytes]) -> bool:
    """Tell whether a browser asks what a page may do."""
    return method == "OPTIONS" and b"access-control-request-method" in headers
