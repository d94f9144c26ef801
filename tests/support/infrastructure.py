"""Provide real Redis and Postgres servers: given by URL, as containers, or embedded."""

from __future__ import annotations

import gc
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import redis

from leaderboard_cli.cluster.binaries import Servers, find_postgres, find_redis
from leaderboard_cli.cluster.ports import find_free_ports
from leaderboard_cli.cluster.postgres_server import PostgresServer
from leaderboard_cli.cluster.probes import postgres_answers
from leaderboard_cli.cluster.redis_server import RedisServer
from leaderboard_cli.cluster.server import running
from tests.support.waiting import wait_until

REDIS_IMAGE = "redis:8-alpine"
POSTGRES_IMAGE = "postgres:17"
_CONTAINER_START_SECONDS = 60.0


@dataclass(frozen=True)
class Infrastructure:
    """The tests' servers: two Redis (URLs of different databases) and a Postgres superuser's DSN."""

    kind: str
    redis_urls: tuple[str, str]
    postgres_dsn: str

    def dsn(self, database: str) -> str:
        return urlunsplit(urlsplit(self.postgres_dsn)._replace(path=f"/{database}"))


@contextmanager
def infrastructure(environ: Mapping[str, str] | None = None) -> Iterator[Infrastructure]:
    """Provide the servers for one test session.

    TEST_REDIS_URL and TEST_POSTGRES_URL name servers that the tests may empty; what is not named is started:
    as a container when TEST_INFRA=containers, else from the wheels. Raises when a server cannot be had.
    """
    environ = os.environ if environ is None else environ
    containers = environ.get("TEST_INFRA", "").strip().lower()
    if containers not in ("", "containers", "embedded"):
        raise ValueError(f"TEST_INFRA is {containers!r}; use containers or embedded")
    redis_url, postgres_url = environ.get("TEST_REDIS_URL"), environ.get("TEST_POSTGRES_URL")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="leaderboard-tests-")))
        folder.chmod(0o755)  # Postgres may run as another user
        kinds = set()
        if redis_url:
            urls = _two_databases(redis_url, environ.get("TEST_REDIS_URL_2"))
            kinds.add("given")
        elif containers == "containers":
            urls = (stack.enter_context(redis_container()), stack.enter_context(redis_container()))
            kinds.add("containers")
        else:
            urls = (
                stack.enter_context(embedded_redis(folder / "redis-1")).url,
                stack.enter_context(embedded_redis(folder / "redis-2")).url,
            )
            kinds.add("embedded")
        if postgres_url:
            dsn = postgres_url
            kinds.add("given")
        elif containers == "containers":
            dsn = stack.enter_context(postgres_container())
            kinds.add("containers")
        else:
            dsn = stack.enter_context(embedded_postgres(folder / "postgres")).dsn()
            kinds.add("embedded")
        yield Infrastructure("+".join(sorted(kinds)), urls, dsn)


def embedded_redis(folder: Path) -> AbstractContextManager[RedisServer]:
    """Run a Redis of the wheels that writes nothing to disk."""
    return running(RedisServer(find_redis(Servers.WHEELS), folder, find_free_ports(1)[0], durable=False))


def embedded_postgres(folder: Path) -> AbstractContextManager[PostgresServer]:
    """Run a Postgres of the wheels that does not wait for the disk."""
    return running(PostgresServer(find_postgres(Servers.WHEELS), folder, find_free_ports(1)[0], durable=False))


@contextmanager
def redis_container() -> Iterator[str]:
    """Run a Redis in a container, removed at the end; yield its URL."""
    # Imported here: a machine without Docker needs none of it.
    from testcontainers.core.container import DockerContainer

    container = DockerContainer(REDIS_IMAGE).with_exposed_ports(6379)
    container.start()
    try:
        host, port = container.get_container_host_ip(), int(container.get_exposed_port(6379))
        url = f"redis://{host}:{port}/0"
        wait_until(lambda: _redis_answers(url), "the Redis container", seconds=_CONTAINER_START_SECONDS)
        yield url
    finally:
        container.stop()


@contextmanager
def postgres_container() -> Iterator[str]:
    """Run a Postgres in a container, removed at the end; yield a superuser's DSN."""
    from testcontainers.core.container import DockerContainer

    container = (
        DockerContainer(POSTGRES_IMAGE)
        .with_exposed_ports(5432)
        .with_env("POSTGRES_PASSWORD", "postgres")
        .with_command("postgres -c fsync=off -c full_page_writes=off -c synchronous_commit=off -c max_connections=200")
    )
    container.start()
    try:
        host, port = container.get_container_host_ip(), int(container.get_exposed_port(5432))
        # At its first start the image runs a server on its socket only, so an answer on TCP is of the real one.
        wait_until(lambda: postgres_answers(host, port), "the Postgres container", seconds=_CONTAINER_START_SECONDS)
        yield f"postgresql://postgres:postgres@{host}:{port}/postgres"
    finally:
        container.stop()


def engine_answers() -> bool:
    """Tell whether a Docker engine answers."""
    with warnings.catch_warnings():
        # After a refusal of a stopped engine the client leaves its socket to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        answers = _pings()
        gc.collect()
    return answers


def _pings() -> bool:
    import docker  # type: ignore[import-untyped]

    try:
        client = docker.from_env(timeout=5)
    except docker.errors.DockerException:
        return False
    try:
        return bool(client.ping())
    except (docker.errors.DockerException, OSError):
        return False
    finally:
        client.close()


def _two_databases(url: str, second: str | None) -> tuple[str, str]:
    if second:
        return url, second
    parts = urlsplit(url)
    number = int(parts.path.strip("/") or 0)
    return url, urlunsplit(parts._replace(path=f"/{number + 1}"))


def _redis_answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
