"""Build results from the known fields of JSON, cheaply."""

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
    """Build a result from the known fields of `data` and those `given`. Raises KeyError when one is missing."""
    # mypy does not accept a type[T] as hashable.
    needed, optional = _names(cast("Any", kind))
    values = {name: data[name] for name in needed if name not in given}
    values |= {name: data[name] for name in optional if name in data and name not in given}
    return kind(**values, **given)


def rows_of(data: Mapping[str, Any], kind: type[T], name: str = "rows") -> tuple[T, ...]:
    """Build the rows of an answer, which all have the same fields. In a quarter of `pick`'s time, for large pages."""
    rows = data[name]
    needed, optional = _names(cast("Any", kind))
    if rows and not rows[0].keys().isdisjoint(optional):
        return tuple([pick(kind, row) for row in rows])
    take = itemgetter(*needed)
    return tuple([kind(*take(row)) for row in rows])
