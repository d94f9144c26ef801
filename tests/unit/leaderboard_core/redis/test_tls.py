"""Connections with TLS share a context for as long as their options and files are the same."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
import redis.asyncio as redis

from leaderboard_core.redis.tls import TlsConnection, share_contexts
from tests.support.tls import Authority


def test_contexts_are_shared_until_a_file_changes(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    authority, replaced = (Authority(tmp_path / name).certificate for name in ("old", "new"))
    options = {"ssl_ca_certs": str(authority)}
    first = TlsConnection(host="127.0.0.1", **options).ssl_context.get()
    assert TlsConnection(host="127.0.0.2", **options).ssl_context.get() is first
    assert TlsConnection(host="127.0.0.1", **options, ssl_check_hostname=False).ssl_context.get() is not first
    assert first.check_hostname
    assert first.verify_mode == ssl.CERT_REQUIRED
    authority.write_bytes(replaced.read_bytes())
    os.utime(authority, (1, 1))
    assert TlsConnection(host="127.0.0.1", **options).ssl_context.get() is not first


def test_a_file_that_is_missing_is_told_when_it_is_needed(tmp_path: Path) -> None:
    connection = TlsConnection(ssl_ca_certs=str(tmp_path / "none.pem"))
    with pytest.raises(FileNotFoundError):
        connection.ssl_context.get()


def test_a_pool_without_tls_stays_without() -> None:
    plain, encrypted = (redis.ConnectionPool.from_url(f"{scheme}://127.0.0.1/") for scheme in ("redis", "rediss"))
    for pool in (plain, encrypted):
        share_contexts(pool)
    assert plain.connection_class is redis.Connection
    assert encrypted.connection_class is TlsConnection
