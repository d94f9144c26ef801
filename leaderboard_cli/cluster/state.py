"""Write what runs where to `<data folder>/cluster.json`, for tests and tools."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from leaderboard_cli.cluster.pidfile import write_json
from leaderboard_cli.cluster.plan import Plan
from leaderboard_cli.cluster.ports import LOOPBACK

STATE_NAME = "cluster.json"
State = Literal["starting", "ready", "stopping"]


def describe(plan: Plan, pids: Mapping[str, int | None], state: State) -> dict[str, Any]:
    """Build the content of cluster.json; a pid is None between a crash and the restart."""
    ports = {server.name: server.port for server in plan.all_servers}
    stores = {server.name for server in (*plan.redis, plan.postgres) if server is not None}
    return {
        "state": state,
        "supervisor_pid": os.getpid(),
        "url": plan.url,
        "ports": ports,
        "urls": {name: f"http://{LOOPBACK}:{port}" for name, port in ports.items() if name not in stores},
        "pids": dict(pids),
        "logs": {server.name: str(server.log_path) for server in plan.all_servers},
        "redis_url": plan.topology.redis_url,
        "redis_urls": {region: plan.topology.redis_url_of(region) for region in plan.topology.regions},
        "postgres_dsn": plan.postgres.dsn() if plan.postgres else None,
        "databases": {region: plan.topology.database_url_of(region) for region in plan.topology.regions},
        "psql": plan.postgres.psql_command(plan.topology.regions[0]) if plan.postgres else None,
        "jwt_secret_file": plan.environ.get("JWT_SECRET_FILE"),
    }


def write(plan: Plan, pids: Mapping[str, int | None], state: State) -> None:
    """Replace cluster.json (readable by its owner only: it has the database password)."""
    write_json(plan.options.data_dir / STATE_NAME, describe(plan, pids, state))


def remove(data_dir: Path) -> None:
    """Delete cluster.json when nothing runs any more."""
    (data_dir / STATE_NAME).unlink(missing_ok=True)
