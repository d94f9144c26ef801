"""Settings of regions, and of the Redis and Postgres that serve each of them."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, field_validator

from leaderboard_core.settings.addresses import DatabaseUrl, RedisUrls, ServerHost
from leaderboard_core.settings.loading import PER_REGION_PREFIXES, Group
from leaderboard_core.settings.redis_endpoints import RedisEndpoint, parse_endpoints

RegionName = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_-]{0,49}$")]


def _split_names(value: object) -> object:
    return [part.strip().upper() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class TopologySettings(Group):
    """Regions, and the Redis shard and Postgres database that serve each of them."""

    regions: Annotated[tuple[RegionName, ...], BeforeValidator(_split_names)] = Field(
        ("ASIA", "EU", "NA", "GLOBAL"),
        min_length=1,
        description="Regions, separated by commas; GLOBAL is always one.",
    )
    redis_url: RedisUrls = Field(
        "redis://127.0.0.1:6379/0",
        description="Redis of every region that has no REDIS_URL_<REGION>; several, separated by commas, each hold "
        "a part of the players; redis+cluster:// and redis+sentinel:// name nodes (docs/operations.md).",
    )
    redis_timeout_seconds: float = Field(
        5,
        gt=0,
        le=60,
        description="Longest wait for one answer from Redis; more than a slow fsync holds Redis up.",
    )
    redis_wait_replicas: int = Field(
        0,
        ge=0,
        le=100,
        description="Replicas of each Redis that must have a write before it is answered, within half of "
        "REDIS_TIMEOUT_SECONDS; else 503.",
    )
    redis_wait_fsync: bool = Field(
        False, description="Whether they, and the Redis itself, must have it on their disks (WAITAOF)."
    )
    redis_max_connections: int = Field(64, ge=1, description="Connections of one process to one Redis.")
    postgres_host: ServerHost = Field(
        "127.0.0.1", description="Host of the Postgres server, or the folder of its Unix socket."
    )
    postgres_port: int = Field(5432, ge=1, le=65535, description="Port of the Postgres server.")
    postgres_user: str = Field("postgres", description="Postgres user.")
    postgres_password: SecretStr = Field(SecretStr("postgres"), description="Password of POSTGRES_USER.")
    postgres_timeout_seconds: float = Field(5, gt=0, description="Longest wait for one statement or connection.")
    postgres_pool_size: int = Field(4, ge=1, description="Connections of one process to one region's database.")
    postgres_statement_cache: int = Field(
        100,
        ge=0,
        description="Prepared statements that a connection keeps; 0 for a pooler in transaction mode (PgBouncer).",
    )
    region_redis_urls: dict[str, RedisUrls] = Field(
        default_factory=dict, description="REDIS_URL_<REGION>: another Redis for this region."
    )
    region_databases: dict[str, str] = Field(
        default_factory=dict,
        description="PG_DATABASE_<REGION>: database name; default leaderboard_<region>.",
    )
    region_database_urls: dict[str, DatabaseUrl] = Field(
        default_factory=dict, description="DATABASE_URL_<REGION>: a whole DSN for this region's database."
    )

    @field_validator("regions")
    @classmethod
    def _check_regions(cls, regions: tuple[str, ...]) -> tuple[str, ...]:
        if "GLOBAL" not in regions:
            raise ValueError("REGIONS: add GLOBAL, the board that ranks every player.")
        if len(set(regions)) != len(regions):
            raise ValueError("REGIONS: a region is named twice.")
        return regions

    @field_validator("redis_wait_fsync")
    @classmethod
    def _check_fsync(cls, fsync: bool, info: ValidationInfo) -> bool:
        if fsync and info.data.get("redis_wait_replicas") == 0:
            raise ValueError("REDIS_WAIT_FSYNC: it says how replicas keep a write; set REDIS_WAIT_REPLICAS as well.")
        return fsync

    @field_validator(*PER_REGION_PREFIXES)
    @classmethod
    def _check_names(cls, given: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        regions: tuple[str, ...] = info.data.get("regions", ())
        for region in given:
            if regions and region not in regions:
                prefix, known = PER_REGION_PREFIXES[str(info.field_name)], ", ".join(regions)
                raise ValueError(f"{prefix}{region}: there is no region {region}; REGIONS has {known}.")
        return given

    def redis_url_of(self, region: str) -> str:
        """What the variable of a region's Redis says: one URL, or several with commas between them."""
        return self.region_redis_urls.get(region, self.redis_url)

    def redis_endpoints_of(self, region: str) -> tuple[RedisEndpoint, ...]:
        """Where a region's Redis are: of a list, each endpoint is a partition; a cluster is one endpoint of several."""
        return parse_endpoints(self.redis_url_of(region))

    def database_url_of(self, region: str) -> str:
        """The DSN of a region's Postgres database."""
        if region in self.region_database_urls:
            return self.region_database_urls[region]
        user = quote(self.postgres_user, safe="")
        password = quote(self.postgres_password.get_secret_value(), safe="")
        database = self.region_databases.get(region, f"leaderboard_{region.lower()}")
        host, port, name = self.postgres_host, self.postgres_port, quote(database, safe="")
        if host.startswith("/"):
            return f"postgresql://{user}:{password}@/{name}?host={quote(host, safe='/')}&port={port}"
        return f"postgresql://{user}:{password}@{f'[{host}]' if ':' in host else host}:{port}/{name}"

    def redis_variable_of(self, region: str) -> str:
        """The variable that decides a region's Redis, for messages."""
        return f"REDIS_URL_{region}" if region in self.region_redis_urls else "REDIS_URL"

    def database_variable_of(self, region: str) -> str:
        """The variable that decides a region's Postgres, for messages."""
        return f"DATABASE_URL_{region}" if region in self.region_database_urls else "POSTGRES_HOST/POSTGRES_PORT"
