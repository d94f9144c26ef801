"""`leaderboard check` says what would go wrong before anything is started."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support.own_redis import OwnRedis


def check(environ: dict[str, str]) -> tuple[int, str]:
    """Run it; the exit code, and what it printed with each run of white space as one."""
    done = subprocess.run(
        [sys.executable, "-m", "leaderboard_cli", "check"],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def test_a_redis_that_evicts_keys_is_named(environ: dict[str, str], own_redis: OwnRedis) -> None:
    chosen = {**environ, "REDIS_URL": own_redis.url, "JWT_SECRET": "c0ffee5eed7a11ad0b57ac1e9f3d2468ab"}
    assert check(chosen) == (0, "settings, Redis and Postgres are well")
    with own_redis.client() as client:
        client.config_set("maxmemory-policy", "volatile-ttl")
    code, said = check(chosen)
    assert code == 1
    assert "REDIS_URL: maxmemory-policy of" in said
    assert "is volatile-ttl" in said
    assert check({**chosen, "ALLOW_EVICTION": "true"})[0] == 0


def test_a_right_that_the_user_of_a_redis_lacks_is_named(environ: dict[str, str], own_redis: OwnRedis) -> None:
    chosen = {**environ, "REDIS_URL": own_redis.url, "JWT_SECRET": "c0ffee5eed7a11ad0b57ac1e9f3d2468ab"}
    with own_redis.client() as client:
        client.acl_setuser("default", enabled=True, nopass=True, keys=["*"], commands=["-info"])
    code, said = check(chosen)
    assert code == 1
    assert "REDIS_URL: " in said
    assert "its user may not use INFO." in said
