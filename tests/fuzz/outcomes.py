"""What came of a stream, and which differences from the reference are wanted, each with its reason."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from tests.fuzz.streams import Stream

_ANSWER = re.compile(rb"HTTP/1\.1 ([2-5]\d\d) [A-Z]")
_WRITTEN = b'"updated_at":'
_REFUSALS = (400, 408, 414, 431, 501)


@dataclass(frozen=True)
class Outcome:
    """The statuses of the answers, whether the connection was closed, and how many scores were written."""

    statuses: tuple[int, ...]
    closed: bool
    written: int = 0

    def same(self, other: Outcome) -> bool:
        """Whether both have as many answers of the same classes, and both connections are open or both closed."""
        classes = [tuple(status // 100 for status in each.statuses) for each in (self, other)]
        return classes[0] == classes[1] and self.closed == other.closed

    @property
    def executed(self) -> int:
        """How many requests the application answered."""
        return len(self.statuses) - self.refused

    @property
    def refused(self) -> bool:
        """Whether the last answer is the protocol's."""
        return self.closed and bool(self.statuses) and self.statuses[-1] in _REFUSALS

    def __str__(self) -> str:
        return f"{' '.join(map(str, self.statuses)) or 'no answer'}, {'closed' if self.closed else 'open'}"


async def talk(port: int, stream: Stream, quiet: float) -> Outcome:
    """Send a stream; it is over when the server closes, or says nothing for `quiet` seconds."""
    loop = asyncio.get_running_loop()
    said = bytearray()
    closed = False
    # Not a stream of asyncio: a reset would take with it what has arrived and was not read.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(connection, ("127.0.0.1", port))
        sending = asyncio.create_task(_send(connection, stream))
        try:
            while not closed:
                async with asyncio.timeout(quiet):
                    piece = await loop.sock_recv(connection, 65_536)
                said += piece
                closed = not piece
        except TimeoutError:
            pass
        except ConnectionError:
            closed = True
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
    return Outcome(tuple(int(status) for status in _ANSWER.findall(said)), closed, said.count(_WRITTEN))


async def _send(connection: socket.socket, stream: Stream) -> None:
    with suppress(ConnectionError):  # whoever has refused the first packets does not take the others
        for packet in stream.packets:
            await asyncio.get_running_loop().sock_sendall(connection, packet)
            await asyncio.sleep(0.001)  # a packet of its own


@dataclass(frozen=True)
class Wanted:
    """A difference between us and h11 that is no fault."""

    reason: str
    holds: Callable[[Outcome, Outcome, Outcome, bytes], bool]
    """Called with our outcome, those of h11 and of httptools, and the whole stream."""


def _refuses_earlier(ours: Outcome, other: Outcome) -> bool:
    """Whether we refuse where the other goes on, and answer what is before as it does."""
    return ours.refused and _classes(ours)[:-1] == _classes(other)[: len(ours.statuses) - 1]


def _classes(outcome: Outcome) -> list[int]:
    return [status // 100 for status in outcome.statuses]


def _blank_line_behind_a_body(whole: bytes) -> bool:
    """Whether a body, by its length, ends just before the end of a line."""
    for found in re.finditer(rb"content-length: *(\d{1,6})\r\n", whole, re.IGNORECASE):
        end = whole.find(b"\r\n\r\n", found.start()) + 4 + int(found[1])
        if whole[end : end + 1] in (b"\r", b"\n"):
            return True
    return False


_LAST = re.compile(rb"connection: close|HTTP/1\.0\r\n", re.IGNORECASE)
_BLANKS = re.compile(rb" /[^ \r\n]* {2,}HTTP/1")
_EMPTY_LINE = re.compile(rb"\A[\r\n]|\n\r?\n[\r\n]|\}[\r\n]+[A-Z]")
_OTHER_VERSION = re.compile(rb" HTTP/(?:0\.9|1\.0|2\.0)\r\n| /[^ \r\n]*\r\n", re.IGNORECASE)

_TWO_TOKENS = re.compile(rb"\nAuthorization:[^\n]*\n(?:[!-~]+:[^\n]*\n)*Authorization:", re.IGNORECASE)

WANTED: tuple[Wanted, ...] = (
    Wanted(
        "httptools refuses what h11 takes: a length beside chunks, two lengths, bare line feeds, unknown verbs",
        lambda ours, h11, httptools, whole: _refuses_earlier(ours, h11) and httptools.refused,
    ),
    Wanted(
        "HTTP/0.9, HTTP/2.0 on the line and chunks in HTTP/1.0 are refused: RFC 9112 doubts how they end",
        lambda ours, h11, httptools, whole: _refuses_earlier(ours, h11) and bool(_OTHER_VERSION.search(whole)),
    ),
    Wanted(
        "two Authorization headers are refused: two readers may take another one",
        lambda ours, h11, httptools, whole: _refuses_earlier(ours, h11) and bool(_TWO_TOKENS.search(whole)),
    ),
    Wanted(
        "an unknown transfer coding is 501, as RFC 9112 asks for; uvicorn says 400",
        lambda ours, h11, httptools, whole: ours.statuses[-1:] == (501,) and _refuses_earlier(ours, h11),
    ),
    Wanted(
        "empty lines before a request are skipped, as RFC 9112 asks for; h11 refuses them",
        lambda ours, h11, httptools, whole: (
            _refuses_earlier(h11, ours)
            and (
                bool(_EMPTY_LINE.search(whole))
                or (whole.endswith(b"\n") and not ours.closed)
                or _blank_line_behind_a_body(whole)
            )
        ),
    ),
    Wanted(
        "CONNECT is refused, as this is no proxy: uvicorn says 405 and goes on",
        lambda ours, h11, httptools, whole: _refuses_earlier(ours, h11) and b"CONNECT " in whole,
    ),
    Wanted(
        "blanks before the version may be several, as RFC 9112 allows; h11 refuses them",
        lambda ours, h11, httptools, whole: _refuses_earlier(h11, ours) and bool(_BLANKS.search(whole)),
    ),
    Wanted(
        "what comes behind the last request of a connection is not looked at; h11 refuses it in place of the answer",
        lambda ours, h11, httptools, whole: (
            _refuses_earlier(h11, ours) and ours.same(httptools) and bool(_LAST.search(whole))
        ),
    ),
)


def explain(ours: Outcome, h11: Outcome, httptools: Outcome, whole: bytes) -> str | None:
    """The reason of a difference, empty for none; None where there is none that is wanted."""
    if ours.same(h11):
        return ""
    return next((wanted.reason for wanted in WANTED if wanted.holds(ours, h11, httptools, whole)), None)
