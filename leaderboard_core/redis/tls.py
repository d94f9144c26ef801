"""Share the TLS contexts of connections to Redis, which redis-py makes anew for each."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from redis.asyncio.connection import ConnectionPool, RedisSSLContext, SSLConnection

_MOST_CONTEXTS = 64
_OPTIONS = (
    *("keyfile", "certfile", "cert_reqs", "include_verify_flags", "exclude_verify_flags", "ca_certs", "ca_data"),
    *("ca_path", "check_hostname", "min_version", "ciphers", "password"),
)
_FILES = ("keyfile", "certfile", "ca_certs", "ca_path")


class TlsConnection(SSLConnection):
    """A connection whose TLS context is that of all others with equal options.

    One takes 50 ms, in which nothing else is done: every authority of the system is read and parsed. After a failover
    each connection is made anew. A certificate, key or authority that is replaced on disk is read again.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        own = self.ssl_context
        given = tuple((name, _hashable(getattr(own, name))) for name in _OPTIONS)
        self.ssl_context = _shared(given, tuple(_changed_at(getattr(own, name)) for name in _FILES))


def share_contexts(pool: ConnectionPool) -> None:
    """Let the connections of a pool with TLS share their contexts."""
    if pool.connection_class is SSLConnection:
        pool.connection_class = TlsConnection


@lru_cache(maxsize=_MOST_CONTEXTS)
def _shared(options: tuple[tuple[str, Any], ...], changed_at: tuple[int, ...]) -> RedisSSLContext:
    del changed_at  # which only tells one state of the files from another
    given: dict[str, Any] = {name: list(value) if isinstance(value, tuple) else value for name, value in options}
    return RedisSSLContext(**given)


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _changed_at(path: str | None) -> int:
    """When a file was changed (ns); 0 for none, and for one that cannot be read: to connect says why."""
    try:
        return Path(path).stat().st_mtime_ns if path else 0
    except OSError:
        return 0
