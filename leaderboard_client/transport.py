"""Share between both clients what concerns httpx: settings, requests, answers and errors."""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Generic, ParamSpec, TypeVar
from urllib.parse import urlsplit

import httpx

from leaderboard_client.loopback import is_loopback
from leaderboard_client.reads import Reads
from leaderboard_client.retrying import RetryPolicy
from leaderboard_client.steps import Failure, Open, Send
from leaderboard_client.version import __version__
from leaderboard_client.writes import Writes

P = ParamSpec("P")
R = TypeVar("R")
H = TypeVar("H", httpx.Client, httpx.AsyncClient)

USER_AGENT = {"user-agent": f"leaderboard-client/{__version__}"}


class Api(Writes, Reads):
    """Every call of the API, built for one session."""


class Settings(ABC, Generic[H]):
    """Hold the address, session, time-outs and HTTP client of a client."""

    def __init__(
        self,
        base_url: str,
        *,
        token: str | None = None,
        timeout: float = 10.0,
        max_wait: float = 30.0,
        stream_timeout: float = 45.0,
        http: H | None = None,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(f"base_url is {base_url!r}; it looks like http://127.0.0.1:8080")
        self._base_url = base_url.rstrip("/")
        self._api = Api(token)
        self._policy = RetryPolicy(timeout=timeout, max_wait=max_wait)
        self._stream_policy = replace(self._policy, timeout=stream_timeout)
        # What is on this machine is not asked for through a proxy.
        self._http: H = self._own_http(heed_environment=not is_loopback(base_url)) if http is None else http
        self._owns_http = http is None

    @staticmethod
    @abstractmethod
    def _own_http(*, heed_environment: bool) -> H:
        """Return the httpx client that is closed with this one."""

    @property
    def base_url(self) -> str:
        """Return the base URL, without a slash at its end."""
        return self._base_url

    @property
    def token(self) -> str | None:
        """Return the token of the calls: given, or remembered from `register` or `login`."""
        return self._api.token

    @token.setter
    def token(self, token: str | None) -> None:
        self._api.caller.token = token

    @property
    def user_id(self) -> str | None:
        """Return the player who registered or logged in last."""
        return self._api.user_id


def arguments(step: Send | Open) -> dict[str, Any]:
    """Return the arguments of httpx for a request."""
    request = step.request
    return {
        "method": request.method,
        "url": request.url,
        # httpx refuses what is not ASCII; the system has the better message.
        "headers": {name: value.encode("utf-8", "surrogatepass") for name, value in request.headers.items()},
        "content": request.content,
        "timeout": step.timeout,
    }


def stays_open(step: Send | Open, response: httpx.Response) -> bool:
    """Tell whether the answer is a feed, read as it comes."""
    return isinstance(step, Open) and response.status_code == httpx.codes.OK


def failure(error: httpx.RequestError) -> Failure:
    """Classify an exception of httpx."""
    return Failure(
        error,
        maybe_done=not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout),
        hopeless=isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol | httpx.TooManyRedirects),
        timed_out=isinstance(error, httpx.TimeoutException),
    )


def presented(method: Callable[P, R], build: Callable[..., object], result: str = "{}") -> Callable[P, R]:
    """Give a client's method the name, docstring and signature of the function that builds its call.

    `result` is its return type, with `{}` for the type of the call's result.
    """
    signature = inspect.signature(build)
    inner = str(signature.return_annotation).partition("[")[2].removesuffix("]")
    method = functools.update_wrapper(method, build)
    method.__signature__ = signature.replace(return_annotation=result.format(inner))  # type: ignore[attr-defined]
    return method
