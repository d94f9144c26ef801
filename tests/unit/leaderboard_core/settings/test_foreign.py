"""Every variable that a library reads by itself is either meant, or kept out."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from leaderboard_core.settings.foreign import FOREIGN, keep_out

MEANT = {
    "SSL_CERT_FILE": "httpx: certificates of an operator's own, for the client and the commands",
    "SSL_CERT_DIR": "as SSL_CERT_FILE",
    "SSLKEYLOGFILE": "asyncpg: for who looks at its own traffic",
    "PROMETHEUS_DISABLE_CREATED_SERIES": "prometheus_client: shorter metrics",
    "PROMETHEUS_LEGACY_NAME_VALIDATION": "prometheus_client: names of metrics, none of ours is concerned",
    "SPHINX_BUILD": "pyjwt: its own documentation",
    "FASTAPI_ENV": "fastapi: its own command, which we do not start",
    "FASTAPI_OTEL_AUTO_CONFIGURE": "fastapi: only where its telemetry is switched on, which we do not",
}
READS = re.compile(
    r"""\bos\.environ(?:\.get\(|\[|\.pop\()\s*["'](\w+)["']"""
    r"""|\bgetenv\(\s*["'](\w+)["']"""
    r"""|["'](\w+)["'] in os\.environ"""
)
LIBRARIES = ("asyncpg", "fastapi", "httpx", "jwt", "prometheus_client", "redis", "starlette", "uvicorn")


def read_by(library: str) -> set[str]:
    spec = find_spec(library)
    assert spec is not None
    assert spec.origin is not None
    return {
        next(filter(None, groups))
        for file in Path(spec.origin).parent.rglob("*.py")
        if "_testbase" not in file.parts and file.name != "cluster.py"  # its own tests
        for groups in READS.findall(file.read_text("utf-8"))
    }


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_a_library_reads_is_meant_or_kept_out(library: str) -> None:
    found = {name for name in read_by(library) if not name.startswith("OTEL_")}
    assert found <= MEANT.keys() | FOREIGN.keys(), "say in MEANT what it is for, or keep it out"


def test_nothing_is_both() -> None:
    assert not MEANT.keys() & FOREIGN.keys()


def test_what_is_kept_out_is_named() -> None:
    environ = {"PGHOST": "elsewhere", "WEB_CONCURRENCY": "many", "PATH": "/bin"}
    assert sorted(keep_out(environ)) == ["PGHOST", "WEB_CONCURRENCY"]
    assert environ == {"PATH": "/bin"}
