"""Check addresses of servers when a process starts, and say what is wrong without showing them: they have passwords."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Annotated
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pydantic import AfterValidator, BeforeValidator

from leaderboard_core.settings.redis_endpoints import parse_endpoint, split_urls

_UNREADABLE = (
    "cannot be read as a URL: the host is a name or an address (IPv6 in brackets), the port a number up to 65535, and "
    "in user and password / is %2F, # is %23, ? is %3F, @ is %40, : is %3A and % is %25"
)
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")
_LONGEST_HOST = 253


_REDIS_SCHEMES = ("redis", "rediss", "unix", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel")


def _redis_url(url: str) -> str:
    if "+" in url.partition("://")[0]:
        return _nodes_url(url)
    parts = _split(url, _REDIS_SCHEMES, "redis://<host>:6379/0")
    if parts.scheme == "unix":
        if not parts.path:
            raise ValueError("names no socket: write unix:///<folder>/redis.sock")
    else:
        _check_host(parts)
        if not re.fullmatch(r"(/[0-9]*)?", parts.path):
            raise ValueError("has a path that is no database's number: write /0, or nothing")
    return url


def _nodes_url(url: str) -> str:
    """The URL of a cluster or of Sentinels: several nodes, with commas between them."""
    scheme, _, rest = url.partition("://")
    netloc, slash, behind = rest.partition("/")
    user, at, nodes = netloc.rpartition("@")
    for node in nodes.split(","):
        _check_host(
            _split(f"{scheme}://{user}{at}{node}{slash}{behind}", _REDIS_SCHEMES, "redis+cluster://<host>:6379/")
        )
    parse_endpoint(url)
    return url


def _redis_urls(urls: str) -> str:
    """One URL, or several with commas between them, which are the partitions."""
    parts = split_urls(urls)
    clustered = ["+cluster" in part.partition("://")[0] for part in parts]
    if any(clustered) and len(parts) > 1:
        raise ValueError("names a cluster beside other Redis: a cluster has partitions of its own, ?partitions=N")
    for number, part in enumerate(parts):
        if "+" not in part.partition("://")[0] and "," in part:
            raise ValueError(
                "has a comma that no URL follows: it stands between two partitions; inside of a URL it is %2C"
            )
        _redis_url(part)
        if part in parts[:number]:
            raise ValueError("names the same URL twice: each partition has a Redis, or a database of one, of its own")
    return ",".join(parts)


def _database_url(url: str) -> str:
    parts = _split(url, ("postgres", "postgresql"), "postgresql://<user>:<password>@<host>:5432/<database>")
    given = dict(parse_qsl(parts.query))
    hosts = parts.netloc.rpartition("@")[2]
    if not hosts and "host" not in given:
        raise ValueError("names no host: write postgresql://<user>:<password>@<host>:5432/<database>")
    for host in hosts.split(",") if hosts else ():
        _check_host(_split(f"postgresql://{host}", ("postgresql",), ""))
    if not re.fullmatch(r"/[^/]+", parts.path) and "dbname" not in given and "database" not in given:
        raise ValueError("names no database: write its name after the host, as in .../leaderboard_eu")
    return url


def _http_url(url: str) -> str:
    parts = _split(url, ("http",), "http://<host>:<port>")
    _check_host(parts)
    if parts.path or parts.query or "@" in parts.netloc:
        raise ValueError("has more than a host and a port: write http://<host>:<port>")
    return url


def _collector_url(url: str) -> str:
    if url:
        _check_host(_split(url, ("http", "https"), "http://<host>:4318"))
    return url.rstrip("/")


def _server_host(host: str) -> str:
    """A name, an address, or the folder of a Unix socket; IPv6 comes back without brackets."""
    if host.startswith("/"):
        return host
    bare = host.removeprefix("[").removesuffix("]")
    if not _is_host(bare):
        raise ValueError("is no host name or address, and no folder of a socket; the port has a variable of its own")
    return bare


def _split(url: str, schemes: tuple[str, ...], example: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # its text has a part of the URL, which may be one of the password
        raise ValueError(_UNREADABLE) from None
    if parts.scheme not in schemes:
        raise ValueError(f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}, as in {example}")
    if parts.fragment or "#" in url or any(one.isspace() for one in url):
        raise ValueError(_UNREADABLE)
    return parts


def _check_host(parts: SplitResult) -> None:
    if not parts.hostname or not _is_host(parts.hostname):
        raise ValueError(_UNREADABLE)
    if parts.port == 0:
        raise ValueError("has port 0, on which nothing listens")


def _is_host(text: str) -> bool:
    if ":" in text:
        try:
            IPv6Address(text)
        except ValueError:
            return False
        return True
    return len(text) <= _LONGEST_HOST and _HOST.fullmatch(text.removesuffix(".")) is not None


def _networks(value: object) -> object:
    if not isinstance(value, str):
        return value
    found = []
    for part in filter(None, (part.strip() for part in value.split(","))):
        try:
            found.append(ip_network(part))
        except ValueError:
            raise ValueError("must be addresses or networks, as in 10.0.0.5,10.1.0.0/16") from None
    return tuple(found)


def _names(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(part.strip().lower().removesuffix("/") for part in value.split(",") if part.strip())


def _origins(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name != "null" and not _ORIGIN.fullmatch(name):
            raise ValueError("must be origins as browsers name them, as in https://play.example,http://localhost:3000")
    return names


def _hosts(names: tuple[str, ...]) -> tuple[str, ...]:
    hosts = tuple(name.removeprefix("[").removesuffix("]") for name in names)
    if not all(_is_host(host) or ":" in host for host in hosts):
        raise ValueError("must be host names or addresses without a port, as in play.example,127.0.0.1")
    return hosts


Origins = Annotated[tuple[str, ...], BeforeValidator(_names), AfterValidator(_origins)]
HostNames = Annotated[tuple[str, ...], BeforeValidator(_names), AfterValidator(_hosts)]
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], BeforeValidator(_networks)]
RedisUrls = Annotated[str, AfterValidator(_redis_urls)]
DatabaseUrl = Annotated[str, AfterValidator(_database_url)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
CollectorUrl = Annotated[str, AfterValidator(_collector_url)]
ServerHost = Annotated[str, AfterValidator(_server_host)]
