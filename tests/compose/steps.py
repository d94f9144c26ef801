"""Test the running stack, one function per step."""

from __future__ import annotations

import sys

import httpx

from tests.compose.commands import StepFailedError, run, say
from tests.compose.load import Load, Player, register
from tests.compose.stack import Stack, wait_until

DATABASES = {
    "ASIA": "leaderboard_asia",
    "EU": "leaderboard_eu",
    "NA": "leaderboard_na",
    "GLOBAL": "leaderboard_global",
}
REPLICAS = ("leaderboard-1", "leaderboard-2", "leaderboard-3")
SECRET_PATH = "/var/lib/leaderboard/jwt_secret"
ACCEPTANCE_SECONDS = 600.0


def acceptance_tests(stack: Stack) -> None:
    """The acceptance tests, against this stack and not a cluster of their own."""
    run(
        [sys.executable, "-m", "pytest", "tests/acceptance", "-m", "not local_cluster"],
        env={**stack.env, "ACCEPTANCE_URL": stack.url},
        seconds=ACCEPTANCE_SECONDS,
    )


def runs_as_user(stack: Stack) -> None:
    """None of our containers runs as root, and only its owner can read the signing secret."""
    for service in (*REPLICAS, "api-gateway-1", "worker"):
        if stack.inside(service, "id", "-u") == "0":
            raise StepFailedError(f"{service} runs as root")
    mode = stack.inside("leaderboard-1", "stat", "-c", "%a", SECRET_PATH)
    if mode != "600":
        raise StepFailedError(f"{SECRET_PATH} has mode {mode}, not 600")


def rows_in_every_database(stack: Stack) -> None:
    """A player of each region stands in the region's own database, and nowhere else."""
    players = register(stack.url, tuple(DATABASES), score=7)
    _wait_for_rows(stack, players, seconds=30)
    say("the databases, from inside the Postgres container:")
    shown = "SELECT user_id, name, region, score, updated_at FROM leaderboard ORDER BY updated_at DESC LIMIT 3"
    for database in DATABASES.values():
        say(f"{database}\n{stack.psql(database, shown)}")
        foreign = [player.user_id for player in players if DATABASES[player.region] != database]
        if found := set(_scores(stack, database)) & set(foreign):
            raise StepFailedError(f"{database} has players of other regions: {found}")


def finds_gateways_again(stack: Stack) -> None:
    """NGINX finds gateways whose containers were made anew, without being started again itself."""
    gateways = ("api-gateway-1", "api-gateway-2", "api-gateway-3")
    before, own = {name: stack.container(name) for name in gateways}, stack.container("nginx")
    for name in gateways:
        stack.recreate(name)
    if set(before.values()) & {stack.container(name) for name in gateways} or stack.container("nginx") != own:
        raise StepFailedError("exactly the gateways were to be made anew")

    def served() -> set[str]:
        answers = (httpx.get(f"{stack.url}/top", timeout=10) for _ in range(12))
        return {answer.headers["X-Upstream-Addr"] for answer in answers if answer.status_code == 200}

    wait_until(lambda: len(served()) == len(gateways), "all three gateways serve through NGINX", seconds=30)


def survives_kills(stack: Stack) -> None:
    """A replica killed, a worker killed, a replica crashed: no request fails and no acknowledged write is lost."""
    players = [*register(stack.url, tuple(DATABASES), score=0), *register(stack.url, tuple(DATABASES), score=1000)]
    with Load(stack.url, players) as load:
        wait_until(lambda: all(_share(load, name) >= 10 for name in REPLICAS), "all replicas serve", seconds=30)
        _kill(stack, load, "leaderboard-2")
        say("starting leaderboard-2 again")
        stack.start("leaderboard-2")
        _wait_until_serving(load, "leaderboard-2")
        _kill(stack, load, "worker")
        say("starting the worker again")
        stack.start("worker")
        say("crashing leaderboard-3 from inside: the engine must start it again")
        stack.crash("leaderboard-3")
        _wait_until_serving(load, "leaderboard-3")
    load.check()
    _wait_for_rows(stack, players, seconds=60)
    say(f"every acknowledged write is in Postgres: {sum(player.score % 1000 for player in players)} adds, none twice")


def _kill(stack: Stack, load: Load, service: str) -> None:
    say(f"killing {service}")
    stack.kill(service)
    goal = load.requests + 100
    wait_until(lambda: load.requests >= goal or bool(load.failures), f"100 requests went without {service}", seconds=60)


def _wait_until_serving(load: Load, service: str) -> None:
    goal = _share(load, service) + 10
    wait_until(lambda: _share(load, service) >= goal or bool(load.failures), f"{service} takes traffic", seconds=30)


def _share(load: Load, service: str) -> int:
    return load.served[f"{service}:5000"]


def _scores(stack: Stack, database: str) -> dict[str, int]:
    return {
        user_id: int(score) for user_id, score in stack.psql_rows(database, "SELECT user_id, score FROM leaderboard")
    }


def _wait_for_rows(stack: Stack, players: list[Player], *, seconds: float) -> None:
    def all_there() -> bool:
        scores = {region: _scores(stack, database) for region, database in DATABASES.items()}
        return all(scores[player.region].get(player.user_id) == player.score for player in players)

    wait_until(all_there, f"the exact scores of {len(players)} players are in Postgres", seconds=seconds)
