"""Makes streams: a few requests, each right or wrong in some way, and where they are cut into packets."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import accumulate, pairwise
from random import Random

SENTINEL = b"GET /rank/nobody HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
"""Answered if the connection is still open behind everything else."""

_VERSIONS = ("HTTP/1.1",) * 90 + ("HTTP/1.0", "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1.2", "HTTP/1", "http/1.1", "")
_HOSTS: tuple[list[str], ...] = (["Host: h"],) * 60 + (
    [],
    ["Host: h", "Host: h"],
    ["Host: h", "host: i"],
    ["Host:"],
    ["Host : h"],
)
_HARMLESS = (
    *("Accept: */*", "X-Empty:", "Cookie: a=b; c=d", "X-Long: " + "x" * 3000, "X-Latin: é", "X-Tab: a\tb"),
    *("Connection: keep-alive", "Connection: Keep-Alive, TE", "Keep-Alive: timeout=5", "TE: trailers"),
    *("Content-Type: application/json", "Content-Type: text/plain", "X-Request-ID: abc", "Range: bytes=0-1"),
    *("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk", "Upgrade: websocket"),
    *("Trailer: X", "Accept-Encoding: gzip", "Connection: close", "Connection: Close"),
)
_BROKEN = (
    *("X", "X y", ": y", "X : y", " X: y", "X: a\r\n b", "X: a\0b", "X: a\rb", "X: a\nY: b", "X\0: y", "X\t: y"),
    *("Content-Length: -1", "Content-Length: +5", "Content-Length: 5, 5", "Content-Length: 0x5", "Content-Length: 5 5"),
    *("Content-Length:", "Content-Length: 99999999999999999999", "Transfer-Encoding: xchunked"),
    *("Transfer-Encoding: gzip, chunked", "Transfer-Encoding: chunked, chunked", "Transfer-Encoding: identity"),
    *("Transfer-Encoding: chunked, gzip", "Transfer-Encoding:", "Transfer-Encoding: \x0bchunked", "(x): y", "é: x"),
)
_UPGRADE = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"]


@dataclass(frozen=True)
class Stream:
    """The packets of one connection, in order."""

    packets: tuple[bytes, ...]

    @property
    def whole(self) -> bytes:
        return b"".join(self.packets)

    def without_upgrade(self) -> Stream:
        """The same without a wish for another protocol: httptools, as uvicorn uses it, loses what is behind it."""
        whole = self.whole.replace(b"Upgrade: ", b"X-Grade: ").replace(b"CONNECT ", b"OPTIONS ")
        ends = list(accumulate(len(packet) for packet in self.packets))
        return Stream(tuple(whole[start:end] for start, end in pairwise([0, *ends])))


def make(seed: str, player: str, token: str) -> Stream:
    """Make the stream of a seed; of tokens of one length it is the same but for them."""
    random = Random(seed)
    pieces: list[bytes] = []
    if random.random() < 0.05:
        pieces.append(b"\r\n" * random.randint(1, 3))
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 5))):
        pieces += _request(random, player, token)
    if random.random() < 0.25:
        pieces = _mutated(random, pieces)
    if random.random() < 0.85:
        pieces.append(SENTINEL)
    return Stream(tuple(_packets(random, pieces)))


def _request(random: Random, player: str, token: str) -> list[bytes]:
    """One request as its head and the pieces of its body."""
    method, target, body, headers = _call(random, player, token)
    headers = [*random.choice(_HOSTS), *headers]
    headers += random.sample(_HARMLESS, random.choice((0, 0, 0, 1, 2)))
    if random.random() < 0.1:
        headers += _UPGRADE
    if random.random() < 0.08:
        headers.append(random.choice(_BROKEN))
    version = random.choice(_VERSIONS)
    framing, sent = _framed(random, body)
    headers += framing
    if random.random() < 0.3:
        random.shuffle(headers)
    if body and random.random() < 0.05:
        headers.append("Expect: 100-continue")
    end = "\r\n" if random.random() < 0.98 else "\n"
    head = end.join((f"{method} {target} {version}".rstrip(), *headers, "", ""))
    return [head.encode("latin-1"), *sent]


def _call(random: Random, player: str, token: str) -> tuple[str, str, bytes, list[str]]:
    bearer = [f"Authorization: Bearer {token}"]
    add = json.dumps({"delta": 1, "padding": "x" * random.choice((0, 0, 0, 50, 2500))}).encode()
    ranks = json.dumps({"user_ids": [player, "nobody"], "padding": "y" * random.choice((0, 1000, 70_000))}).encode()
    return random.choice(
        (
            ("POST", "/score/add", add, bearer),
            ("POST", "/score/add", add, bearer),
            ("POST", "/score/add", add, []),
            ("POST", "/score/add", b"{", bearer),
            ("POST", "/ranks", ranks, []),
            ("GET", f"/rank/{player}", b"", []),
            ("GET", f"/rank/{player}", b"", []),
            ("HEAD", f"/rank/{player}", b"", []),
            ("GET", "/top?limit=1", b"", []),
            ("GET", "/nothing", b"", []),
            ("GET", "/rank/nobody", SENTINEL, []),
            ("DELETE", "/top", b"", []),
            ("POST", "/score/add", SENTINEL * 2, bearer),
            (random.choice(("PATCH", "BREW", "get", "M-SEARCH", "CONNECT", "PRI", "")), "/top", b"", []),
            (
                "GET",
                random.choice(("*", "top", "/a b", "/%zz", "/\xe9", "//h/top", "/" + "x" * 3000)),
                b"",
                [],
            ),
        )
    )


def _framed(random: Random, body: bytes) -> tuple[list[str], list[bytes]]:
    """Headers and bytes of a body: with its length, in chunks, or wrong."""
    kind = random.random()
    if not body and kind < 0.85:
        return [], []
    if kind < 0.55:
        return [f"Content-Length: {len(body)}"], [body]
    if kind < 0.88:
        return [random.choice(("Transfer-Encoding: chunked", "transfer-encoding: Chunked"))], _chunks(random, body)
    other = len(body) + random.choice((-1, 1, 10, -len(body)))
    length, chunked = f"Content-Length: {len(body)}", "Transfer-Encoding: chunked"
    return random.choice(
        (
            ([f"Content-Length: {max(other, 0)}"], [body]),
            ([length, length], [body]),
            ([length, f"Content-Length: {max(other, 0)}"], [body]),
            ([length, chunked], _chunks(random, body)),
            ([chunked, length], [body]),
            ([chunked, chunked], _chunks(random, body)),
            ([], [body]),
            ([f"Content-Length: 0{len(body)}"], [body]),
        )
    )


def _chunks(random: Random, body: bytes) -> list[bytes]:
    pieces: list[bytes] = []
    while body:
        size = min(len(body), random.choice((1, 7, 100, 5000, 100_000)))
        extension = random.choice((b"",) * 12 + (b";a=b", b';a="b;c"', b" ;x", b";" + b"y" * 500, b";\n"))
        number = random.choice((b"%x", b"%X", b"0%x"))
        pieces.append(number % size + extension + b"\r\n" + body[:size] + b"\r\n")
        body = body[size:]
    if random.random() < 0.06:
        pieces.append(
            random.choice(
                (b"x\r\n\r\n", b"-1\r\n\r\n", b"5\r\nab", b"1\r\nabc\r\n", b"1\nA\n", b"\r\n", b"10000000000000000\r\n")
            )
        )
    trailers = random.choice(
        (b"",) * 8
        + (
            b"X: y\r\n",
            b"Authorization: Bearer x\r\nHost: i\r\n",
            b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            b"X y\r\n",
        )
    )
    pieces.append(random.choice((b"0", b"0", b"0", b"000", b"0;x=y")) + b"\r\n" + trailers + b"\r\n")
    return pieces


def _mutated(random: Random, pieces: list[bytes]) -> list[bytes]:
    """Some byte changed, left out, doubled, or the end cut off."""
    pieces = list(pieces)
    number = random.randrange(len(pieces))
    piece = bytearray(pieces[number])
    if piece:
        at = random.randrange(len(piece))
        kind = random.randrange(5)
        if kind == 0:
            piece[at] = random.randrange(256)
        elif kind == 1:
            del piece[at]
        elif kind == 2:
            piece.insert(at, random.choice(b"\r\n\0 :;,\t\xffaZ09"))
        elif kind == 3:
            del piece[at:]
        else:
            piece[at:at] = piece[at : at + random.randint(1, 40)]
    pieces[number] = bytes(piece)
    return pieces


def _packets(random: Random, pieces: list[bytes]) -> list[bytes]:
    """The stream in one packet, a packet for each piece, or cut anywhere."""
    kind = random.random()
    whole = b"".join(pieces)
    if kind < 0.4:
        return [whole]
    if kind < 0.7:
        return [piece for piece in pieces if piece]
    cuts = sorted(random.randrange(len(whole) + 1) for _ in range(random.randint(1, 4)))
    return [part for part in (whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)) if part]
