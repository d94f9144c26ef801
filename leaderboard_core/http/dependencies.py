"""Dependencies that only look something up, which compiled routes do in place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from starlette.requests import Request
from starlette.types import Scope

from leaderboard_core.telemetry import logs


class Inline(ABC):
    """A dependency that only looks something up; a compiled route does that in place, without a coroutine."""

    @abstractmethod
    def value(self, scope: Scope) -> Any:
        """What it gives for a request."""

    async def __call__(self, request: Request) -> Any:
        return self.value(request.scope)


class FromState(Inline):
    """A dependency: what the lifespan has put into the application's state under `name`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def value(self, scope: Scope) -> Any:
        return scope["state"][self.name]


class CurrentRequestId(Inline):
    """A dependency: the id of the request, which its answer, its log lines and its event carry."""

    def value(self, _: Scope) -> str:
        return logs.request_id.get()


class CurrentScope(Inline):
    """A dependency: the ASGI scope of the request."""

    def value(self, scope: Scope) -> Scope:
        return scope


class CallerAddress(Inline):
    """A dependency: the address of the client, behind trusted proxies; '' when only trusted ones are known."""

    def value(self, scope: Scope) -> str:
        address: str = scope["state"]["client_addresses"].of(scope)
        return address
