"""Test `leaderboard players`: support gives a player another password or secret."""

from __future__ import annotations

from tests.conftest import Start
from tests.integration.leaderboard_service.accounts.test_secrets import A_PASSWORD, log_in
from tests.support.command import run_command
from tests.support.service import SECRET, Api


async def players(api: Api, *words: str, typed: str = "") -> tuple[int | None, str, str]:
    return await run_command("players", *words, "--url", str(api.http.base_url), typed=typed, JWT_SECRET=SECRET)


async def test_another_password(start: Start) -> None:
    api = await start()
    await api.register("alice", "EU", password="a forgotten password")
    code, output, complaint = await players(api, "password", "alice", "--stdin", typed=f"{A_PASSWORD}\n")
    assert (code, output) == (0, "alice has a new password."), complaint
    assert (await log_in(api, "alice", password=A_PASSWORD)).status_code == 200


async def test_another_secret(start: Start) -> None:
    api = await start()
    await api.register("alice", "EU")
    code, output, complaint = await players(api, "secret", "alice")
    assert code == 0, complaint
    assert (await log_in(api, "alice", secret=output)).status_code == 200


async def test_what_is_refused_is_said(start: Start) -> None:
    api = await start()
    await api.register("alice", "EU")
    for words, typed, said in (
        (("secret", "nobody"), "", "user_not_found"),
        (("password", "alice", "--stdin"), "short\n", "password"),
    ):
        code, _, complaint = await players(api, *words, typed=typed)
        assert code == 1
        assert said in complaint
        assert "Traceback" not in complaint
