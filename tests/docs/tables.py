"""Generate tables from the code: settings, metrics, errors."""

from __future__ import annotations

import json
from typing import NamedTuple

from pydantic import SecretStr

from leaderboard_core.errors import all_errors
from leaderboard_core.http.phrases import phrase_of
from leaderboard_core.redis.commands import acl_line
from leaderboard_core.redis.error_codes import MEANINGS
from leaderboard_core.settings import GROUPS, PER_REGION_PREFIXES
from leaderboard_service.reference import examples
from tests.support.catalogue import catalogue


def table(head: str, *rows: tuple[str, ...]) -> str:
    """Format a Markdown table; `head` names the columns, separated by commas."""
    columns = head.split(", ")
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines)


class Variable(NamedTuple):
    """An environment variable: name, default as written in the environment, and meaning."""

    name: str
    default: str
    description: str


def variables() -> list[Variable]:
    """List every variable that a process reads; `<REGION>` stands for a region's name."""
    found = []
    for group in GROUPS:
        for name, field in group.model_fields.items():
            description = field.description or ""
            if name in PER_REGION_PREFIXES:
                variable, _, description = description.partition(": ")
                found.append(Variable(variable, "", description[0].upper() + description[1:]))
                continue
            value = field.get_default(call_default_factory=True)
            if isinstance(value, SecretStr):
                value = value.get_secret_value()
            if isinstance(value, tuple):
                value = ",".join(map(str, value))
            if isinstance(value, bool):
                value = str(value).lower()
            found.append(Variable(name.upper(), "" if value is None else str(value), description))
    return found


def settings() -> str:
    """Format the table of settings."""
    rows = [(f"`{one.name}`", f"`{one.default}`" if one.default else "", one.description) for one in variables()]
    return table("variable, default, meaning", *rows)


def metrics() -> str:
    """Format the table of metrics of the three processes."""
    rows = [
        (f"`{one.name}`", one.kind, ", ".join(f"`{name}`" for name in one.labels), one.shown_by, one.meaning)
        for one in catalogue()
    ]
    return table("metric, type, labels, shown by, meaning", *rows)


def redis_errors() -> str:
    """Format the table of what each error code of Redis means."""
    rows = []
    for code, meaning in MEANINGS.items():
        what = [*(["leaves every connection"] if meaning.drops else []), *(["counts as away"] if meaning.away else [])]
        rows.append((f"`{code}`", meaning.health, ", ".join(what), meaning.remedy))
    return table("Redis answers, `/health` says, the process, do", *rows)


def redis_rights() -> str:
    """Format the command that makes a user of Redis with just the rights that the system needs."""
    return f"```\n{acl_line('leaderboard', 'PASSWORD')}\n```"


def errors() -> str:
    """Format the table of errors by status, with their additional fields in the envelope."""
    shown = examples.errors()
    rows = []
    for error in sorted(all_errors().values(), key=lambda error: error.status):
        more = [f"`{name}`" for name in shown.get(error.code, {}) if name not in ("error", "message")]
        rows.append((f"`{error.code}`", str(error.status), error.default_message, ", ".join(more)))
    return f"{table('code, status, message, more fields', *rows)}\n\n{_refusal('invalid_payload', 422)}"


def _refusal(code: str, status: int) -> str:
    envelope = json.dumps(examples.errors()[code], ensure_ascii=False)
    return f"```http\n{status} {phrase_of(status)}\n\n{envelope}\n```"
