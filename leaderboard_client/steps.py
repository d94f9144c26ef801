"""The steps that a call is made of and what comes of them: the border between what decides and what does I/O."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, as it goes out."""

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
    """Send a request; an answer with status 200 stays open for Read, of any other the whole Answer is the outcome."""

    request: Request
    timeout: float


@dataclass(frozen=True, slots=True)
class Read:
    """The next bytes of the open answer; none at its end."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Emit(Generic[T]):
    """Hand a value to whoever iterates."""

    value: T


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes = field(default=b"", repr=False)

    def json(self) -> Any:
        """The body as JSON. Raises ValueError when it is none."""
        return json.loads(self.content)


@dataclass(frozen=True, slots=True)
class Failure:
    """No whole answer. `maybe_done` unless the request cannot have been received; `hopeless` to be sent again."""

    error: Exception
    maybe_done: bool = True
    hopeless: bool = False
    timed_out: bool = False


Step = Send | Open | Read | Wait
Outcome = Answer | Failure | bytes | None
Steps = Generator[Step, Outcome, T]
"""Yields what is to be done next, is sent what came of it, and returns the result."""
EmittingSteps = Generator[Step | Emit[T], Outcome, None]
