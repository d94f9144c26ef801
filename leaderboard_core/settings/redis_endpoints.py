"""Read what REDIS_URL and REDIS_URL_<REGION> may say: one Redis, several, a cluster, or servers behind Sentinels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

Kind = Literal["server", "cluster", "sentinel"]

CLUSTER_PORT, SENTINEL_PORT = 6379, 26379
MOST_PARTITIONS = 256
_KINDS: dict[str, Kind] = {"cluster": "cluster", "sentinel": "sentinel"}
# A list's commas stand in front of a URL; the others separate the nodes of one.
_BETWEEN_URLS = re.compile(r",\s*(?=[a-z+]+://)")


@dataclass(frozen=True, slots=True)
class RedisEndpoint:
    """Where the shards of some regions are.

    `url` is that of one node, as redis-py takes it. Of a `cluster` it and `nodes` are where to ask who has which slot,
    and `partitions` is how many parts the players are in; of a `sentinel` `nodes` are whom to ask for the master of
    `service`, with the user and password of `sentinel_auth`.
    """

    kind: Kind
    url: str
    nodes: tuple[tuple[str, int], ...] = ()
    partitions: int = 1
    service: str = ""
    sentinel_auth: tuple[str, str] = ("", "")


def split_urls(value: str) -> list[str]:
    """Split the value of a variable into its URLs."""
    return [part.strip() for part in _BETWEEN_URLS.split(value)]


@cache
def parse_endpoints(value: str) -> tuple[RedisEndpoint, ...]:
    """Read a value that the settings have checked."""
    return tuple(parse_endpoint(url) for url in split_urls(value))


def parse_endpoint(url: str) -> RedisEndpoint:
    """Read one URL. Raises ValueError, whose text has nothing of the URL."""
    parts = urlsplit(url)
    scheme, _, suffix = parts.scheme.partition("+")
    kind = _KINDS.get(suffix)
    if kind is None:
        return RedisEndpoint("server", url)
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    nodes = _nodes(parts, CLUSTER_PORT if kind == "cluster" else SENTINEL_PORT)
    if kind == "cluster":
        partitions, service, auth = _number(given.pop("partitions", "1")), "", ("", "")
        if parts.path not in ("", "/", "/0"):
            raise ValueError(
                "has a path: a cluster has no databases with numbers, and its URL ends with / or ?partitions="
            )
        database = ""
    else:
        partitions, auth = 1, (given.pop("sentinel_username", ""), given.pop("sentinel_password", ""))
        service, _, database = parts.path.removeprefix("/").partition("/")
        if not service or not re.fullmatch(r"[0-9]*", database):
            raise ValueError("names no service: write redis+sentinel://<host>:26379,<host>:26379/<service>")
    user, at, _ = parts.netloc.rpartition("@")
    host, port = nodes[0]
    netloc = f"{user}{at}{f'[{host}]' if ':' in host else host}:{port}"
    node_url = urlunsplit((scheme, netloc, f"/{database}", urlencode(given, safe="*/"), ""))
    return RedisEndpoint(kind, node_url, nodes, partitions, service, auth)


def _nodes(parts: SplitResult, default_port: int) -> tuple[tuple[str, int], ...]:
    found = []
    for node in parts.netloc.rpartition("@")[2].split(","):
        one = urlsplit(f"//{node}")
        if not one.hostname:
            raise ValueError("names no host between two commas")
        found.append((one.hostname, one.port or default_port))
    return tuple(found)


def _number(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,2}", text) or int(text) > MOST_PARTITIONS:
        raise ValueError(f"has a number of partitions that is none from 1 to {MOST_PARTITIONS}")
    return int(text)
