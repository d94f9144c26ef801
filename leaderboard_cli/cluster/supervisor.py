"""Start the processes of a local cluster in order, keep them running, and stop them in reverse."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import time
from collections.abc import Mapping

import asyncpg

from leaderboard_cli.cluster import state
from leaderboard_cli.cluster.environment import DOTENV, read_environment, user_environment
from leaderboard_cli.cluster.errors import ClusterError
from leaderboard_cli.cluster.logfiles import Follower, rotate
from leaderboard_cli.cluster.output import Output, Show
from leaderboard_cli.cluster.pidfile import PidFile, exclusive
from leaderboard_cli.cluster.plan import AppServer, ClusterOptions, Plan, make_plan
from leaderboard_cli.cluster.ports import check_ports
from leaderboard_cli.cluster.postgres_server import PostgresServer
from leaderboard_cli.cluster.process import Child
from leaderboard_cli.cluster.redis_server import RedisServer
from leaderboard_cli.cluster.server import Server
from leaderboard_cli.console import called_as
from leaderboard_cli.data_folder import VARIABLE, data_folder
from leaderboard_core.errors import Unavailable
from leaderboard_core.postgres.migrations import migrate_all
from leaderboard_core.settings import SettingsError

START_SECONDS = 40.0
_FOLLOW_SECONDS = 0.1
_POLLS_AT_ONCE = 8
_RECORD_AGAIN_SECONDS = 1.0
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_cluster(options: ClusterOptions, environ: Mapping[str, str], output: Output) -> int:
    """Run a cluster until a signal ends it; return the exit code, 0 after a clean stop, 1 after a failure."""
    try:
        # As root's children Postgres and NGINX' workers are other users, who must get in.
        options.data_dir.mkdir(mode=0o755 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
        with exclusive(options.data_dir):
            pid_file = PidFile(options.data_dir)
            state.remove(options.data_dir)  # one of a killed supervisor would still say that everything is ready
            if ended := pid_file.end_leftovers():
                output.note(f"ended what an earlier run left behind: {', '.join(ended)}")
            plan = make_plan(options, read_environment(environ, DOTENV))
            check_ports(plan.needs)
            return asyncio.run(Supervisor(plan, pid_file, output).run())
    except (ClusterError, SettingsError) as error:
        output.error(str(error))
    except OSError as error:
        output.error(f"{options.data_dir}: {error}")
    return 1


class Supervisor:
    """Run one cluster from start to stop; for a single call of `run()`."""

    def __init__(self, plan: Plan, pid_file: PidFile, output: Output) -> None:
        self._plan = plan
        self._pid_file = pid_file
        self._output = output
        self._state: state.State = "starting"
        self._layers: list[list[Child]] = []
        self._loaded: dict[str, Child] = {}  # until their layers start
        self._stop = asyncio.Event()
        self._unwritten_since: float | None = None
        output.name_processes(server.name for server in plan.all_servers)
        sink = None if output.show is Show.NONE else output.log_lines
        self._followers = [Follower(server.name, server.log_path, sink) for server in plan.all_servers]

    async def run(self) -> int:
        """Start, watch and stop the cluster; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            # `nohup` means what it says; an ignored SIGINT is only how shells start a background job.
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, self._on_signal)
        for server in self._plan.all_servers:
            rotate(server.log_path)
        follow = asyncio.create_task(self._follow(), name="follow the logs")
        code = 0
        try:
            await self._start_and_watch()
        except ClusterError as error:
            code = 1
            self._stop.set()  # from here on a signal stops at once
            self._poll_logs()
            self._output.error(str(error))
        finally:
            await self._stop_all()
            follow.cancel()
            await asyncio.gather(follow, return_exceptions=True)
            self._poll_logs()
        self._output.note("stopped" if code == 0 else "stopped after a failure")
        return code

    async def _start_and_watch(self) -> None:
        """Return when a stop is requested. Raises ClusterError when something cannot start."""
        stop = asyncio.create_task(self._stop.wait(), name="stop asked for")
        start = asyncio.create_task(self._start_all(), name="start")
        await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not start.done():
            self._output.note("stopping before everything had started")
            start.cancel()
            await asyncio.gather(start, return_exceptions=True)
            return
        start.result()
        keepers = {child.keeper for layer in self._layers for child in layer if child.keeper is not None}
        done, _ = await asyncio.wait({stop, *keepers}, return_when=asyncio.FIRST_COMPLETED)
        for keeper in done & keepers:
            keeper.result()
        stop.cancel()

    async def _start_all(self) -> None:
        began = time.monotonic()
        self._output.note(f"data in {self._plan.options.data_dir.absolute()}")
        others = "" if self._plan.options.stores_only else " and our own processes"
        self._output.note(f"starting {', '.join(self._plan.programs)}{others} …")
        for remark in self._plan.remarks:
            self._output.note(remark)
        stores, *rest = self._plan.layers
        ours = (server for layer in rest for server in layer if isinstance(server, AppServer))
        self._loaded = {server.name: self._child(server) for server in ours}
        load = asyncio.create_task(self._load(), name="load")
        try:
            await self._start_layer(stores)
            if (cluster := self._plan.redis_cluster) is not None:
                await asyncio.to_thread(cluster.form)
            await self._migrate()
            for layer in rest:
                await self._start_layer(layer)
        finally:
            load.cancel()
            await asyncio.gather(load, return_exceptions=True)
        self._state = "ready"
        self._write_state()
        seconds = time.monotonic() - began
        if self._plan.options.stores_only:
            self._output.note(f"Redis and Postgres alone are ready after {seconds:.1f} s  (Ctrl-C stops them)")
            return
        self._output.note(f"ready after {seconds:.1f} s at {self._plan.url}  (Ctrl-C stops everything)")
        self._output.pairs(self._next_steps())

    def _next_steps(self) -> list[tuple[str, str]]:
        """Build what a person needs at first: what to type, and where things are."""
        folder = self._plan.options.data_dir.absolute()
        usual = data_folder(user_environment()).absolute()
        # Else the command would find another system, or none.
        command = called_as() if folder == usual else f"{VARIABLE}={shlex.quote(str(folder))} {called_as()}"
        rows = [
            (f"{command} seed 1000", "adds players to look at"),
            (f"{command} status", "says what runs, and whether everything is saved"),
            (f"{command} token my-server --role server", "prints a token for your game server"),
        ]
        postgres = self._plan.postgres
        if postgres is not None and (psql := postgres.psql_command(self._plan.topology.regions[0])):
            rows.append(("Postgres", psql))
        return [*rows, ("logs", f"{folder / 'logs'}"), ("addresses", f"{folder / state.STATE_NAME}")]

    async def _load(self) -> None:
        """Let our own processes do their imports, one after the other: the stores' start leaves a core idle."""
        for name, child in list(self._loaded.items()):
            if name in self._loaded:
                await child.load()

    async def _start_layer(self, servers: tuple[Server, ...]) -> None:
        layer: list[Child] = []
        self._layers.append(layer)
        starts = [asyncio.create_task(self._start(server, layer)) for server in servers]
        try:
            for next_done in asyncio.as_completed(starts):
                await next_done
        finally:
            for start in starts:
                start.cancel()
            await asyncio.gather(*starts, return_exceptions=True)

    async def _start(self, server: Server, layer: list[Child]) -> None:
        # In a thread, as initdb takes a second; the process itself is started from this thread, with which
        # it ends.
        await asyncio.to_thread(server.prepare)
        child = self._loaded.pop(server.name, None) or self._child(server)
        layer.append(child)
        await child.start(START_SECONDS)

    def _child(self, server: Server) -> Child:
        return Child(
            server.name,
            server.command(),
            server.log_path,
            server.ready,
            on_change=lambda _: self._write_state(),
            note=self._output.note,
            mend=server.mend if isinstance(server, RedisServer | PostgresServer) else None,
        )

    @property
    def _children(self) -> list[Child]:
        return [*self._loaded.values(), *(child for layer in self._layers for child in layer)]

    async def _migrate(self) -> None:
        try:
            postgres = self._plan.postgres
            if postgres is not None and await postgres.replace_fixed_password():
                self._output.note("Postgres' superuser had the fixed password of earlier versions, and has a new one")
            applied = await migrate_all(self._plan.topology, indexes=False)  # the worker builds those
        except asyncpg.InvalidPasswordError as error:
            raise ClusterError(
                f"Postgres refuses the password: {error}.\n"
                "The data folder keeps the POSTGRES_PASSWORD it was first started with; set that one again, "
                "or choose another --data-dir"
            ) from error
        except (asyncpg.PostgresError, OSError, TimeoutError) as error:
            hint = "" if self._plan.postgres else "; check POSTGRES_HOST, POSTGRES_PORT and DATABASE_URL_<REGION>"
            raise ClusterError(f"migrations failed: {error or type(error).__name__}{hint}") from error
        except Unavailable as error:
            raise ClusterError(f"migrations failed: {error}") from error
        count = sum(map(len, applied.values()))
        if count:
            self._output.note(f"{count} migrations applied")

    async def _stop_all(self) -> None:
        self._state = "stopping"
        if any(child.pid is not None for child in self._children):
            self._output.note("stopping …")
        for layer in reversed([*self._layers, list(self._loaded.values())]):
            results = await asyncio.gather(*(child.stop() for child in layer), return_exceptions=True)
            for child, result in zip(layer, results, strict=True):
                if isinstance(result, BaseException):
                    self._output.error(f"{child.name} could not be stopped: {result!r}")
        self._unwritten_since = None  # nothing runs that would have to be recorded
        state.remove(self._plan.options.data_dir)
        self._pid_file.end_leftovers()

    def _on_signal(self) -> None:
        if self._stop.is_set():
            self._output.note("killing what still runs")
            for child in self._children:
                child.kill()
        self._stop.set()

    def _write_state(self) -> None:
        """Record what runs; where that cannot be written, say so once and try again until it can."""
        try:
            self._write_records()
        except OSError as error:
            if self._unwritten_since is None:
                self._output.error(f"what runs cannot be recorded, and is tried again: {error}")
            self._unwritten_since = time.monotonic()
            return
        if self._unwritten_since is not None:
            self._unwritten_since = None
            self._output.note("what runs is recorded again")

    def _write_records(self) -> None:
        children = self._children
        self._pid_file.write((child.name, child.pid) for child in children if child.pid is not None)
        pids = {server.name: None for server in self._plan.all_servers} | {child.name: child.pid for child in children}
        state.write(self._plan, pids, self._state)

    async def _follow(self) -> None:
        while True:
            for follower in self._followers:
                for _ in range(_POLLS_AT_ONCE):
                    if not follower.poll():
                        break
            if self._unwritten_since is not None and time.monotonic() > self._unwritten_since + _RECORD_AGAIN_SECONDS:
                self._write_state()
            await asyncio.sleep(_FOLLOW_SECONDS)

    def _poll_logs(self) -> None:
        for follower in self._followers:
            while follower.poll():
                pass
