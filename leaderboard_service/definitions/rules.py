"""Say which rules a board may be given, which of them may change later, and which settings decide."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any, Final

from leaderboard_core.boards import MAIN, Rules
from leaderboard_core.errors import FixedField, InvalidPayload
from leaderboard_core.settings import LimitSettings

FIXED: Final = ("operator", "order", "ties", "regions")
"""What may not be changed of a board; its `metadata_bytes` may grow."""
_DECIDED_BY: Final = {"min_score": "MIN_SCORE", "max_score": "MAX_SCORE", "submit": "PLAYER_WRITES"}
"""The variable that decides a rule of the main board where it is set."""


def effective(rules: Rules, limits: LimitSettings) -> Rules:
    """Return the main board's rules as they are heeded: a variable that is set wins."""
    return replace(rules, **_decided(limits))


def check(rules: Rules) -> None:
    """Raise InvalidPayload for rules that no board may have."""
    if tuple(rules.windows) != MAIN.rules.windows:
        raise _invalid("windows", f"is {list(MAIN.rules.windows)} in this version")
    if rules.min_score > rules.max_score:
        raise _invalid("min_score", f"is above max_score: {rules.min_score} and {rules.max_score} would be heeded")


def compare(before: Rules, after: Rules) -> None:
    """Compare the rules of a board with those that are stated now. Raises FixedField."""
    for name in FIXED:
        if getattr(before, name) != getattr(after, name):
            raise FixedField(f"A board's '{name}' cannot be changed; this one has {_shown(before, name)}.", field=name)
    if after.metadata_bytes < before.metadata_bytes:
        raise FixedField(
            f"A board's 'metadata_bytes' may only grow; this one has {before.metadata_bytes}.", field="metadata_bytes"
        )


def check_main(rules: Rules, given: Collection[str], limits: LimitSettings) -> None:
    """Compare what is stated of the main board with what may be; `given` are the fields that were named.

    Raises InvalidPayload for rules that contradict each other, and FixedField.
    """
    for name in FIXED:
        if getattr(rules, name) != getattr(MAIN.rules, name):
            raise FixedField(f"The main board's '{name}' cannot be changed; leave it out.", field=name)
    for name, value in _decided(limits).items():
        if name in given and getattr(rules, name) != value:
            variable = _DECIDED_BY[name]
            raise FixedField(
                f"{variable} is set, and decides '{name}': leave it out, or take the variable away.",
                field=name,
                variable=variable,
            )
    check(effective(rules, limits))


def _decided(limits: LimitSettings) -> dict[str, Any]:
    """Return the rules that variables decide."""
    values: dict[str, Any] = {
        "min_score": limits.min_score,
        "max_score": limits.max_score,
        "submit": "player" if limits.player_writes else "server",
    }
    return {name: values[name] for name, variable in _DECIDED_BY.items() if variable.lower() in limits.model_fields_set}


def _invalid(field: str, message: str) -> InvalidPayload:
    return InvalidPayload(fields=[{"field": field, "message": message}])


def _shown(rules: Rules, name: str) -> str:
    value = getattr(rules, name)
    return str(value).lower() if isinstance(value, bool) else f"'{value}'"
