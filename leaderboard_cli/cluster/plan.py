"""Plan the processes of a local cluster: programs, ports and environment."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from leaderboard_cli.cluster import loaded, logfiles
from leaderboard_cli.cluster.binaries import Servers, find_nginx, find_postgres, find_redis
from leaderboard_cli.cluster.environment import Wanted, wanted_servers, with_jwt_secret
from leaderboard_cli.cluster.errors import BinaryNotFoundError
from leaderboard_cli.cluster.nginx_server import NginxServer, may_enter
from leaderboard_cli.cluster.ports import LOOPBACK, PortNeed, find_free_ports
from leaderboard_cli.cluster.postgres_server import PostgresServer
from leaderboard_cli.cluster.probes import http_healthy
from leaderboard_cli.cluster.process import Command
from leaderboard_cli.cluster.redis_cluster import RedisCluster, RedisNode, node_names
from leaderboard_cli.cluster.redis_server import RedisServer
from leaderboard_cli.cluster.secret_files import POSTGRES_PASSWORD, REDIS_PASSWORD, kept_secret
from leaderboard_cli.cluster.server import Server
from leaderboard_core.http.sockets import local_socket
from leaderboard_core.settings import TopologySettings, check_all, load

_LONGEST_SOCKET_NAME = 103  # bytes, on macOS; 107 on Linux

_STORES = ("redis", "postgres")


@dataclass(frozen=True)
class ClusterOptions:
    """The options of `leaderboard up`; a port is the first of as many as there are processes of its kind."""

    data_dir: Path
    port: int = 8080
    gateway_port: int = 4000
    service_port: int = 5001
    worker_port: int = 5101
    redis_port: int = 16379
    postgres_port: int = 15432
    free_ports: bool = False
    servers: Servers = Servers.AUTO
    replicas: int = 3
    gateways: int = 3
    workers: int = 1
    stores_only: bool = False
    redis_masters: int = 0


@dataclass(frozen=True)
class AppServer:
    """One of our own processes, `python -m <package>`, as a Server."""

    name: str
    package: str
    port: int
    data_dir: Path
    environ: Mapping[str, str]

    @property
    def log_path(self) -> Path:
        return logfiles.log_path(self.data_dir, self.name)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def prepare(self) -> None:
        """Create the folder for its Unix socket."""
        folder = self.environ.get("SOCKET_DIR")
        if folder:
            Path(folder).mkdir(mode=0o755, parents=True, exist_ok=True)

    @property
    def address(self) -> str:
        """Return the address for NGINX: its Unix socket, unless NGINX' worker cannot open it."""
        folder = self.environ.get("SOCKET_DIR")
        if folder and may_enter(Path(folder)):
            return f"unix:{local_socket(Path(folder), self.port)}"
        return f"{LOOPBACK}:{self.port}"

    def command(self) -> Command:
        own = {
            "HOST": LOOPBACK,
            "PORT": str(self.port),
            "INSTANCE_NAME": self.name,
            "PYTHONUNBUFFERED": "1",
        }
        return Command(
            argv=(sys.executable, "-m", self.package),
            env={**self.environ, **own},
            stop=((signal.SIGTERM, 11.0),),  # they end within 10 s
            loaded=(sys.executable, "-m", loaded.__name__, self.package),
        )

    def ready(self) -> bool:
        return http_healthy(LOOPBACK, self.port)


@dataclass(frozen=True)
class Plan:
    """All processes to run. `environ` is the environment of our own; it names the secret and the servers."""

    options: ClusterOptions
    environ: Mapping[str, str]
    topology: TopologySettings
    redis: tuple[RedisServer, ...]
    redis_cluster: RedisCluster | None
    postgres: PostgresServer | None
    services: tuple[AppServer, ...]
    workers: tuple[AppServer, ...]
    gateways: tuple[AppServer, ...]
    front: NginxServer | AppServer
    needs: tuple[PortNeed, ...]
    remarks: tuple[str, ...]

    @property
    def layers(self) -> tuple[tuple[Server, ...], ...]:
        """Group the processes in the order of their start; members of a group do not depend on each other."""
        ours: tuple[Server, ...] = (*self.redis, *([self.postgres] if self.postgres else []))
        if self.options.stores_only:
            return (ours,)
        return (
            ours,
            (*self.services, *self.workers),
            self.gateways,
            (self.front,),
        )

    @property
    def programs(self) -> tuple[str, ...]:
        """Name the servers that are not ours, each with its version."""
        servers = (*self.redis[:1], self.postgres, self.front)
        return tuple(
            server.binary.describe()
            for server in servers
            if isinstance(server, RedisServer | PostgresServer | NginxServer)
        )

    @property
    def url(self) -> str:
        """The address for whoever is on this machine: NGINX', or a gateway's where NGINX takes load balancers only."""
        proxied = isinstance(self.front, NginxServer) and self.front.proxied
        return (self.gateways[0] if proxied else self.front).url

    @property
    def all_servers(self) -> tuple[Server, ...]:
        return tuple(server for layer in self.layers for server in layer)


def socket_dir(data_dir: Path) -> Path | None:
    """Return the folder of the processes' Unix sockets; None where the path would be too long for a socket."""
    folder = data_dir / "sockets"
    return folder if len(bytes(local_socket(folder, 65535))) <= _LONGEST_SOCKET_NAME else None


def make_plan(options: ClusterOptions, environ: Mapping[str, str]) -> Plan:
    """Choose programs and ports and check the settings; start nothing.

    Raises SettingsError for invalid settings, BinaryNotFoundError when a server program is missing.
    """
    data_dir = options.data_dir.absolute()
    children = with_jwt_secret(environ, data_dir)
    check_all(children)
    wanted = wanted_servers(environ)
    needs = _port_needs(options, wanted)
    ports = {need.name: need.port for need in needs}
    redis: tuple[RedisServer, ...] = ()
    cluster: RedisCluster | None = None
    postgres: PostgresServer | None = None
    remarks: list[str] = []
    if wanted.redis:
        appendfsync = environ.get("REDIS_APPENDFSYNC") or RedisServer.appendfsync
        binary = find_redis(options.servers, data_dir)
        password = kept_secret(data_dir, REDIS_PASSWORD)
        if options.redis_masters:
            nodes = tuple(
                RedisNode(
                    *(binary, data_dir, ports[name], name),
                    appendfsync=appendfsync,
                    password=password,
                    bus_port=ports[f"{name}-bus"],
                )
                for name in node_names(options.redis_masters)
            )
            redis, cluster = nodes, RedisCluster(nodes, options.redis_masters)
            children["REDIS_URL"] = cluster.url()
        else:
            server = RedisServer(binary, data_dir, ports["redis"], appendfsync=appendfsync, password=password)
            redis, children["REDIS_URL"] = (server,), server.url
    if wanted.postgres:
        binary = find_postgres(options.servers, data_dir)
        password = environ.get("POSTGRES_PASSWORD") or kept_secret(data_dir, POSTGRES_PASSWORD)
        postgres = PostgresServer(binary, data_dir, ports["postgres"], password)
        children |= {
            "POSTGRES_HOST": LOOPBACK,
            "POSTGRES_PORT": str(postgres.port),
            "POSTGRES_USER": "postgres",
            "POSTGRES_PASSWORD": password,
        }

    given = children.get("SOCKET_DIR")
    sockets = Path(given).absolute() if given else socket_dir(data_dir)
    if sockets:
        children["SOCKET_DIR"] = str(sockets)

    def apps(kind: str, package: str) -> tuple[AppServer, ...]:
        names = [need.name for need in needs if need.name.startswith(f"{kind}-")]
        return tuple(AppServer(name, package, ports[name], data_dir, children) for name in names)

    services = apps("service", "leaderboard_service")
    children["LEADERBOARD_SERVICE_URLS"] = ",".join(service.url for service in services)
    workers = apps("worker", "worker_service")
    gateways = apps("gateway", "api_gateway")
    front: NginxServer | AppServer
    try:
        nginx = find_nginx(options.servers)
    except BinaryNotFoundError as error:
        if options.servers is not Servers.AUTO:
            raise
        front = AppServer("front", "api_gateway", ports["nginx"], data_dir, children)
        remarks.append(f"{error}\nA fourth gateway serves in its place; /auth/ has no rate limit per address.")
    else:
        addresses = [gateway.address for gateway in gateways]
        front = NginxServer(nginx, data_dir, ports["nginx"], addresses, environ)
    return Plan(
        options=options,
        environ=children,
        topology=load(TopologySettings, children),
        redis=redis,
        redis_cluster=cluster,
        postgres=postgres,
        services=services,
        workers=workers,
        gateways=gateways,
        front=front,
        needs=tuple(need for need in needs if need.name.startswith(_STORES) or not options.stores_only),
        remarks=tuple(remarks),
    )


def _port_needs(options: ClusterOptions, wanted: Wanted) -> list[PortNeed]:
    needs = [PortNeed(options.port, "nginx", "--port")]
    if wanted.redis and options.redis_masters:
        names = node_names(options.redis_masters)
        every = (*names, *(f"{name}-bus" for name in names))
        needs += [PortNeed(options.redis_port + index, name, "--redis-port") for index, name in enumerate(every)]
    elif wanted.redis:
        needs.append(PortNeed(options.redis_port, "redis", "--redis-port"))
    if wanted.postgres:
        needs.append(PortNeed(options.postgres_port, "postgres", "--postgres-port"))
    kinds = (
        ("service", options.service_port, options.replicas, "--service-port"),
        ("worker", options.worker_port, options.workers, "--worker-port"),
        ("gateway", options.gateway_port, options.gateways, "--gateway-port"),
    )
    for kind, first, count, option in kinds:
        needs += [PortNeed(first + index, f"{kind}-{index + 1}", option) for index in range(count)]
    if not options.free_ports:
        return needs
    free = find_free_ports(len(needs))
    return [PortNeed(port, need.name, need.option) for port, need in zip(free, needs, strict=True)]
