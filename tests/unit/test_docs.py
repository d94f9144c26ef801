"""README, .env.example and compose name the settings that the code reads, with the defaults that it has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple, get_type_hints

from pydantic import SecretStr

from leaderboard_cli.commands.up import up
from leaderboard_core.errors import all_errors
from leaderboard_core.settings import GROUPS, PER_REGION_PREFIXES

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text("utf-8")
ENV_EXAMPLE = (REPOSITORY / ".env.example").read_text("utf-8")
COMPOSE = (REPOSITORY / "docker-compose.yml").read_text("utf-8")

VARIABLE_LINE = re.compile(r"^# ?([A-Z][A-Z0-9_<>]*)=(.*)$", re.MULTILINE)


class Variable(NamedTuple):
    """One environment variable: its name, its default as one would write it, and what it means."""

    name: str
    default: str
    description: str


def reference() -> list[Variable]:
    """Every variable that a process reads; `<REGION>` stands for a region's name."""
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
                value = ",".join(value)
            if isinstance(value, bool):
                value = str(value).lower()
            found.append(Variable(name.upper(), "" if value is None else str(value), description))
    return found


def settings_table() -> str:
    """The README's table as the code would write it."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for variable in reference():
        default = f"`{variable.default}`" if variable.default else ""
        rows.append(f"| `{variable.name}` | {default} | {variable.description} |")
    return "\n".join(rows)


def test_the_readmes_table_is_what_the_code_reads() -> None:
    _, _, rest = README.partition("<!-- settings -->\n")
    assert rest.partition("\n<!-- /settings -->")[0] == settings_table()


def test_env_example_has_every_setting_with_its_default() -> None:
    process, _, _ = ENV_EXAMPLE.partition("# --- Docker and the local cluster")
    given = dict(VARIABLE_LINE.findall(process))
    assert given == {variable.name: variable.default for variable in reference()}


def test_env_example_has_what_compose_and_the_local_cluster_read() -> None:
    _, _, rest = ENV_EXAMPLE.partition("# --- Docker and the local cluster")
    named = {name for name, _ in VARIABLE_LINE.findall(rest)}
    wanted = set(re.findall(r"\$\{([A-Z][A-Z0-9_]*)", COMPOSE)) | up_variables()
    known = {variable.name for variable in reference()}
    assert wanted - known - {"COMPOSE_PROJECT_NAME"} <= named
    unused = named - wanted - set(re.findall(r"NGINX_[A-Z_]+", nginx_template()))
    assert not unused


def up_variables() -> set[str]:
    """The environment variables of `leaderboard up`'s options."""
    hints = get_type_hints(up, include_extras=True).values()
    options = [option for hint in hints for option in getattr(hint, "__metadata__", ())]
    return {option.envvar for option in options if option.envvar}


def nginx_template() -> str:
    return (REPOSITORY / "nginx" / "templates" / "default.conf.template").read_text("utf-8")


def test_no_setting_is_active_in_env_example() -> None:
    active = [line for line in ENV_EXAMPLE.splitlines() if line and not line.startswith("#")]
    assert active == []


def test_the_readme_names_every_error() -> None:
    internal = {"internal_error", "not_found", "method_not_allowed", "request_timeout"}
    assert [code for code in all_errors() if f"`{code}`" not in README and code not in internal] == []
