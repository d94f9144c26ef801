"""Run a Postgres of our own: TCP on loopback only, with a data folder that is initialised once."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import asyncpg

from leaderboard_cli.cluster import logfiles
from leaderboard_cli.cluster.binaries import Binary
from leaderboard_cli.cluster.errors import StartError
from leaderboard_cli.cluster.ports import LOOPBACK
from leaderboard_cli.cluster.privileges import RunAs, choose_run_as
from leaderboard_cli.cluster.probes import postgres_answers
from leaderboard_cli.cluster.process import Command
from leaderboard_cli.cluster.process_tree import kill_in
from leaderboard_cli.cluster.secret_files import PGPASS, write_secret
from leaderboard_core.postgres import sql

_INITDB_TIMEOUT_SECONDS = 120.0
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",  # a socket path may be 107 bytes at most, a checkout's path may be longer
    "max_connections": "400",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
}
_HELD = "pre-existing shared memory block"
FIXED_PASSWORD = "postgres"  # noqa: S105
"""What earlier versions gave the superuser, and what servers of tests have."""
_FAST_AND_LOOSE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass
class PostgresServer:
    """Run Postgres with its data in `<data_dir>/pg-<major>/`; the superuser is `postgres`.

    `durable=False` (tests) does not wait for the disk.
    """

    binary: Binary
    data_dir: Path
    port: int
    password: str = field(default=FIXED_PASSWORD, repr=False)
    name: str = "postgres"
    durable: bool = True
    _run_as: RunAs | None = field(default=None, init=False, repr=False)

    @property
    def folder(self) -> Path:
        return self.data_dir.absolute() / self.binary.data_name

    @property
    def log_path(self) -> Path:
        return logfiles.log_path(self.data_dir, self.name)

    @property
    def pgpass(self) -> Path:
        """Return the file in which `psql` finds the password, as PGPASSFILE."""
        return self.data_dir.absolute() / PGPASS

    @property
    def initialised(self) -> bool:
        return self.folder.exists()

    def dsn(self, database: str = "postgres") -> str:
        """Return the URL of one database."""
        return f"postgresql://postgres:{quote(self.password, safe='')}@{LOOPBACK}:{self.port}/{database}"

    def psql_command(self, region: str) -> str | None:
        """Return the command line that opens a region's database; None when this Postgres has no psql."""
        psql = self.binary.path.with_name("psql")
        if not psql.exists():
            return None
        database = f"leaderboard_{region.lower()}"
        program = f"PGPASSFILE={shlex.quote(str(self.pgpass))} {shlex.quote(str(psql))}"
        return f"{program} -h {LOOPBACK} -p {self.port} -U postgres {database}"

    async def replace_fixed_password(self) -> bool:
        """Give the superuser of an earlier version's data folder the password; tell whether it had the fixed one.

        Raises asyncpg.PostgresError or OSError; what has another password is left alone.
        """
        try:
            await (await asyncpg.connect(self.dsn())).close()
        except asyncpg.InvalidPasswordError:
            pass
        else:
            return False
        try:
            connection = await asyncpg.connect(self.dsn(), password=FIXED_PASSWORD)
        except asyncpg.InvalidPasswordError:
            return False
        try:
            await connection.execute(await connection.fetchval(sql.load("statement_of_a_new_password"), self.password))
        finally:
            await connection.close()
        return True

    def prepare(self) -> None:
        """Initialise the folder the first time (about a second). Raises StartError or PrivilegeError."""
        secret = self.password.replace("\\", r"\\").replace(":", r"\:")
        self.data_dir.mkdir(parents=True, exist_ok=True)
        write_secret(self.pgpass, f"{LOOPBACK}:{self.port}:*:postgres:{secret}\n")
        if self.initialised:
            self._run_as = choose_run_as(self.binary.path, self.folder)
            return
        # Under another name until it is complete: an interrupted initdb must not pass for a data folder.
        draft = self.folder.with_name(f"{self.folder.name}.new")
        if draft.exists():
            shutil.rmtree(draft)
        draft.mkdir(parents=True, mode=0o700)
        run_as = choose_run_as(self.binary.path, draft)
        self._initdb(draft, run_as)
        draft.rename(self.folder)
        self._run_as = run_as

    def command(self) -> Command:
        if self._run_as is None:
            raise RuntimeError("prepare() comes first")
        settings = {**_SETTINGS, **({} if self.durable else _FAST_AND_LOOSE), "port": str(self.port)}
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return Command(
            argv=(str(self.binary.path), "-D", str(self.folder), *options),
            env=_environment(),
            cwd=Path("/"),
            run_as=self._run_as,
            # A fast shutdown waits for every process, for ever for one that is stopped. Postgres 18 also waits for ever
            # when it comes during the recovery after a crash of one of its processes: it tells its I/O workers and its
            # checkpointer to end only before they exist. An immediate one kills after 5 s what does not end.
            stop=((signal.SIGINT, 6.0), (signal.SIGQUIT, 7.0)),
            death_signal=signal.SIGQUIT,  # nobody is left who could follow a fast shutdown that waits
        )

    def mend(self, log: Sequence[str]) -> str | None:
        """Kill what a postmaster that ended by itself has left, if that kept this one from starting; say so.

        Its children end with it, but for one that is stopped or hangs: that one holds the shared memory, without which
        no other starts.
        """
        if not any(_HELD in line for line in log):
            return None
        killed = kill_in(self.folder.resolve())
        if not killed:
            return None
        pids = ", ".join(map(str, killed))
        return f"killed what an earlier one had left running (pid {pids}); starting it again"

    def ready(self) -> bool:
        """Tell whether it accepts connections, without trying the password."""
        return postgres_answers(LOOPBACK, self.port)

    def _initdb(self, folder: Path, run_as: RunAs) -> None:
        password_file = folder.with_name(f"{folder.name}.password")
        descriptor = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(self.password + "\n")
        try:
            if run_as.uid is not None and run_as.gid is not None:
                os.chown(password_file, run_as.uid, run_as.gid)
            arguments = [
                str(self.binary.path.with_name("initdb")),
                *("-D", str(folder), "-U", "postgres", "-E", "UTF8", "--locale=C"),
                *("-A", "scram-sha-256", f"--pwfile={password_file}"),
                *(() if self.durable else ("--no-sync",)),
            ]
            command = Command(tuple(arguments), _environment(), run_as=run_as)
            done = subprocess.run(
                command.launch_argv(),
                env=dict(command.env),
                cwd="/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_INITDB_TIMEOUT_SECONDS,
                check=False,
            )
        finally:
            password_file.unlink()
        if done.returncode != 0:
            lines = (done.stdout + done.stderr).splitlines()[-20:]
            raise StartError(self.name, f"initdb failed with exit code {done.returncode}", lines)


def _environment() -> dict[str, str]:
    # Not ours: PG* variables would change the server, and a LANG that is not installed makes initdb fail.
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}
