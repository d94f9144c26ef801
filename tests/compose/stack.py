"""Control a compose project with its own name and free ports, and none of the developer's settings."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from leaderboard_cli.cluster.ports import find_free_ports
from tests.compose.commands import ROOT, StepFailedError, run, say
from tests.support import waiting

COMPOSE_FILE = ROOT / "docker-compose.yml"
PORT_VARIABLES = (
    "LEADERBOARD_PORT",
    "LEADERBOARD_GATEWAY_PORT_1",
    "LEADERBOARD_GATEWAY_PORT_2",
    "LEADERBOARD_GATEWAY_PORT_3",
)
BUILD_SECONDS = 600.0  # the first build downloads the dependencies
UP_SECONDS = 180.0
DOWN_SECONDS = 120.0
COMMAND_SECONDS = 60.0


class Stack:
    """The project `name`; `url` is its NGINX. Every method raises StepFailedError."""

    def __init__(self, name: str) -> None:
        self.name = name
        ports = dict(zip(PORT_VARIABLES, find_free_ports(len(PORT_VARIABLES)), strict=True))
        self.url = f"http://127.0.0.1:{ports['LEADERBOARD_PORT']}"
        # Variables of the compose file and of compose come from here, not from the caller's shell.
        ours = set(re.findall(r"\$\{([A-Z][A-Z0-9_]*)", COMPOSE_FILE.read_text("utf-8")))
        kept = {key: value for key, value in os.environ.items() if key not in ours and not key.startswith("COMPOSE_")}
        own = {"LEADERBOARD_ENV_FILE": os.devnull, "LEADERBOARD_NETWORK": f"172.16.{os.getpid() % 256}"}
        self.env = {**kept, **{key: str(port) for key, port in ports.items()}, **own}

    def compose(self, *arguments: str, seconds: float = COMMAND_SECONDS, capture: bool = False) -> str:
        """Run `docker compose` on this project, without the developer's .env."""
        options = ("--ansi", "never", "--env-file", os.devnull, "--file", str(COMPOSE_FILE), "-p", self.name)
        return run(["docker", "compose", *options, *arguments], env=self.env, seconds=seconds, capture=capture)

    def docker(self, *arguments: str, seconds: float = COMMAND_SECONDS) -> str:
        return run(["docker", *arguments], env=self.env, seconds=seconds, capture=True).strip()

    def up(self) -> None:
        """Build, start, and return when every container is healthy."""
        self.compose("build", seconds=BUILD_SECONDS)
        self.compose("up", "--build", "--wait", "--quiet-pull", seconds=UP_SECONDS)

    def down(self) -> None:
        """Remove containers, networks, volumes and the image built for this project."""
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "10", seconds=DOWN_SECONDS)
        image = f"{self.name}-app"
        if self.docker("image", "ls", "--quiet", image):
            self.docker("image", "rm", "--force", image)

    def show_logs(self, lines: int = 40) -> None:
        """Print the containers' states and last log lines."""
        self.compose("ps", "--all")
        self.compose("logs", "--no-color", "--timestamps", "--tail", str(lines))

    def psql(self, database: str, statement: str) -> str:
        """Run a statement by psql in the Postgres container; return its output."""
        command = ("psql", "--no-psqlrc", "-U", "postgres", "-d", database, "-v", "ON_ERROR_STOP=1", "-c", statement)
        return self.inside("postgres", *command)

    def psql_rows(self, database: str, statement: str) -> list[list[str]]:
        """Return the rows of a query, each a list of texts."""
        wrapped = f"COPY ({statement}) TO STDOUT"
        return [line.split("\t") for line in self.psql(database, wrapped).splitlines()]

    def inside(self, service: str, *command: str) -> str:
        """Run a command in a running container; return its output."""
        return self.compose("exec", "--no-TTY", service, *command, capture=True).strip()

    def container(self, service: str) -> str:
        """Return the id of a service's container, running or not."""
        found = self.compose("ps", "--all", "--quiet", service, capture=True).split()
        if len(found) != 1:
            raise StepFailedError(f"{service} has {len(found)} containers, not one")
        return found[0]

    def kill(self, service: str) -> None:
        """Kill a container; the engine does not restart it after this."""
        self.docker("kill", "--signal", "KILL", self.container(service))

    def start(self, service: str) -> None:
        """Start one stopped container and return when it is healthy."""
        self.compose("up", "--wait", "--no-deps", "--no-build", "--no-recreate", service, capture=True)

    def recreate(self, service: str) -> None:
        """Put a new container in the place of a running one, and nothing else, and return when it is healthy."""
        self.compose("up", "--wait", "--no-deps", "--no-build", "--force-recreate", service, capture=True)

    def crash(self, service: str) -> None:
        """Kill a container's process from inside, and return when the engine has started it again by itself."""
        container = self.container(service)
        before = self._restarts_and_health(container)[0]
        # The command may die of its own signal: only the restart that follows counts.
        self.inside(service, "sh", "-c", "kill -9 -1 || true")

        def healthy_again() -> bool:
            restarts, health = self._restarts_and_health(container)
            return restarts > before and health == "healthy"

        wait_until(healthy_again, f"the engine has started {service} again and it is healthy", seconds=60)

    def _restarts_and_health(self, container: str) -> tuple[int, str]:
        form = "{{.RestartCount}} {{.State.Health.Status}}"
        restarts, health = self.docker("inspect", "--format", form, container).split()
        return int(restarts), health


def wait_until(condition: Callable[[], bool], what: str, *, seconds: float) -> None:
    """Wait for a condition, announced by a line. Raises StepFailedError after `seconds`."""
    say(f"waiting until {what}")
    try:
        waiting.wait_until(condition, what, seconds=seconds)
    except AssertionError as error:
        raise StepFailedError(str(error)) from None
