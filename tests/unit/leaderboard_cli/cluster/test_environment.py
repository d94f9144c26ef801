"""Test the environment of the processes: `.env`, servers that it names, the secret, the plan."""

import os
import re
import tempfile
from pathlib import Path
from typing import NoReturn

import pytest

from leaderboard_cli.cluster import plan as plans
from leaderboard_cli.cluster import state
from leaderboard_cli.cluster.binaries import Servers
from leaderboard_cli.cluster.environment import misspelt, read_environment, wanted_servers, with_jwt_secret
from leaderboard_cli.cluster.errors import BinaryNotFoundError
from leaderboard_cli.cluster.plan import ClusterOptions, make_plan
from leaderboard_cli.commands.environment import command_environment
from leaderboard_core.settings import SettingsError, TopologySettings, load
from tests.docs.regions import REPOSITORY


def test_a_file_that_is_no_utf_8_is_named(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_bytes("CORS_ORIGINS=ü".encode("latin-1"))
    with pytest.raises(SettingsError, match=r"\.env cannot be read as UTF-8"):
        read_environment({}, dotenv)


def test_the_environment_wins_over_dotenv(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text('LOG_LEVEL=DEBUG\nBATCH_SIZE=7\nREDIS_URL=\n# a comment\nJWT_SECRET="from file"\n')
    found = read_environment({"LOG_LEVEL": "ERROR", "BATCH_SIZE": ""}, dotenv)
    assert found == {"LOG_LEVEL": "ERROR", "BATCH_SIZE": "7", "JWT_SECRET": "from file"}
    assert read_environment({"A": "1"}, tmp_path / "missing") == {"A": "1"}


@pytest.mark.parametrize(
    ("environ", "redis", "postgres"),
    [
        ({}, True, True),
        ({"REDIS_URL": "redis://elsewhere/0"}, False, True),
        ({"POSTGRES_HOST": "elsewhere"}, True, False),
        ({"REDIS_URL_ASIA": "redis://elsewhere/0"}, True, True),
        (
            {"REGIONS": "EU,GLOBAL", "REDIS_URL_EU": "redis://a/0", "REDIS_URL_GLOBAL": "redis://b/0"},
            False,
            True,
        ),
        (
            {
                "REGIONS": "EU,GLOBAL",
                "DATABASE_URL_EU": "postgres://a/x",
                "DATABASE_URL_GLOBAL": "postgres://b/y",
            },
            True,
            False,
        ),
    ],
)
def test_an_explicit_server_is_used_and_not_started(environ: dict[str, str], redis: bool, postgres: bool) -> None:
    wanted = wanted_servers(environ)
    assert (wanted.redis, wanted.postgres) == (redis, postgres)


def test_a_secret_is_made_once_and_kept_private(tmp_path: Path) -> None:
    first = with_jwt_secret({"A": "1"}, tmp_path)
    path = Path(first["JWT_SECRET_FILE"])
    secret = path.read_text().strip()
    assert len(secret) == 64
    assert path.stat().st_mode & 0o777 == 0o600
    assert with_jwt_secret({}, tmp_path)["JWT_SECRET_FILE"] == str(path)
    assert path.read_text().strip() == secret


@pytest.mark.parametrize("name", ["JWT_SECRET", "JWT_SECRET_FILE"])
def test_a_secret_of_the_user_is_left_alone(tmp_path: Path, name: str) -> None:
    assert with_jwt_secret({name: "mine"}, tmp_path) == {name: "mine"}
    assert not list(tmp_path.iterdir())


def test_a_misspelt_setting_of_a_file_is_told(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("PLAYER_WRITE=false\nREGISTRATIONS=closed\nSERVE_DOC=false\nPLAYER_WRITES=false\nMINE=1\n")
    assert misspelt(dotenv) == [
        f"{dotenv}: PLAYER_WRITE is no setting; PLAYER_WRITES is.",
        f"{dotenv}: REGISTRATIONS is no setting; REGISTRATION is.",
        f"{dotenv}: SERVE_DOC is no setting; SERVE_DOCS is.",
    ]
    assert misspelt(tmp_path / "none") == []


def test_no_name_of_the_example_is_taken_for_a_misspelt_one(tmp_path: Path) -> None:
    example = (REPOSITORY / ".env.example").read_text("utf-8")
    dotenv = tmp_path / ".env"
    names = re.findall(r"^#? ?([A-Z][A-Z_0-9]*)=", example, re.MULTILINE)
    assert len(names) > 90
    dotenv.write_text("".join(f"{name}=1\n" for name in names))
    assert misspelt(dotenv) == []


def test_wrong_settings_of_whichever_process_are_all_told_before_anything_starts(tmp_path: Path) -> None:
    wrong = {"JWT_SECRET": "short", "BATCH_SIZE": "many", "UPSTREAM_TIMEOUT_SECONDS": "-1", "REGIONS": "EU"}
    with pytest.raises(SettingsError) as raised:
        make_plan(ClusterOptions(data_dir=tmp_path), wrong)
    assert not [name for name in wrong if f"{name}: " not in str(raised.value)]


def test_the_plan_has_its_processes_in_order_on_their_ports(tmp_path: Path) -> None:
    options = ClusterOptions(data_dir=tmp_path, servers=Servers.WHEELS, replicas=2, gateways=2, workers=2)
    plan = make_plan(options, {"POSTGRES_PASSWORD": "s p/"})
    assert [[server.name for server in layer] for layer in plan.layers] == [
        ["redis", "postgres"],
        ["service-1", "service-2", "worker-1", "worker-2"],
        ["gateway-1", "gateway-2"],
        ["nginx"],
    ]
    assert {need.name: need.port for need in plan.needs} == {
        "nginx": 8080,
        "redis": 16379,
        "postgres": 15432,
        "service-1": 5001,
        "service-2": 5002,
        "worker-1": 5101,
        "worker-2": 5102,
        "gateway-1": 4000,
        "gateway-2": 4001,
    }
    gateway = plan.gateways[1].command().env
    assert gateway["LEADERBOARD_SERVICE_URLS"] == "http://127.0.0.1:5001,http://127.0.0.1:5002"
    assert (gateway["PORT"], gateway["INSTANCE_NAME"]) == ("4001", "gateway-2")
    password = (tmp_path / "redis_password").read_text().strip()
    assert gateway["REDIS_URL"] == f"redis://:{password}@127.0.0.1:16379/0"
    assert gateway["POSTGRES_PORT"] == "15432"
    assert plan.topology.database_url_of("EU").startswith("postgresql://postgres:s%20p%2F@127.0.0.1:15432/")


def test_servers_that_are_not_started_need_no_port_and_no_program(tmp_path: Path) -> None:
    environ = {"REDIS_URL": "redis://elsewhere:1/0", "POSTGRES_HOST": "elsewhere"}
    plan = make_plan(ClusterOptions(data_dir=tmp_path, servers=Servers.WHEELS), environ)
    assert plan.redis == ()
    assert plan.postgres is None
    assert plan.layers[0] == ()
    assert not {"redis", "postgres"} & {need.name for need in plan.needs}
    assert plan.services[0].command().env["REDIS_URL"] == "redis://elsewhere:1/0"


def test_a_redis_cluster_takes_two_ports_a_node(tmp_path: Path) -> None:
    plan = make_plan(ClusterOptions(data_dir=tmp_path, servers=Servers.WHEELS, redis_masters=3), {})
    ports = {need.name: need.port for need in plan.needs if need.name.startswith("redis")}
    assert ports == {f"redis-{n}": 16378 + n for n in range(1, 7)} | {f"redis-{n}-bus": 16384 + n for n in range(1, 7)}
    password = (tmp_path / "redis_password").read_text().strip()
    nodes = "127.0.0.1:16379,127.0.0.1:16380,127.0.0.1:16381"
    assert plan.topology.redis_url == f"redis+cluster://:{password}@{nodes}/?partitions=6"
    assert [server.name for server in plan.layers[0]] == [*(f"redis-{n}" for n in range(1, 7)), "postgres"]
    assert len({server.log_path for server in plan.redis}) == len({server.folder for server in plan.redis}) == 6


def test_without_any_nginx_a_gateway_takes_its_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: Servers) -> NoReturn:
        raise BinaryNotFoundError("no NGINX")

    monkeypatch.setattr(plans, "find_nginx", none)
    plan = make_plan(ClusterOptions(data_dir=tmp_path), {})
    assert (plan.front.port, plan.front.command().argv[-1]) == (8080, "api_gateway")
    assert "no NGINX" in plan.remarks[-1]
    with pytest.raises(BinaryNotFoundError):
        make_plan(ClusterOptions(data_dir=tmp_path, servers=Servers.WHEELS), {})


def test_free_ports_are_all_different(tmp_path: Path) -> None:
    plan = make_plan(ClusterOptions(data_dir=tmp_path, free_ports=True, servers=Servers.WHEELS), {})
    assert len({need.port for need in plan.needs}) == len(plan.needs) == 10


def test_the_commands_find_a_cluster_of_other_regions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"REGIONS": "ARENA,GLOBAL", "REDIS_URL_ARENA": "redis://elsewhere:1/0"}
    plan = make_plan(ClusterOptions(data_dir=tmp_path, servers=Servers.WHEELS), environ)
    state.write(plan, {}, "ready")
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("REDIS_", "POSTGRES_", "DATABASE_URL_", "REGIONS"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LEADERBOARD_DATA_DIR", str(tmp_path))
    found = load(TopologySettings, command_environment())
    assert found.regions == ("ARENA", "GLOBAL")
    assert [found.redis_url_of(region) for region in found.regions] == [
        "redis://elsewhere:1/0",
        plan.topology.redis_url,
    ]
    assert found.database_url_of("ARENA") == plan.topology.database_url_of("ARENA")
    # What names one region's store leaves the others where they are.
    monkeypatch.setenv("DATABASE_URL_ARENA", "postgresql://elsewhere/arena")
    monkeypatch.setenv("REDIS_URL_GLOBAL", "redis://global:1/0")
    found = load(TopologySettings, command_environment())
    assert found.database_url_of("ARENA") == "postgresql://elsewhere/arena"
    assert found.database_url_of("GLOBAL") == plan.topology.database_url_of("GLOBAL")
    assert [found.redis_url_of(region) for region in found.regions] == ["redis://elsewhere:1/0", "redis://global:1/0"]
    # The environment takes precedence.
    monkeypatch.setenv("REDIS_URL", "redis://other:1/0")
    assert load(TopologySettings, command_environment()).redis_url_of("ARENA") == "redis://other:1/0"


def test_processes_of_a_cluster_share_a_folder_of_sockets_where_its_name_is_not_too_long(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as made:
        short = Path(made)
        plan = make_plan(ClusterOptions(data_dir=short, servers=Servers.WHEELS), {})
        assert {server.environ["SOCKET_DIR"] for server in plan.services + plan.gateways} == {str(short / "sockets")}
        plan.services[0].prepare()
        assert (short / "sockets").is_dir()
        own = make_plan(ClusterOptions(data_dir=short, servers=Servers.WHEELS), {"SOCKET_DIR": str(short / "own")})
        assert own.services[0].environ["SOCKET_DIR"] == str(short / "own")
        relative = make_plan(ClusterOptions(data_dir=short, servers=Servers.WHEELS), {"SOCKET_DIR": "own"})
        assert relative.gateways[0].environ["SOCKET_DIR"] == str(Path("own").absolute())
    long = tmp_path / ("l" * 100)
    long.mkdir()
    plan = make_plan(ClusterOptions(data_dir=long, servers=Servers.WHEELS), {})
    assert "SOCKET_DIR" not in plan.services[0].command().env
    plan.services[0].prepare()
    assert plan.gateways[0].address == f"127.0.0.1:{plan.gateways[0].port}"


def test_nginx_gets_the_sockets_only_where_its_worker_may_enter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)  # root's NGINX gives its worker another user
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        gateway = plans.AppServer("gateway-1", "api_gateway", 4001, folder, {"SOCKET_DIR": str(folder / "sockets")})
        by_socket, by_port = f"unix:{folder}/sockets/4001.sock", "127.0.0.1:4001"
        for mode, umask, address in (
            (0o755, 0o022, by_socket),
            (0o711, 0o022, by_socket),
            (0o700, 0o022, by_port),
            (0o755, 0o077, by_port),
        ):
            folder.chmod(mode)
            before = os.umask(umask)
            try:
                assert gateway.address == address, f"{mode:o} {umask:o}"
                assert os.umask(umask) == umask, "left as it was"
            finally:
                os.umask(before)
        folder.chmod(0o755)
        (folder / "sockets").mkdir(mode=0o700)
        assert gateway.address == by_port
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        assert gateway.address == by_socket
        for odd in ("with space", "a,b", "a;b", "a{b"):
            environ = {"SOCKET_DIR": str(folder / odd)}
            assert plans.AppServer("gateway-1", "api_gateway", 4001, folder, environ).address == by_port


def test_nginx_gets_no_socket_behind_a_link_into_a_private_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with tempfile.TemporaryDirectory() as public, tempfile.TemporaryDirectory() as private:
        Path(public).chmod(0o755)
        Path(private).chmod(0o700)
        link = Path(public) / "link"
        link.symlink_to(private)
        gateway = plans.AppServer("gateway-1", "api_gateway", 4001, link, {"SOCKET_DIR": str(link)})
        assert gateway.address == "127.0.0.1:4001"
