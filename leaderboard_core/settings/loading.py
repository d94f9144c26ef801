"""Read a group of settings from an environment; complain by the variables' names."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

PER_REGION_PREFIXES = {
    "region_redis_urls": "REDIS_URL_",
    "region_databases": "PG_DATABASE_",
    "region_database_urls": "DATABASE_URL_",
}
"""Fields of TopologySettings that are read from one variable per region, by the variables' prefix."""


_WITH_VARIABLE = re.compile(r"[A-Z][A-Z0-9_-]*: ")


class SettingsError(Exception):
    """The environment does not describe a system that can start; the text names each variable and the remedy."""


class Group(BaseSettings):
    """One concern's settings: `load` reads each field from the variable of its name in upper case.

    A rule between fields is a validator of the last of them: one of the whole group would be looked at only when every
    field is right by itself, and who starts would mend one fault to be told of the next.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        hide_input_in_errors=True,
        extra="ignore",
        validate_default=False,
        enable_decoding=False,  # lists are separated by commas, nothing is JSON
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic-settings'
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what is given by keyword and nothing else: only `load` reads an environment."""
        return (init_settings,)


GroupT = TypeVar("GroupT", bound=Group)


class EnvironmentSource(EnvSettingsSource):
    """Read a group from an environment; an empty string counts as not set, as in a compose file."""

    def __init__(self, group: type[Group], environ: Mapping[str, str]) -> None:
        super().__init__(group, case_sensitive=True)
        self.env_vars = {name: value for name, value in environ.items() if value.strip()}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        """Find a field's value: that of its variable, or for some a dict of one variable per region."""
        prefix = PER_REGION_PREFIXES.get(field_name)
        if prefix is None:
            return self.env_vars.get(field_name.upper()), field_name, False
        of_regions = {
            name.removeprefix(prefix): self.env_vars[name] for name in self.env_vars if name.startswith(prefix)
        }
        return of_regions or None, field_name, False


def load(group: type[GroupT], environ: Mapping[str, str] | None = None, **defaults: object) -> GroupT:
    """Read one group from `environ` (the process environment if None).

    `defaults` replace a field's default where the environment is silent.
    Raises SettingsError, naming every variable that is wrong and how to mend it.
    """
    environment = EnvironmentSource(group, os.environ if environ is None else environ)
    try:
        return group.model_validate({**defaults, **environment()})
    except ValidationError as error:
        raise SettingsError("\n".join(_complaint(group, item) for item in error.errors())) from None


def _complaint(group: type[Group], item: Any) -> str:
    problem = str(item["msg"]).removeprefix("Value error, ")
    if not item["loc"] or _WITH_VARIABLE.match(problem):
        return problem
    field, *rest = item["loc"]
    prefix = PER_REGION_PREFIXES.get(field)
    variable = f"{prefix}{rest[0]}" if prefix and rest else str(field).upper()
    return f"{variable}: {problem}. {group.model_fields[field].description}"
