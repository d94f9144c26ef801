"""Run the NGINX front proxy on the template that the containers use."""

from __future__ import annotations

import grp
import os
import pwd
import re
import resource
import signal
import stat
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path

from leaderboard_cli.cluster import logfiles
from leaderboard_cli.cluster.binaries import Binary
from leaderboard_cli.cluster.errors import ClusterError, StartError
from leaderboard_cli.cluster.ports import LOOPBACK
from leaderboard_cli.cluster.probes import UNKNOWN_CLIENT, http_healthy
from leaderboard_cli.cluster.process import Command
from leaderboard_core.settings import ProcessSettings, load

_PACKAGE = Path(__file__).resolve().parents[1]
_TEMPLATE_PLACES = (
    _PACKAGE.parent / "nginx" / "templates" / "default.conf.template",  # a checkout
    _PACKAGE / "nginx_templates" / "default.conf.template",  # an installed wheel
)
_TEMP_PATHS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
_PLAIN_PATH = re.compile(r"[\w./+@~-]+", re.ASCII)
_WANTED_FILES = 32768
TRUSTED_PROXIES = "NGINX_TRUSTED_PROXIES"
CORS_ORIGINS = "CORS_ORIGINS"
PROXY_PROTOCOL = "NGINX_PROXY_PROTOCOL"
TUNABLE = {
    "NGINX_AUTH_RATE": "50r/s",
    "NGINX_AUTH_BURST": "100",
    "NGINX_LISTS_RATE": "200r/s",
    "NGINX_LISTS_BURST": "400",
    "NGINX_STREAMS": "1000",
    "NGINX_ACCESS_LOG": "off",
}
"""What may be set for the template, with its defaults."""

CONFIG_HEADER = "# Written by `leaderboard up` on every start."


def template_path() -> Path:
    """Find the shared template. Raises ClusterError when the installation lacks it."""
    for place in _TEMPLATE_PLACES:
        if place.exists():
            return place
    raise ClusterError(f"the NGINX template is missing; looked in {', '.join(map(str, _TEMPLATE_PLACES))}")


def render(template: str, variables: Mapping[str, str]) -> str:
    """Fill in the template's variables. Raises ClusterError for one without a value.

    Like `envsubst` of the NGINX image, only `${UPPER_CASE}`, so that NGINX's own variables stay.
    """
    try:
        return re.sub(r"\$\{([A-Z][A-Z0-9_]*)\}", lambda found: variables[found[1]], template)
    except KeyError as error:
        raise ClusterError(f"the NGINX template needs the variable {error.args[0]}") from None


def gateway_servers(addresses: Sequence[str]) -> str:
    """Return NGINX_GATEWAYS for `host:port` or `unix:<path>` addresses: one `server` directive each."""
    return " ".join(f"server {address} max_fails=3 fail_timeout=2s;" for address in addresses)


def real_ip(trusted: str) -> str:
    """Return NGINX_REAL_IP for the networks of NGINX_TRUSTED_PROXIES, separated by commas: one directive each.

    Raises ClusterError for what is no address or network.
    """
    networks = [part.strip() for part in trusted.split(",") if part.strip()]
    try:
        return " ".join(f"set_real_ip_from {ip_network(network)};" for network in networks)
    except ValueError as error:
        raise ClusterError(
            f"{TRUSTED_PROXIES}: {error}; it must be addresses or networks, as in 10.0.0.5,10.1.0.0/16"
        ) from None


def connections(listen: str, spoken: str, trusted: str) -> dict[str, str]:
    """Return NGINX_LISTEN and NGINX_REAL_IP_HEADER; `spoken` is what NGINX_PROXY_PROTOCOL says.

    Raises ClusterError for what is no yes or no, and for the PROXY protocol without a trusted proxy.
    """
    if not is_yes(spoken):
        return {"NGINX_LISTEN": listen, "NGINX_REAL_IP_HEADER": "X-Forwarded-For"}
    if not real_ip(trusted):
        raise ClusterError(f"{PROXY_PROTOCOL}: also set {TRUSTED_PROXIES}, the load balancers that speak it")
    return {"NGINX_LISTEN": f"{listen} proxy_protocol", "NGINX_REAL_IP_HEADER": "proxy_protocol"}


def is_yes(text: str) -> bool:
    """Tell whether NGINX_PROXY_PROTOCOL is on. Raises ClusterError for what is no yes or no."""
    found = {**dict.fromkeys(("true", "yes", "on", "1"), True), **dict.fromkeys(("", "false", "no", "off", "0"), False)}
    try:
        return found[text.lower()]
    except KeyError:
        raise ClusterError(f"{PROXY_PROTOCOL}: must be true or false") from None


def shared_with(origins: str) -> str:
    """Return NGINX_ORIGINS for the sites of CORS_ORIGINS, separated by commas. Raises SettingsError."""
    listed = load(ProcessSettings, {CORS_ORIGINS: origins}).cors_origins
    return " ".join(f'"{origin}" $http_origin;' for origin in listed)


@dataclass(frozen=True)
class NginxServer:
    """Run NGINX with its configuration and temporary folders in `<data_dir>/nginx/`.

    `gateways` are `host:port` or `unix:<path>`; `environ` may set NGINX_TRUSTED_PROXIES, NGINX_PROXY_PROTOCOL,
    CORS_ORIGINS and what TUNABLE names.
    """

    binary: Binary
    data_dir: Path
    port: int
    gateways: Sequence[str]
    environ: Mapping[str, str] = field(default_factory=dict)
    name: str = "nginx"

    @property
    def proxied(self) -> bool:
        """Whether it takes nothing but connections that begin with the PROXY protocol."""
        return is_yes(self.environ.get(PROXY_PROTOCOL) or "")

    @property
    def folder(self) -> Path:
        return self.data_dir.absolute() / "nginx"

    @property
    def config_path(self) -> Path:
        return self.folder / "nginx.conf"

    @property
    def log_path(self) -> Path:
        return logfiles.log_path(self.data_dir, self.name)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def prepare(self) -> None:
        """Write the configuration and let NGINX check it. Raises StartError with NGINX' message."""
        (self.folder / "temp").mkdir(parents=True, exist_ok=True)
        variables = {name: self.environ.get(name) or default for name, default in TUNABLE.items()}
        trusted = self.environ.get(TRUSTED_PROXIES) or ""
        variables |= {
            **connections(f"{LOOPBACK}:{self.port}", self.environ.get(PROXY_PROTOCOL) or "", trusted),
            "NGINX_GATEWAYS": gateway_servers(self.gateways),
            "NGINX_REAL_IP": real_ip(trusted),
            "NGINX_ORIGINS": shared_with(self.environ.get(CORS_ORIGINS) or ""),
        }
        site = self.folder / "leaderboard.conf"
        site.write_text(render(template_path().read_text(), variables))
        self.config_path.write_text(self._main(site))
        self.check()

    def check(self) -> str:
        """Return the output of `nginx -t`. Raises StartError when it rejects the configuration."""
        done = subprocess.run(
            [*self._argv(), "-t"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        if done.returncode != 0:
            raise StartError(self.name, "its configuration is not accepted", done.stderr.splitlines()[-20:])
        return done.stderr

    def command(self) -> Command:
        return Command(
            argv=self._argv(),
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            cwd=self.folder,
            stop=((signal.SIGQUIT, 3.0), (signal.SIGTERM, 3.0)),  # graceful, then fast shutdown
            death_signal=signal.SIGTERM,  # a killed master would leave its workers behind
        )

    def ready(self) -> bool:
        """Tell whether a request gets through to a healthy gateway."""
        return http_healthy(LOOPBACK, self.port, preamble=UNKNOWN_CLIENT if self.proxied else b"")

    def _argv(self) -> tuple[str, ...]:
        return (str(self.binary.path), "-p", f"{self.folder}/", "-c", str(self.config_path), "-e", "stderr")

    def _main(self, site: Path) -> str:
        files = _open_files()
        lines = [
            CONFIG_HEADER,
            *([f"user {_worker_user()};"] if os.geteuid() == 0 else []),
            "daemon off;",
            "worker_processes auto;",
            f"worker_rlimit_nofile {files};",
            "worker_shutdown_timeout 2s;",  # live streams would hold up a stop
            f'pid "{self.folder}/nginx.pid";',
            "error_log stderr warn;",
            f"events {{ worker_connections {files // 2}; multi_accept on; }}",
            "http {",
            "    access_log off;",
            "    tcp_nodelay on;",
            *(f'    {name}_temp_path "{self.folder}/temp/{name}";' for name in _TEMP_PATHS),
            f'    include "{site}";',
            "}",
        ]
        return "\n".join(lines) + "\n"


def _open_files() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, _WANTED_FILES)


def may_enter(folder: Path) -> bool:
    """Tell whether NGINX's worker can enter a folder, which need not exist yet, and its configuration can name it.

    As root's child the worker is another user.
    """
    path = folder.absolute()
    if not _PLAIN_PATH.fullmatch(str(path)):
        return False
    if os.geteuid() != 0:
        return True
    os.umask(umask := os.umask(0o077))
    real = folder.resolve()
    places = {path, *path.parents, real, *real.parents}
    modes = [place.stat().st_mode if place.exists() else ~umask for place in places]
    return all(mode & stat.S_IXOTH for mode in modes)


def _worker_user() -> str:
    entry = pwd.getpwnam("nobody")
    return f"{entry.pw_name} {grp.getgrgid(entry.pw_gid).gr_name}"
