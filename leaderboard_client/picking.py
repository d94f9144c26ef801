"""Results out of JSON: the fields that are known, in a cheap way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import cache
from operator import itemgetter
from typing import Any, TypeVar, cast

T = TypeVar("T")


@cache
def _names(kind: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    needed = [field.name for field in fields(kind) if field.default is MISSING]
    return tuple(needed), tuple(field.name for field in fields(kind) if field.default is not MISSING)


def pick(kind: type[T], data: Mapping[str, Any], **given: Any) -> T:
    """A result from the fields of `data` that it knows, and what is `given`. Raises KeyError when one is missing."""
    # mypy does not take a type[T] for hashable.
    needed, optional = _names(cast("Any", kind))
    values = {name: data[name] for name in needed if name not in given}
    values |= {name: data[name] for name in optional if name in data}
    return kind(**values, **given)


def rows_of(data: Mapping[str, Any], kind: type[T], name: str = "rows") -> tuple[T, ...]:
    """The rows of an answer; `kind` has no optional fields. A page may have a thousand: a quarter of `pick`'s time."""
    take = itemgetter(*_names(cast("Any", kind))[0])
    return tuple([kind(*take(row)) for row in data[name]])
