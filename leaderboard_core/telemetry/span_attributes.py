"""Describes requests, servers and queues by OpenTelemetry's semantic conventions (HTTP, database, messaging)."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

Attributes = dict[str, str | int]


def request_of(scope: Any) -> Attributes:
    """What a request says of itself: by which name and scheme it came, from where, with which program."""
    headers = dict(reversed(scope["headers"]))
    found: Attributes = {
        "url.scheme": headers.get(b"x-forwarded-proto", scope["scheme"].encode()).decode("latin-1"),
        "network.protocol.version": scope["http_version"],
    }
    if scope.get("client"):
        found["network.peer.address"] = scope["client"][0]
    if agent := headers.get(b"user-agent"):
        found["user_agent.original"] = agent.decode("latin-1")
    with suppress(ValueError):  # a Host that is no address
        host = urlsplit(f"//{headers.get(b'host', b'').decode('latin-1')}")
        found |= {"server.address": host.hostname or "", **({"server.port": host.port} if host.port else {})}
    return found


def messaging(kind: str, operation: str, queue: str) -> Attributes:
    """What is done with a queue; `kind` is send or process."""
    return {
        "messaging.system": "redis",
        "messaging.operation.type": kind,
        "messaging.operation.name": operation,
        "messaging.destination.name": queue,
    }


@lru_cache(64)
def server_of(shard: str) -> Attributes:
    """Where a shard is, by its name (a URL without a password)."""
    address = urlsplit(shard)
    if not address.hostname:
        return {"server.address": address.path}  # of a Unix socket
    number = address.path.strip("/")
    return {
        "server.address": address.hostname,
        "server.port": address.port or 6379,
        **({"db.namespace": number} if number else {}),
    }
