"""Say which rules a board may be given, and which of them settings decide."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields, replace
from typing import Any, Final

from leaderboard_core.boards import MAIN, Rules
from leaderboard_core.errors import BoardNotFound, FixedField, InvalidPayload
from leaderboard_core.settings import LimitSettings

CHANGEABLE: Final = frozenset({"title", "min_score", "max_score", "max_step", "submit", "open", "decimals"})
"""What may be changed of the main board."""
_DECIDED_BY: Final = {"min_score": "MIN_SCORE", "max_score": "MAX_SCORE", "submit": "PLAYER_WRITES"}
"""The variable that decides a rule of the main board where it is set."""


def check_name(name: str) -> None:
    """Raise BoardNotFound unless a board of that name can be defined: in this version the main board alone."""
    if name != MAIN.name:
        raise BoardNotFound(f"This version defines the board '{MAIN.name}' only.")


def effective(rules: Rules, limits: LimitSettings) -> Rules:
    """Return the main board's rules as they are heeded: a variable that is set wins."""
    return replace(rules, **_decided(limits))


def check(rules: Rules, given: Collection[str], limits: LimitSettings) -> None:
    """Compare what is stated of the main board with what may be; `given` are the fields that were named.

    Raises InvalidPayload for rules that contradict each other, and FixedField.
    """
    if tuple(rules.windows) != MAIN.rules.windows:
        raise _invalid("windows", f"is {list(MAIN.rules.windows)} in this version")
    for field in fields(Rules):
        if field.name not in CHANGEABLE and getattr(rules, field.name) != getattr(MAIN.rules, field.name):
            raise FixedField(f"The main board's '{field.name}' cannot be changed; leave it out.", field=field.name)
    for name, value in _decided(limits).items():
        if name in given and getattr(rules, name) != value:
            variable = _DECIDED_BY[name]
            raise FixedField(
                f"{variable} is set, and decides '{name}': leave it out, or take the variable away.",
                field=name,
                variable=variable,
            )
    heeded = effective(rules, limits)
    if heeded.min_score > heeded.max_score:
        raise _invalid("min_score", f"is above max_score: {heeded.min_score} and {heeded.max_score} would be heeded")


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
