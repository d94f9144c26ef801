"""Describe a call of the API as a value, and interpret its answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from leaderboard_client.errors import InvalidRequest, LeaderboardError, UnexpectedAnswer, error_of
from leaderboard_client.results import Page
from leaderboard_client.retrying import retry_after_of
from leaderboard_client.steps import Answer, Request

T = TypeVar("T")

QueryValue = str | int | None


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One call: its request, and the reader of its answer.

    `repeatable` calls may be sent again when it is unknown whether they were done: reads, and writes under `key`.
    """

    method: str
    path: str
    read: Callable[[Answer], T] = field(repr=False)
    query: Mapping[str, QueryValue] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    token: str | None = field(default=None, repr=False)
    key: str | None = None
    repeatable: bool = True
    also_read: tuple[int, ...] = ()
    """Statuses beside 2xx that are no error."""
    again: Callable[[T], float | None] | None = field(default=None, repr=False)
    """Returns after how many seconds to request the rest of a result, or None when it is complete."""
    instead: Callable[[LeaderboardError], Call[T] | LeaderboardError] | None = field(default=None, repr=False)
    """Returns, for the error that this call ends with, the call that is made then, or the error to raise."""

    def request(self, base_url: str, request_id: str) -> Request:
        """Build the request of this call, the same for every attempt."""
        headers = {"accept": "application/json", "x-request-id": request_id}
        if self.token is not None:
            headers["authorization"] = f"Bearer {self.token}"
        if self.key is not None:
            headers["idempotency-key"] = self.key
        content = b""
        if self.body is not None:
            headers["content-type"] = "application/json"
            content = json.dumps(self.body, separators=(",", ":")).encode()
        return Request(self.method, url_of(base_url, self.path, self.query), headers, content)

    def interpret(self, answer: Answer, request_id: str) -> T | LeaderboardError:
        """Return the result, or the error that the answer stands for."""
        request_id = answer.headers.get("x-request-id", request_id)
        if not (200 <= answer.status < 300 or answer.status in self.also_read):
            return error_from(answer, request_id)
        try:
            return self.read(answer)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            unexpected = UnexpectedAnswer(
                f"{self.method} {self.path} was answered in a form that this client does not know: {error!r}",
                code="unexpected_answer",
                status=answer.status,
                request_id=request_id,
            )
            unexpected.__cause__ = error
            return unexpected


def next_page(call: Call[Page], page: Page) -> Call[Page] | None:
    """Build the call for the next page; None at the end."""
    if page.next_cursor is None:
        return None
    return replace(call, query={**call.query, "offset": None, "cursor": page.next_cursor})


def error_from(answer: Answer, request_id: str) -> LeaderboardError:
    """Build the exception for an answer that is not a success."""
    try:
        body = answer.json()
    except ValueError:
        body = None
    stated = body.get("retry_after") if isinstance(body, dict) else None
    retry_after = retry_after_of(answer.headers.get("retry-after"), stated)
    return error_of(answer.status, body, request_id=request_id, retry_after=retry_after)


def url_of(base_url: str, path: str, query: Mapping[str, QueryValue]) -> str:
    """Build the URL; query values of None are left out."""
    given = {name: value for name, value in query.items() if value is not None}
    return f"{base_url}{path}" + (f"?{urlencode(given, errors='surrogatepass')}" if given else "")


def given(body: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Add the given optional fields to a body; those of None are left out."""
    return {**body, **{name: value for name, value in more.items() if value is not None}}


def segment(user_id: str) -> str:
    """Encode a user_id, in any script, as one path segment. Raises InvalidRequest when that is impossible."""
    if not user_id or "/" in user_id:
        raise InvalidRequest(
            "A user_id has 1 to 128 characters without white space, control characters or '/'.",
            code="invalid_payload",
            details={"fields": [{"field": "user_id", "message": "is empty or has a '/'"}]},
        )
    if user_id in (".", ".."):  # unreserved, but URL parsers resolve them as dot segments
        return user_id.replace(".", "%2E")
    return quote(user_id, safe="", errors="surrogatepass")
