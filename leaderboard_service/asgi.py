"""One request as the routes see it, and the answer that they give: plain ASGI, no framework in between."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, TypeVar, cast
from urllib.parse import parse_qsl

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError

from leaderboard_core.errors import Forbidden, InvalidPayload, LeaderboardError, PayloadTooLarge
from leaderboard_core.http.protocol import body_at_once
from leaderboard_core.tokens import Identity
from leaderboard_service.schemas import Body, UserId
from leaderboard_service.scores.service import Idempotency
from leaderboard_service.services import Services

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

BodyT = TypeVar("BodyT", bound=Body)
QueryT = TypeVar("QueryT", bound=BaseModel)

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_USER_ID: TypeAdapter[str] = TypeAdapter(UserId)

Headers = tuple[tuple[bytes, bytes], ...]
JSON: Headers = ((b"content-type", b"application/json"),)


class Reply(NamedTuple):
    """A whole answer."""

    status: int
    body: bytes
    headers: Headers = JSON


class Pieces(Protocol):
    """The body of a Stream, as it comes about."""

    sent: int

    async def next(self) -> bytes:
        """The next piece, when there is one; empty at the end."""

    def dropped(self) -> None:
        """The client took nothing for too long."""

    def close(self) -> None:
        """Nothing more is wanted; may be called again."""


class Stream(NamedTuple):
    """An answer that goes on until its pieces end or the client leaves.

    A client that takes nothing for `patience_seconds` is cut off.
    """

    pieces: Pieces
    patience_seconds: float
    headers: Headers
    status: int = 200


class Call:
    """One request; `headers` are the first of each name. What is wrong with it is raised as the error of the API."""

    __slots__ = ("_headers", "_raw", "_receive", "parts", "path_value", "request_id", "scope")

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        parts: Services,
        request_id: str,
        path_value: str,
        headers: Mapping[bytes, bytes],
    ) -> None:
        self.scope = scope
        self._headers = headers
        self.parts = parts
        self.request_id = request_id
        self.path_value = path_value
        self._receive = receive
        self._raw = b""

    def header(self, name: bytes) -> str | None:
        """The first header of that (lower-case) name."""
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    def identity(self) -> Identity:
        """Who the token speaks for. Raises MissingToken or InvalidToken."""
        return self.parts.tokens.verify_header(self.header(b"authorization"))

    def player(self) -> Identity:
        """The token's player. Raises MissingToken, InvalidToken, Forbidden or UnknownRegion."""
        who = self.identity()
        if who.is_server:
            raise Forbidden("A server's token speaks for no player; use POST /score.")
        self.parts.region(who.region)
        return who

    async def body(self, model: type[BodyT]) -> BodyT:
        """The JSON body, checked. Raises InvalidPayload or PayloadTooLarge."""
        self._raw = await self._read()
        try:
            return model.model_validate_json(self._raw)
        except ValidationError as error:
            raise InvalidPayload(fields=problems(error.errors(include_input=False, include_url=False))) from None

    def query(self, model: type[QueryT]) -> QueryT:
        """The query string, checked; of a repeated parameter the last counts. Raises InvalidPayload."""
        try:
            return cast(QueryT, _query(model, self.scope["query_string"]))
        except ValidationError as error:
            found = error.errors(include_input=False, include_url=False)
            raise InvalidPayload(fields=problems(found, whole="query")) from None

    def user_id(self) -> str:
        """The user_id in the path. Raises InvalidPayload."""
        try:
            return _USER_ID.validate_python(self.path_value)
        except ValidationError as error:
            message = error.errors(include_input=False, include_url=False)[0]["msg"]
            raise InvalidPayload(fields=[{"field": "user_id", "message": message}]) from None

    def idempotency(self) -> Idempotency | None:
        """The Idempotency-Key with a fingerprint of path and body, once the body was read.

        Raises InvalidPayload for a key that is not 1-255 visible ASCII characters.
        """
        key = self.header(b"idempotency-key")
        if key is None:
            return None
        if not _IDEMPOTENCY_KEY.fullmatch(key):
            raise InvalidPayload(
                "The Idempotency-Key header takes 1 to 255 visible ASCII characters.",
                fields=[{"field": "Idempotency-Key", "message": "is not valid"}],
            )
        content = self.scope["path"].encode() + b"\n" + self._raw
        return Idempotency(key, hashlib.blake2b(content, digest_size=16).hexdigest())

    async def _read(self) -> bytes:
        most = self.parts.process.max_body_bytes
        declared = self.header(b"content-length") or ""
        if declared.isdecimal() and int(declared) > most:
            raise PayloadTooLarge(f"A request body may have at most {most} bytes.")
        whole = body_at_once(self._receive)
        if whole is None:
            whole = await self._read_pieces(most)
        if len(whole) > most:
            raise PayloadTooLarge(f"A request body may have at most {most} bytes.")
        return whole

    async def _read_pieces(self, most: int) -> bytes:
        pieces, length = [], 0
        message = await self._receive()
        while message["type"] == "http.request":
            piece = message.get("body", b"")
            pieces.append(piece)
            length += len(piece)
            if length > most or not message.get("more_body"):
                return b"".join(pieces)
            message = await self._receive()
        raise InvalidPayload("The request broke off.", fields=[{"field": "body", "message": "is not complete"}])


@lru_cache(maxsize=1024)
def _query(model: type[BaseModel], raw: bytes) -> BaseModel:
    """Query strings are few and come again and again; what one says is never changed (the models are frozen)."""
    return model.model_validate_strings(dict(parse_qsl(raw.decode("latin-1"), True)) if raw else {})


Handler = Callable[[Call], Awaitable[Reply | Stream]]


def json_reply(content: object, status: int = 200, headers: Headers = JSON) -> Reply:
    """A JSON answer, serialised once; `headers` as `json_headers` makes them."""
    return Reply(status, orjson.dumps(content), headers)


def json_headers(more: Mapping[str, str]) -> Headers:
    """The headers of a JSON answer, and more."""
    return (*JSON, *((name.lower().encode(), value.encode()) for name, value in more.items()))


def error_reply(error: LeaderboardError) -> Reply:
    """The envelope of an error."""
    return json_reply(error.envelope(), error.status, json_headers(error.headers))


def checked(model: type[BodyT], fields: dict[str, Any]) -> BodyT:
    """A part of a body that was parsed already. Raises InvalidPayload."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise InvalidPayload(fields=problems(error.errors(include_input=False, include_url=False))) from None


def problems(found: Sequence[Any], whole: str = "body") -> list[dict[str, str]]:
    """pydantic's errors as the `fields` of the envelope; `whole` names what is wrong as a whole."""
    return [
        {"field": ".".join(str(part) for part in problem["loc"]) or whole, "message": problem["msg"]}
        for problem in found
    ]
