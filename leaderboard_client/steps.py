"""Define the steps of a call and their outcomes: the interface between decisions and I/O."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request."""

    method: str
    url: str
    headers: Mapping[str, str]
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request and read its whole answer; the outcome is an Answer or a Failure."""

    request: Request
    timeout: float


@dataclass(frozen=True, slots=True)
class Open:
    """Send a request; an answer with status 200 stays open for Read, any other is read to a whole Answer."""

    request: Request
    timeout: float


@dataclass(frozen=True, slots=True)
class Read:
    """Read the next bytes of the open answer; none at its end."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Emit(Generic[T]):
    """Yield a value to the iterating caller."""

    value: T


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes = field(default=b"", repr=False)

    def json(self) -> Any:
        """Parse the body as JSON. Raises ValueError."""
        return json.loads(self.content)


@dataclass(frozen=True, slots=True)
class Failure:
    """No complete answer. `maybe_done` unless the request was certainly not received; `hopeless` to retry."""

    error: Exception
    maybe_done: bool = True
    hopeless: bool = False
    timed_out: bool = False


Step = Send | Open | Read | Wait
Outcome = Answer | Failure | bytes | None
Steps = Generator[Step, Outcome, T]
"""Yields the next step, is sent its outcome, and returns the result."""
EmittingSteps = Generator[Step | Emit[T], Outcome, None]
