"""What NGINX must know of a call, as its declaration says it: the generated parts of the template."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from leaderboard_core.calls import CALLS, Call, CallTable, Repeat

_PARAMETER = re.compile(r"\{\w+\}")
_STREAM = (
    "limit_conn streams ${NGINX_STREAMS};",
    "proxy_buffering off;",
    "proxy_cache off;",
    "proxy_read_timeout 180s;",
)
_LIMITED = "/auth/"
"""Has a location with a limit of requests, which one of its own would lose; the gateways limit its bodies."""
_AUTH_LIMIT = "limit_req zone=auth burst=${NGINX_AUTH_BURST} nodelay;"
_SENT_ONCE = ("POST", "PATCH", "LOCK")
"""Of these NGINX sends none again of which it has sent a byte."""
_BY_KEY = 'if ($http_idempotency_key != "") { return 418; }'
_READ_WITH_BODY = (
    "limit_req zone=lists burst=${NGINX_LISTS_BURST} nodelay;",
    "proxy_next_upstream error timeout non_idempotent;",
)


def locations(calls: Iterable[Call] = CALLS) -> str:
    """The `location` blocks of the calls that NGINX must not treat as any other, in the order of their declaration."""
    return "\n\n".join(_blocks(calls))


def verbs(calls: Iterable[Call] = CALLS) -> str:
    """The lines of a `map` from `$request_uri` to the verbs of each path, for the `Allow` of a refused one."""
    return "\n".join(
        f'    "~^{_PARAMETER.sub("[^/?]+", endpoint.path)}(\\?|$)" "{", ".join(sorted(endpoint.verbs))}";'
        for endpoint in CallTable(calls).endpoints
    )


def _blocks(calls: Iterable[Call]) -> Iterator[str]:
    calls = tuple(calls)
    folders = {call.prefix for call in calls if call.has_parameter and not call.suffix}
    for call in calls:
        directives: list[str] = []
        if call.streams:
            directives += _STREAM
        if call.method == "POST" and call.repeat is Repeat.ALWAYS:
            directives += _READ_WITH_BODY  # NGINX does not send a POST again by itself
        if call.prefix == "/users/" and call.suffix and call.method != "GET":
            directives.append(_AUTH_LIMIT)  # these are about passwords and secrets
        if call.repeat is Repeat.NEVER and call.method not in _SENT_ONCE:
            directives.append("proxy_next_upstream off;")
        if call.largest_body is not None and not call.path.startswith(_LIMITED):
            directives.append(f"client_max_body_size {call.largest_body};")
        # Where /boards/ has a location and /boards has none, NGINX answers /boards with a redirect.
        if directives or (not call.has_parameter and f"{call.path}/" in folders):
            if call.repeat is Repeat.WITH_KEY:
                directives.insert(0, _BY_KEY)
            lines = [f"    location {_match(call)} {{", *directives, "proxy_pass http://gateways;"]
            yield "\n        ".join(lines) + "\n    }"


def _match(call: Call) -> str:
    if call.suffix:
        return f"~ ^{call.prefix}[^/]+{call.suffix}$"
    return call.prefix if call.has_parameter else f"= {call.path}"
