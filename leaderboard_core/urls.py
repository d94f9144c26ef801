"""Show URLs of servers without what must stay secret."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit


def without_password(url: str) -> str:
    """Make a URL fit for logs and messages: `***` for a password, in front of the host or behind the `?`."""
    parts = urlsplit(url)
    if parts.password is not None:
        user = f"{parts.username}:***@" if parts.username else ":***@"
        parts = parts._replace(netloc=user + parts.netloc.rpartition("@")[2])
    if "password" in parts.query:
        query = [(name, "***" if "password" in name else value) for name, value in parse_qsl(parts.query)]
        parts = parts._replace(query=urlencode(query, safe="*/"))
    return urlunsplit(parts)


def format_address(host: str, port: int) -> str:
    """Format host:port, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
