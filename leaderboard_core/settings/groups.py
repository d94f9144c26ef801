"""Settings read from the environment, grouped by concern and checked before anything starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar
from urllib.parse import quote

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

MAX_EXACT_INTEGER = 2**53 - 1
"""The largest whole number that a double, and so a sorted set's score or a Lua number, keeps exactly."""

SECRET_COMMAND = "python3 -c 'import secrets; print(secrets.token_hex(32))'"  # noqa: S105 - a command, not a secret
_PLACEHOLDER_PARTS = ("change-me", "changeme", "change_me", "your-secret", "your_secret", "yoursecret",
                      "your-jwt", "your_jwt", "supersecret", "super-secret", "super_secret", "placeholder",
                      "replace-me", "replace_me", "replaceme", "jwt-secret", "jwt_secret", "example")  # fmt: skip


PER_REGION_PREFIXES = {
    "region_redis_urls": "REDIS_URL_",
    "region_databases": "PG_DATABASE_",
    "region_database_urls": "DATABASE_URL_",
}
"""Fields of TopologySettings that are read from one variable per region, by the variables' prefix."""


class SettingsError(Exception):
    """The environment does not describe a system that can start; the text names each variable and the remedy."""


def _split_names(value: object) -> object:
    return [part.strip().upper() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _split_urls(value: object) -> object:
    return [part.strip().rstrip("/") for part in value.split(",") if part.strip()] if isinstance(value, str) else value


RegionName = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_-]{0,49}$")]
RedisUrl = Annotated[str, Field(pattern=r"^(redis|rediss|unix)://")]
DatabaseUrl = Annotated[str, Field(pattern=r"^postgres(ql)?://")]
CollectorUrl = Annotated[str, Field(pattern=r"^(https?://[^\s]+)?$"), AfterValidator(lambda url: url.rstrip("/"))]
HttpUrl = Annotated[str, Field(pattern=r"^http://[^/\s]+$")]


class Group(BaseSettings):
    """One concern's settings: `load` reads each field from the variable of its name in upper case."""

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


class ProcessSettings(Group):
    """Where a process listens, what it accepts and how it speaks."""

    host: str = Field("127.0.0.1", description="Address the process listens on.")
    port: int = Field(5000, ge=1, le=65535, description="Port the process listens on.")
    socket_dir: Path | None = Field(
        None,
        description="Folder of Unix sockets, for processes of one machine: the process listens on <PORT>.sock there "
        "too, and a gateway reaches services on 127.0.0.1 through theirs. `leaderboard up` sets it.",
    )
    log_level: str = Field(
        "INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$", description="DEBUG, INFO, WARNING or ERROR."
    )
    access_log: bool = Field(True, description="Log a line per request.")
    max_body_bytes: int = Field(1_048_576, ge=1024, description="Largest request body; more is 413.")
    instance_name: str = Field("", description="Name in logs and health answers; default <process>-<port>.")
    start_timeout_seconds: float = Field(
        15, gt=0, description="How long a starting process waits for Redis and Postgres before it gives up."
    )


class TracingSettings(Group):
    """Where traces go."""

    otel_exporter_otlp_endpoint: CollectorUrl = Field(
        "", description="OTLP/HTTP collector that gets traces, such as http://127.0.0.1:4318; needs the extra otel."
    )


class TopologySettings(Group):
    """Regions, and the Redis shard and Postgres database that serve each of them."""

    regions: Annotated[tuple[RegionName, ...], BeforeValidator(_split_names)] = Field(
        ("ASIA", "EU", "NA", "GLOBAL"),
        min_length=1,
        description="Regions, separated by commas; GLOBAL is always one.",
    )
    redis_url: RedisUrl = Field(
        "redis://127.0.0.1:6379/0", description="Redis of every region that has no REDIS_URL_<REGION>."
    )
    redis_timeout_seconds: float = Field(2, gt=0, le=60, description="Longest wait for one answer from Redis.")
    redis_max_connections: int = Field(64, ge=1, description="Connections of one process to one Redis.")
    postgres_host: str = Field("127.0.0.1", description="Host of the Postgres server.")
    postgres_port: int = Field(5432, ge=1, le=65535, description="Port of the Postgres server.")
    postgres_user: str = Field("postgres", description="Postgres user.")
    postgres_password: SecretStr = Field(SecretStr("postgres"), description="Password of POSTGRES_USER.")
    postgres_timeout_seconds: float = Field(5, gt=0, description="Longest wait for one statement or connection.")
    postgres_pool_size: int = Field(4, ge=1, description="Connections of one process to one region's database.")
    region_redis_urls: dict[str, RedisUrl] = Field(
        default_factory=dict, description="REDIS_URL_<REGION>: another Redis for this region."
    )
    region_databases: dict[str, str] = Field(
        default_factory=dict,
        description="PG_DATABASE_<REGION>: database name; default leaderboard_<region>.",
    )
    region_database_urls: dict[str, DatabaseUrl] = Field(
        default_factory=dict, description="DATABASE_URL_<REGION>: a whole DSN for this region's database."
    )

    @model_validator(mode="after")
    def _check_regions(self) -> Self:
        if "GLOBAL" not in self.regions:
            raise ValueError("REGIONS: add GLOBAL, the board that ranks every player.")
        if len(set(self.regions)) != len(self.regions):
            raise ValueError("REGIONS: a region is named twice.")
        for field, prefix in PER_REGION_PREFIXES.items():
            for region in getattr(self, field):
                if region not in self.regions:
                    known = ", ".join(self.regions)
                    raise ValueError(f"{prefix}{region}: there is no region {region}; REGIONS has {known}.")
        return self

    def redis_url_of(self, region: str) -> str:
        return self.region_redis_urls.get(region, self.redis_url)

    def database_url_of(self, region: str) -> str:
        """The DSN of a region's Postgres database."""
        if region in self.region_database_urls:
            return self.region_database_urls[region]
        user = quote(self.postgres_user, safe="")
        password = quote(self.postgres_password.get_secret_value(), safe="")
        database = self.region_databases.get(region, f"leaderboard_{region.lower()}")
        return f"postgresql://{user}:{password}@{self.postgres_host}:{self.postgres_port}/{quote(database, safe='')}"

    def redis_variable_of(self, region: str) -> str:
        """The variable that decides a region's Redis, for messages."""
        return f"REDIS_URL_{region}" if region in self.region_redis_urls else "REDIS_URL"

    def database_variable_of(self, region: str) -> str:
        """The variable that decides a region's Postgres, for messages."""
        return f"DATABASE_URL_{region}" if region in self.region_database_urls else "POSTGRES_HOST/POSTGRES_PORT"


class AuthSettings(Group):
    """How tokens are signed and which accounts may be entered."""

    jwt_secret: SecretStr = Field(
        SecretStr(""),
        description="Secret that signs tokens (HS256), at least 32 bytes; the same in every process.",
    )
    jwt_secret_file: Path | None = Field(None, description="File to read JWT_SECRET from instead.")
    jwt_ttl_seconds: int = Field(86_400, ge=1, description="Life of a token.")
    auth_require_password: bool = Field(False, description="Refuse registration and login without a password.")

    @model_validator(mode="before")
    @classmethod
    def _read_secret_file(cls, values: dict[str, Any]) -> dict[str, Any]:
        path = values.get("jwt_secret_file")
        if not path or values.get("jwt_secret"):
            return values
        try:
            secret = Path(path).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"JWT_SECRET_FILE: cannot read {path}: {error}.") from error
        return {**values, "jwt_secret": secret}

    @model_validator(mode="after")
    def _check_secret(self) -> Self:
        secret = self.jwt_secret.get_secret_value()
        remedy = f"Set JWT_SECRET (or JWT_SECRET_FILE) to a random value of your own: {SECRET_COMMAND}"
        if not secret:
            raise ValueError(f"JWT_SECRET: is not set. {remedy}")
        if len(secret.encode()) < 32:
            raise ValueError(f"JWT_SECRET: is shorter than 32 bytes. {remedy}")
        if len(set(secret)) < 8 or any(part in secret.lower() for part in _PLACEHOLDER_PARTS):
            raise ValueError(f"JWT_SECRET: is a placeholder or easy to guess. {remedy}")
        return self


class LimitSettings(Group):
    """What protects the system: token buckets, backpressure, idempotency."""

    user_rate_limit_count: int = Field(100, ge=1, description="Score writes a player may make in a burst.")
    user_rate_limit_window: int = Field(10, ge=1, le=86_400, description="Seconds in which an empty user bucket fills.")
    region_rate_limit_per_sec: int = Field(20_000, ge=1, description="Score writes per second into one region.")
    login_rate_limit_count: int = Field(10, ge=1, description="Failed logins into one account in a burst.")
    login_rate_limit_window: int = Field(
        60, ge=1, le=86_400, description="Seconds in which an empty bucket of login tries fills."
    )
    queue_reject_length: int = Field(
        500_000, ge=1, description="Length of a region's queue at which writes get 429 queue_full."
    )
    idempotency_ttl_seconds: int = Field(86_400, ge=1, description="How long an Idempotency-Key's answer is kept.")

    @model_validator(mode="after")
    def _check_exactness(self) -> Self:
        if self.user_rate_limit_count * self.user_rate_limit_window * 1_000_000 > MAX_EXACT_INTEGER:
            raise ValueError("USER_RATE_LIMIT_COUNT: times USER_RATE_LIMIT_WINDOW must stay under 9,000,000,000.")
        if self.region_rate_limit_per_sec * 1_000_000 > MAX_EXACT_INTEGER:
            raise ValueError("REGION_RATE_LIMIT_PER_SEC: must stay under 9,000,000,000.")
        return self


class StreamSettings(Group):
    """The live streams of a replica."""

    stream_interval_ms: int = Field(
        250, ge=10, le=60_000, description="Shortest time between two events of a live stream."
    )
    stream_heartbeat_seconds: float = Field(
        15,
        gt=0,
        le=60,
        description="Longest silence of a live stream, filled by a comment; the same in services and gateways.",
    )
    stream_slow_seconds: float = Field(
        10, gt=0, description="How long a listener may take nothing before it is cut off."
    )
    stream_max_listeners: int = Field(10_000, ge=0, description="Live streams of one replica; more get 503.")


class WorkerSettings(Group):
    """How the worker moves events from the queues to Postgres."""

    batch_size: int = Field(500, ge=1, le=20_000, description="Most events in one upsert.")
    batch_linger_ms: int = Field(
        50,
        ge=0,
        le=1000,
        description="How long a small batch waits for company: fewer, larger upserts, and rows that much later.",
    )
    worker_timeout_seconds: int = Field(
        15, ge=2, description="Silence after which a worker counts as dead and its events are taken over."
    )


class GatewaySettings(Group):
    """Upstreams of the gateway and its limits."""

    leaderboard_service_urls: Annotated[tuple[HttpUrl, ...], BeforeValidator(_split_urls)] = Field(
        ("http://127.0.0.1:5001", "http://127.0.0.1:5002", "http://127.0.0.1:5003"),
        min_length=1,
        description="Service replicas, separated by commas.",
    )
    upstream_connect_timeout_seconds: float = Field(1, gt=0, description="Longest wait for a connection.")
    upstream_timeout_seconds: float = Field(15, gt=0, description="Longest wait for a service's next bytes.")
    client_timeout_seconds: float = Field(15, gt=0, description="Longest wait for a client's next body bytes.")
    health_check_interval_seconds: float = Field(1, gt=0, description="Pause between two health checks.")


GroupT = TypeVar("GroupT", bound=Group)

GROUPS: tuple[type[Group], ...] = (
    ProcessSettings,
    TracingSettings,
    TopologySettings,
    AuthSettings,
    LimitSettings,
    StreamSettings,
    WorkerSettings,
    GatewaySettings,
)


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
    if not item["loc"]:
        return str(item["msg"]).removeprefix("Value error, ")
    field, *rest = item["loc"]
    prefix = PER_REGION_PREFIXES.get(field)
    variable = f"{prefix}{rest[0]}" if prefix and rest else str(field).upper()
    return f"{variable}: {item['msg']}. {group.model_fields[field].description}"
