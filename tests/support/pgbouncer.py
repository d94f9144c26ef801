"""Run a PgBouncer in transaction mode before a Postgres, where the machine has one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from leaderboard_cli.cluster.ports import find_free_ports
from leaderboard_cli.cluster.probes import postgres_answers
from tests.support.waiting import wait_until

MISSING = "there is no pgbouncer on this machine (Debian: apt-get install pgbouncer)"
_STOP_SECONDS = 10.0


def find_pgbouncer() -> str | None:
    """Find the binary, also where only administrators have its folder in their PATH."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


@contextmanager
def pgbouncer(dsn: str, pool_size: int = 20) -> Iterator[str]:
    """Yield the DSN of a pooler that leads to every database of that server, a session for each transaction.

    With `pool_size` 1 every statement outside of a transaction meets the session that another client has just left.
    """
    binary = find_pgbouncer()
    assert binary is not None, MISSING
    parts = urlsplit(dsn)
    (port,) = find_free_ports(1)
    with tempfile.TemporaryDirectory(prefix="leaderboard-pgbouncer-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # it does not run as root
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": port,
            "unix_socket_dir": "",
            "pool_mode": "transaction",
            "auth_type": "any",
            "max_client_conn": 1000,
            "default_pool_size": pool_size,
            **({"user": "nobody"} if os.geteuid() == 0 else {}),
        }
        server = f"host={parts.hostname} port={parts.port} user={parts.username}"
        if parts.password:
            server += f" password={unquote(parts.password)}"
        lines = [
            "[databases]",
            f"* = {server}",
            "[pgbouncer]",
            *(f"{key} = {value}" for key, value in settings.items()),
        ]
        config, log = folder / "pgbouncer.ini", folder / "log"
        config.write_text("\n".join(lines) + "\n", "utf-8")
        config.chmod(0o644)
        with log.open("wb") as output:
            process = subprocess.Popen([binary, str(config)], stdout=output, stderr=subprocess.STDOUT)
        try:
            wait_until(
                lambda: process.poll() is None and postgres_answers("127.0.0.1", port),
                "PgBouncer",
                seconds=_STOP_SECONDS,
            )
            yield urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}"))
        except BaseException:
            print(log.read_text("utf-8", "replace"))  # noqa: T201 - pytest shows it with the failure
            raise
        finally:
            process.terminate()
            process.wait(_STOP_SECONDS)
