"""Test that a process with invalid settings names the variable and the correction, and exits with 1."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.acceptance.cluster import REPOSITORY, LocalCluster, clean_environment

GOOD_SECRET = "3f1c9a7be85d40263f1c9a7be85d4026"
NOWHERE = "redis://127.0.0.1:1/0"


def start(package: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", package],
        env=clean_environment(START_TIMEOUT_SECONDS="0.3", **environ),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("package", ["leaderboard_service", "api_gateway"])
@pytest.mark.parametrize(
    ("secret", "complaint"),
    [("", "not set"), ("short", "shorter than 32 bytes"), ("change-me-change-me-change-me-change-me", "placeholder")],
)
def test_a_missing_or_weak_secret(package: str, secret: str, complaint: str) -> None:
    result = start(package, JWT_SECRET=secret)
    assert result.returncode == 1
    assert "JWT_SECRET" in result.stderr
    assert complaint in result.stderr
    assert "Traceback" not in result.stderr
    assert "python3 -c" in result.stderr


def test_an_unreachable_redis() -> None:
    result = start("leaderboard_service", JWT_SECRET=GOOD_SECRET, REDIS_URL=NOWHERE)
    assert result.returncode == 1
    assert "REDIS_URL: cannot reach Redis" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_redis_of_one_region_that_is_unreachable_is_named() -> None:
    result = start("worker_service", REDIS_URL=NOWHERE, REDIS_URL_EU="redis://127.0.0.1:2/0")
    assert result.returncode == 1
    assert "REDIS_URL" in result.stderr


@pytest.mark.local_cluster
def test_an_unreachable_postgres(cluster: object) -> None:
    redis_url = cluster.state["redis_url"]  # type: ignore[attr-defined]
    result = start("worker_service", REDIS_URL=redis_url, POSTGRES_PORT="1")
    assert result.returncode == 1
    assert "POSTGRES_HOST/POSTGRES_PORT: cannot reach Postgres" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [("PORT", "x"), ("REGIONS", "ASIA,EU"), ("REDIS_URL", "localhost"), ("USER_RATE_LIMIT_COUNT", "0")],
)
def test_a_variable_that_makes_no_sense(variable: str, value: str) -> None:
    result = start("leaderboard_service", JWT_SECRET=GOOD_SECRET, **{variable: value})
    assert result.returncode == 1
    assert f"{variable}:" in result.stderr


@pytest.mark.local_cluster
def test_a_healthy_start_says_what_to_do_next_and_warns_of_nothing(cluster: LocalCluster) -> None:
    output = cluster.data_dir.with_suffix(".log").read_text("utf-8")
    start, _, rest = output.partition("ready after ")
    assert f"at {cluster.url}" in rest
    assert f"data in {cluster.data_dir}" in start
    assert "migrations applied" in start
    assert " | " not in start, "a line of a process"
    assert f"  LEADERBOARD_DATA_DIR={cluster.data_dir} python -m leaderboard_cli seed 1000  " in rest
    for said in ("seed 1000", "status", "token my-server --role server", str(cluster.data_dir / "logs")):
        assert said in rest
