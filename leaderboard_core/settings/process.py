"""Settings that every process has: where it listens, what it accepts, where its traces go."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

from pydantic import Field

from leaderboard_core.settings.addresses import CollectorUrl, HostNames, Networks, Origins
from leaderboard_core.settings.loading import Group


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
    client_timeout_seconds: float = Field(
        15,
        gt=0,
        description="Longest wait for a request's head, and for the next bytes of its body, which has twice as long "
        "for all of them; then it is 408.",
    )
    trusted_proxies: Networks = Field(
        (ip_network("127.0.0.0/8"), ip_network("::1/128")),
        description="Addresses and networks, separated by commas, whose X-Forwarded-For is believed; Unix sockets are.",
    )
    cors_origins: Origins = Field(
        (),
        description="Other sites whose pages may call the API (CORS), separated by commas, as in https://play.example.",
    )
    allowed_hosts: HostNames = Field(
        (), description="The only hosts that calls which change something may name, separated by commas; default any."
    )
    serve_docs: bool = Field(True, description="Let services answer /docs and /openapi.json; else they are 404.")
    instance_name: str = Field("", description="Name in logs and health answers; default <process>-<port>.")
    start_timeout_seconds: float = Field(
        15, gt=0, description="How long a starting process waits for Redis and Postgres before it gives up."
    )


class TracingSettings(Group):
    """Where traces go."""

    otel_exporter_otlp_endpoint: CollectorUrl = Field(
        "", description="OTLP/HTTP collector that gets traces, such as http://127.0.0.1:4318; needs the extra otel."
    )
