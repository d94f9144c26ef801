"""The calls of the API, each declared once: what services, gateways, the NGINX template and metrics know of a call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

# The longest texts that are allowed, with every character escaped as two units of UTF-16: 12 bytes each.
_AUTH_BODY: Final = 12 * (128 + 200 + 2 * 1024) + 512
_NAMES_BODY: Final = 12 * (128 + 200) + 512
# A score has the name of a board as well, and metadata: 2,048 characters that are each written as \u and four digits.
_SCORE_BODY: Final = _NAMES_BODY + 64 + 6 * 2048
# A thousand of the longest ids in UTF-8.
_LIST_BODY: Final = 1000 * (4 * 128 + 4) + 512

# A definition has a title, at most 8 windows and a dozen numbers.
_DEFINITION_BODY: Final = 12 * 200 + 8 * 1024 + 1024


class Repeat(Enum):
    """Whether a request that may have been done already may be sent again."""

    NEVER = "never"
    WITH_KEY = "with an Idempotency-Key"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class Call:
    """One verb on one path, which may have one parameter at its end, or with one segment behind it, and after that
    one more at its end.

    `token`: a gateway refuses it without a valid token. `repeat`: whether a gateway or NGINX may send it to another
    upstream when the first one broke off. `streams`: the answer has no end. `largest_body` is in bytes, never more
    than MAX_BODY_BYTES, which is meant where it is None.
    """

    method: str
    path: str
    token: bool = False
    repeat: Repeat = Repeat.NEVER
    streams: bool = False
    largest_body: int | None = None

    @property
    def prefix(self) -> str:
        """The path up to its parameter."""
        return self.path.partition("{")[0]

    @property
    def suffix(self) -> str:
        """The path behind its parameter, up to the next one."""
        return self.path.partition("}")[2].partition("{")[0]

    @property
    def has_parameter(self) -> bool:
        return "{" in self.path

    def body_limit(self, most: int) -> int:
        """The most bytes that its body may have, where no body may have more than `most`."""
        return most if self.largest_body is None else min(self.largest_body, most)

    def may_repeat(self, *, has_key: bool) -> bool:
        """Whether one request of this call may be sent again; `has_key`: it carries an Idempotency-Key."""
        return self.repeat is Repeat.ALWAYS or (has_key and self.repeat is Repeat.WITH_KEY)


def read(path: str, *, streams: bool = False, token: bool = False) -> Call:
    """Declare a GET (and with it a HEAD), which changes nothing and may always be repeated."""
    return Call("GET", path, token=token, repeat=Repeat.ALWAYS, streams=streams)


def write(path: str, largest_body: int | None = _SCORE_BODY) -> Call:
    """Declare a score write: a POST with a token, repeated when it carries an Idempotency-Key."""
    return Call("POST", path, token=True, repeat=Repeat.WITH_KEY, largest_body=largest_body)


REGISTER: Final = Call("POST", "/auth/register", largest_body=_AUTH_BODY)
LOGIN: Final = Call("POST", "/auth/login", largest_body=_AUTH_BODY)
CREATE: Final = write("/score/create")
UPDATE: Final = write("/score/update")
ADD: Final = write("/score/add")
SUBMIT: Final = write("/score")
SUBMIT_MANY: Final = write("/scores", largest_body=None)
REGIONS: Final = read("/regions")
TOP: Final = read("/top")
RANGE: Final = read("/range")
RANK: Final = read("/rank/{user_id}")
RANKS: Final = Call("POST", "/ranks", repeat=Repeat.ALWAYS, largest_body=_LIST_BODY)
AROUND: Final = read("/around/{user_id}")
STREAM_TOP: Final = read("/stream/top", streams=True)
STREAM_RANK: Final = read("/stream/rank/{user_id}", streams=True)
EXPORT: Final = read("/users/{user_id}", token=True)
ENTRIES: Final = read("/users/{user_id}/entries")
# Who deletes twice is told 404 the second time, unless a key asks for the first answer: nothing is done twice.
DELETE: Final = Call("DELETE", "/users/{user_id}", token=True, repeat=Repeat.ALWAYS)
# Whose token it is may be said in the body instead: by the old password, or the secret.
SET_PASSWORD: Final = Call("PUT", "/users/{user_id}/password", largest_body=_AUTH_BODY)
NEW_SECRET: Final = Call("POST", "/users/{user_id}/secret", token=True, largest_body=_NAMES_BODY)
BOARDS: Final = read("/boards")
BOARD: Final = read("/boards/{board}")
# Both say how the board is to be afterwards, so that it does no harm to say it twice.
DEFINE: Final = Call("PUT", "/boards/{board}", token=True, repeat=Repeat.ALWAYS, largest_body=_DEFINITION_BODY)
UNDEFINE: Final = Call("DELETE", "/boards/{board}", token=True, repeat=Repeat.ALWAYS)
REMOVE_ENTRY: Final = Call("DELETE", "/boards/{board}/entries/{user_id}", token=True, repeat=Repeat.ALWAYS)
HEALTH: Final = read("/health")
STATUS: Final = read("/status")
METRICS: Final = read("/metrics")

CALLS: Final[tuple[Call, ...]] = (
    *(REGISTER, LOGIN, CREATE, UPDATE, ADD, SUBMIT, SUBMIT_MANY),
    *(REGIONS, TOP, RANGE, RANK, RANKS, AROUND, STREAM_TOP, STREAM_RANK),
    *(EXPORT, ENTRIES, DELETE, SET_PASSWORD, NEW_SECRET),
    *(BOARDS, BOARD, DEFINE, UNDEFINE, REMOVE_ENTRY),
    *(HEALTH, STATUS, METRICS),
)


@dataclass(slots=True)
class Endpoint:
    """All calls of one path; `token` says that at least one of them needs a token.

    It is asked for as well with verbs that none of them has.
    """

    path: str
    calls: dict[str, Call] = field(default_factory=dict)
    token: bool = False

    @property
    def verbs(self) -> set[str]:
        """Every verb that is answered."""
        return {*self.calls, *(("HEAD",) if "GET" in self.calls else ())}

    def call(self, method: str) -> Call | None:
        """The call of that verb; HEAD is answered wherever GET is."""
        return self.calls.get("GET" if method == "HEAD" else method)


class CallTable:
    """Finds a path's calls by one or two looks into a table."""

    def __init__(self, calls: Iterable[Call] = CALLS) -> None:
        self._calls = tuple(calls)
        self._exact: dict[str, Endpoint] = {}
        self._by_prefix: dict[str, Endpoint] = {}
        self._by_ends: dict[tuple[str, str], Endpoint] = {}
        for call in self._calls:
            if call.suffix:
                endpoint = self._by_ends.setdefault((call.prefix, call.suffix), Endpoint(call.path))
            else:
                table = self._by_prefix if call.has_parameter else self._exact
                endpoint = table.setdefault(call.prefix, Endpoint(call.path))
            endpoint.calls[call.method] = call
            endpoint.token = endpoint.token or call.token

    def __iter__(self) -> Iterator[Call]:
        return iter(self._calls)

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """All paths, each with its calls."""
        return (*self._exact.values(), *self._by_prefix.values(), *self._by_ends.values())

    def find(self, path: str) -> Endpoint | None:
        """The calls of a request's path, None for a path that no call has."""
        found = self._exact.get(path)
        if found is None:
            cut = path.rfind("/") + 1
            if cut != len(path):
                found = self._by_prefix.get(path[:cut])
                if found is None and (ends := ends_of(path, cut)) is not None:
                    found = self._by_ends.get(ends)
                if found is None and (ends := ends_of(path[: cut - 1], path.rfind("/", 0, cut - 1) + 1)) is not None:
                    found = self._by_ends.get((ends[0], f"{ends[1]}/"))
        return found

    def route_of(self, path: str) -> str:
        """The path as it is declared: one of a few names, "other" for what no call has."""
        found = self.find(path)
        return "other" if found is None else found.path


def ends_of(path: str, cut: int) -> tuple[str, str] | None:
    """What is before and behind the last segment but one, if that is not empty; `cut` is behind the last slash."""
    start = path.rfind("/", 0, cut - 1) + 1 if cut > 1 else 0
    return (path[:start], path[cut - 1 :]) if 0 < start < cut - 1 else None
