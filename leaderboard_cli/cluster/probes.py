"""Probe servers in their own protocol, with nothing but a socket."""

from __future__ import annotations

import http.client
import socket
import struct

_PROTOCOL_3 = 196608
_CANNOT_CONNECT_NOW = b"57P03"
UNKNOWN_CLIENT = b"PROXY UNKNOWN\r\n"
"""What the PROXY protocol wants before a request that comes from nobody else."""


def redis_answers(host: str, port: int, password: str = "", timeout: float = 1.0) -> bool:
    """Tell whether PING is answered with PONG (not while the server still loads its data)."""
    secret = password.encode()
    login = b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%b\r\n" % (len(secret), secret) if secret else b""
    try:
        with socket.create_connection((host, port), timeout) as connection, connection.makefile("rb") as answers:
            connection.sendall(login + b"PING\r\n")
            if login and not answers.readline(64).startswith(b"+OK"):
                return False
            return answers.readline(64).startswith(b"+PONG")
    except OSError:
        return False


def postgres_answers(host: str, port: int, timeout: float = 1.0) -> bool:
    """Tell whether the server accepts connections (not while it starts up or recovers)."""
    parameters = b"user\0postgres\0database\0postgres\0\0"
    try:
        with socket.create_connection((host, port), timeout) as connection:
            connection.sendall(struct.pack("!ii", 8 + len(parameters), _PROTOCOL_3) + parameters)
            answer = connection.recv(1024)
    except OSError:
        return False
    if answer[:1] == b"E":
        return _CANNOT_CONNECT_NOW not in answer
    return answer[:1] == b"R"


def http_status(host: str, port: int, path: str = "/health", timeout: float = 2.0, preamble: bytes = b"") -> int | None:
    """Return the status code of `GET path`, asked after `preamble`; None without an answer."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.connect()
        connection.sock.sendall(preamble)
        connection.request("GET", path, headers={"Connection": "close"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def http_healthy(host: str, port: int, path: str = "/health", timeout: float = 2.0, preamble: bytes = b"") -> bool:
    """Tell whether `GET path`, asked after `preamble`, answers 200."""
    return http_status(host, port, path, timeout, preamble) == http.client.OK
