"""Which variables of the environment, read by libraries of their own accord, are kept out of our processes."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Final

FOREIGN: Final = {
    **dict.fromkeys(
        (
            *("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGPASSFILE", "PGDATABASE", "PGSERVICE", "PGSERVICEFILE"),
            *("PGSSLMODE", "PGSSLNEGOTIATION", "PGSSLROOTCERT", "PGSSLCRL", "PGSSLKEY", "PGSSLCERT"),
            *("PGSSLMINPROTOCOLVERSION", "PGSSLMAXPROTOCOLVERSION", "PGTARGETSESSIONATTRS"),
            *("PGKRBSRVNAME", "PGGSSLIB"),
        ),
        "asyncpg would mix them with POSTGRES_* and DATABASE_URL_<REGION>, which take `?sslmode=` and the like",
    ),
    "WEB_CONCURRENCY": "uvicorn would take it for its workers; a replica is one process",
    "FORWARDED_ALLOW_IPS": "uvicorn's list of proxies; ours is TRUSTED_PROXIES",
    "PROMETHEUS_MULTIPROC_DIR": "metrics would go into files of all processes together",
    "prometheus_multiproc_dir": "the older name of PROMETHEUS_MULTIPROC_DIR",
}
"""By name, with the reason."""


def keep_out(environ: MutableMapping[str, str]) -> list[str]:
    """Remove what FOREIGN names; returns the names of what was there."""
    return [name for name in FOREIGN if environ.pop(name, None) is not None]
